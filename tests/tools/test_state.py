"""Where a training stands, when the number of ranks changes."""

import csv

import pytest

from src.config import TrainingConfig, make_config
from src.errors import InputError
from src.tools.callback import COLUMNS, rows_until
from src.tools.ranks import Ranks, join
from src.tools.state import TrainingState


def test_another_number_of_ranks_between_epochs():
    """20 sequences in steps of 2 on 2 ranks, then on 1: the epoch stays, the steps are counted
    anew.
    """
    state, recipe = TrainingState(5, ranks=2, epoch=3, step=15), TrainingConfig(batch_size=2)
    assert state.sequences(recipe) == 60
    state.continue_on(1, 10, "x.ckpt")
    assert (state.ranks, state.steps_per_epoch, state.step) == (1, 10, 30)
    assert state.sequences(recipe) == 60


def test_another_number_of_ranks_within_an_epoch():
    """Refused, also where both numbers of ranks make as many steps of an epoch."""
    state = TrainingState(5, ranks=2, epoch=3, step=14)
    state.continue_on(2, 5, "x.ckpt")
    with pytest.raises(InputError, match="x.ckpt: is from within an epoch .* on 2 rank.*not on 3"):
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
    assert (alone.gather([0.1, 2]).tolist(), alone.is_first) == ([[0.1, 2.0]], True)
    with pytest.raises(InputError, match="distribute needs msrun"):
        join(True)
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    with pytest.raises(InputError, match="started by msrun without --distribute"):
        join(False)
