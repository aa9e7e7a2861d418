"""How far a run has come, on which horizons it trains, and what another number of ranks changes."""

import csv
import dataclasses
from types import SimpleNamespace

import pytest

from src.config.presets import make_config
from src.config.schema import Horizon, TrainingConfig
from src.errors import InputError
from src.runtime.distributed import Ranks, init_distributed
from src.tools.recorder import COLUMNS, rows_until
from src.tools.state import TrainingState, work_fraction

HORIZONS = (Horizon(4, 2, 0.3), Horizon(7, 5, 0.6))


def test_another_number_of_ranks_between_epochs():
    """20 sequences in steps of 2 on 2 ranks, then on 1: the epoch stays, the steps are counted
    anew.
    """
    state, training = TrainingState(5, ranks=2, epoch=3, step=15), TrainingConfig(batch_size=2)
    assert state.sequences(training) == 60
    state.continue_on(1, 10, "x.ckpt")
    assert (state.ranks, state.steps_per_epoch, state.step) == (1, 10, 30)
    assert state.sequences(training) == 60


def test_another_number_of_ranks_within_an_epoch():
    """Refused, also where both numbers of ranks make as many steps of an epoch."""
    state = TrainingState(5, ranks=2, epoch=3, step=14)
    state.continue_on(2, 5, "x.ckpt")
    with pytest.raises(InputError, match="x.ckpt: was saved within an epoch .* 2 rank.*not on 3"):
        state.continue_on(3, 5, "x.ckpt")
    assert (state.ranks, state.step) == (2, 14)


def test_the_rows_that_a_resumed_run_keeps(tmp_path):
    """Up to the step within an epoch; at its end all of its rows, however their steps count."""
    path = tmp_path / "metrics.csv"
    with path.open("w") as file:
        rows = csv.DictWriter(file, COLUMNS, restval="")
        rows.writeheader()
        rows.writerows({"epoch": 1 + k // 4, "step": k + 1} for k in range(8))

    def kept(**state):
        return [int(row["step"]) for row in rows_until(path, TrainingState(**state))]

    assert kept(steps_per_epoch=4, epoch=2, step=6) == [1, 2, 3, 4, 5, 6]
    assert kept(steps_per_epoch=4, epoch=1, step=4) == [1, 2, 3, 4]
    assert kept(steps_per_epoch=2, ranks=2, epoch=1, step=2) == [1, 2, 3, 4]
    assert kept(steps_per_epoch=8, epoch=2, step=16) == list(range(1, 9))


def test_steps_of_an_epoch():
    """Batch, accumulated batches and ranks make a step; an epoch has to hold one."""
    options = {"epoch_size": 100, "batch_size": 4, "accumulate_steps": 3}
    config = make_config("small", options)
    assert [config.steps_per_epoch(ranks) for ranks in (1, 2, 8)] == [8, 4, 1]
    with pytest.raises(InputError, match="batch_size is 4, accumulate_steps 3, 9 ranks: larger"):
        config.steps_per_epoch(9)
    with pytest.raises(InputError, match="accumulate_steps 30: larger than an epoch of 100"):
        make_config("small", options | {"accumulate_steps": 30})


def test_ranks_need_msrun_and_msrun_needs_ranks(monkeypatch):
    alone = Ranks()
    assert (alone.gather([0.1, 2]).tolist(), alone.is_main) == ([[0.1, 2.0]], True)
    with pytest.raises(InputError, match="distribute needs msrun"):
        init_distributed(True)
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    with pytest.raises(InputError, match="started by msrun without --distribute"):
        init_distributed(False)


def test_each_phase_gets_its_share_of_the_work_not_of_the_steps():
    """0.3 / 6 + 0.3 / 12 + 0.4 / 20 = 0.095, of which the first horizons' steps are 0.05."""
    points = [0, 0.025 / 0.095, 0.05 / 0.095, 0.075 / 0.095, 0.085 / 0.095, 1]
    shares = [work_fraction(HORIZONS, 20, point) for point in points]
    assert shares == pytest.approx([0, 0.15, 0.3, 0.6, 0.8, 1])
    assert work_fraction((), 20, 0.37) == 0.37


def test_a_run_of_steps_spends_its_work_as_the_curriculum_says():
    """1,900 steps: 1,000 of 6 frames, 500 of 12 and 400 of 20, each half a step more at most."""
    training, state = TrainingConfig(epochs=19, curriculum=HORIZONS), TrainingState(100)
    counts = [0, 0, 0]
    while state.progress(training) < 1:
        counts[state.phase(training)] += 1
        state.step += 1
    assert state.step == 1900
    assert counts == pytest.approx([1000, 500, 400], abs=1)


def test_progress_is_that_of_the_nearest_limit():
    state = TrainingState(100, step=50, frames=400, seconds=30.0)
    assert state.progress(TrainingConfig(epochs=1)) == 0.5
    assert state.progress(TrainingConfig(epochs=100, max_minutes=2)) == 0.25
    assert state.progress(TrainingConfig(epochs=100, max_minutes=2, max_work=40)) == 0.5


def test_work_decides_the_phase():
    """A budget of 10 whole sequences of 20 frames; 60 frames are 0.3 of it."""
    training = TrainingConfig(max_work=10, curriculum=HORIZONS)
    phases = [TrainingState(10**6, frames=n).phase(training) for n in (0, 59, 60, 119, 120, 200)]
    assert phases == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", ["epochs", "max_minutes", "max_work"])
def test_phases_never_go_back(name):
    """With twice the limit a state of the second phase would be one of the first again."""
    limits = {"epochs": 0, "max_minutes": 0.0, "max_work": 0.0}
    before = TrainingConfig(**limits | {name: 10, "curriculum": HORIZONS})
    after = TrainingConfig(**limits | {name: 20, "curriculum": HORIZONS})
    state = TrainingState(100, step=700, seconds=240.0, frames=80)
    assert (state.phase(before), state.phase(after)) == (1, 0)
    same = dataclasses.replace(state)
    same.change_limits(before, before)
    assert same.to_dict() == TrainingState(100, step=700, seconds=240.0, frames=80).to_dict()
    state.change_limits(before, after)
    assert (state.phase(after), state.extension) == (1, None)
    state.step, state.seconds, state.frames = 1999, 1140.0, 390
    assert state.phase(after) == 2
    assert TrainingState.from_checkpoint(SimpleNamespace(state=state.to_dict())) == state


def test_an_extended_run_goes_on_from_its_last_rate():
    """Each time it is extended, and with another rate from that; of its own it makes no jump."""
    before, after = TrainingConfig(epochs=10), TrainingConfig(epochs=20)
    state = TrainingState(100, step=1000, learning_rate=1e-7)
    state.change_limits(before, after)
    assert state.extension == (0.5, 1e-7)
    state.step, state.learning_rate = 1500, 4e-8
    for training, extension in (
        (after, (0.5, 1e-7)),
        (TrainingConfig(epochs=30), (0.5, 4e-8)),
        (TrainingConfig(epochs=20, learning_rate=0.25), (0.75, 0.25)),
    ):
        other = dataclasses.replace(state)
        other.change_limits(after, training)
        assert other.extension == extension
    started = TrainingState(100, step=500, learning_rate=1e-4)
    started.change_limits(before, TrainingConfig(epochs=20, learning_rate=0.25))
    assert started.extension is None


def test_names_in_files():
    """A checkpoint calls the plateau's counters by the names that they had first."""
    state = TrainingState(5, evaluations_without_improvement=3, lr_reductions=2)
    saved = state.to_dict()
    assert (saved["bad_evaluations"], saved["halvings"]) == (3, 2)
    assert not {"evaluations_without_improvement", "lr_reductions"} & set(saved)
    checkpoint = SimpleNamespace(path="a.ckpt", state=saved)
    assert TrainingState.from_checkpoint(checkpoint) == state
    del saved["halvings"]
    with pytest.raises(InputError, match="a.ckpt: its training state is damaged: .* is missing"):
        TrainingState.from_checkpoint(checkpoint)
