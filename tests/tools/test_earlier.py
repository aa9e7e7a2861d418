"""Going on from an earlier state of a run: what is later is set aside, whenever a kill comes."""

import contextlib
import dataclasses
import os

import pytest

from src import checkpoint, run_folder
from src.cloud.job import Upload
from src.config.presets import make_config
from src.model import EncoderForecaster
from src.runtime import files
from src.tools.earlier import Earlier
from src.tools.optimizers import make_optimizer
from src.tools.start import find_resumable
from src.tools.state import TrainingState
from tests.conftest import NARROW

# Of a run of three steps an epoch: the step of each of its states.
STATES = {
    "best.ckpt": 21, "epoch_0005.ckpt": 15, "epoch_0006.ckpt": 18, "epoch_0007.ckpt": 21,
    "epoch_0008.ckpt": 24, "previous.ckpt": 24, "last.ckpt": 26, "next.ckpt": 27,
}  # fmt: skip
PICTURES = ["pictures/sequence_1_epoch_0006.png", "pictures/sequence_1_epoch_0007.png"]
CONFIG = make_config("small", {"image_size": (32, 32)})
CONFIG = dataclasses.replace(CONFIG, model=NARROW["paper"])


class Killed(BaseException):
    """What stands for the end of the process."""


@pytest.fixture(scope="module")
def save():
    """A function that writes a checkpoint of a step."""
    network = EncoderForecaster(CONFIG.model, 10)
    optimizer = make_optimizer(network, CONFIG.training)

    def write(path, step, steps_per_epoch=3):
        state = TrainingState(steps_per_epoch, epoch=-(-step // 3), step=step)
        checkpoint.save(path, network, optimizer, CONFIG, state.to_dict())

    return write


@pytest.fixture
def folder(tmp_path, save):
    """A run's folder."""
    (tmp_path / "pictures").mkdir()
    for name, step in STATES.items():
        save(tmp_path / name, step)
    for name in (*PICTURES, "metrics.csv"):
        (tmp_path / name).write_text(name)
    run_folder.manifest(tmp_path).add(*STATES, *PICTURES, "metrics.csv", "config.json")
    return tmp_path


@pytest.fixture(autouse=True)
def no_locks(monkeypatch):
    """A process takes the lock of a folder once; here it goes on in one again and again."""
    monkeypatch.setattr(run_folder, "lock", lambda folder: None)


def go_on(folder, name=None):
    """What train.py --resume does with the folder; returns the step that it goes on from."""
    found = find_resumable(folder / name if name else True, folder)
    run_folder.open_run_folder(folder, CONFIG, False, Earlier(found))
    return found.state["step"]


def steps_in(folder):
    """The steps of the checkpoints of a folder by name."""
    return {p.name: checkpoint.load(p).state["step"] for p in sorted(folder.glob("*.ckpt"))}


def set_aside(folder):
    """The one folder of files that were set aside."""
    (found,) = (folder / "set_aside").iterdir()
    return found


def test_what_is_later_is_set_aside(folder):
    """The best one too; the state that is gone on from is last.ckpt then, and nothing is lost."""
    assert go_on(folder, "epoch_0006.ckpt") == 18
    kept = {name: STATES[name] for name in ("epoch_0005.ckpt", "epoch_0006.ckpt")}
    assert steps_in(folder) == {**kept, "last.ckpt": 18}
    aside = set_aside(folder)
    assert steps_in(aside) == {name: step for name, step in STATES.items() if name not in kept}
    assert (aside / "metrics.csv").read_text() == "metrics.csv"
    assert [p.name for p in (aside / "pictures").iterdir()] == ["sequence_1_epoch_0007.png"]
    assert [p.name for p in (folder / "pictures").iterdir()] == ["sequence_1_epoch_0006.png"]


def test_nothing_is_later_than_the_newest_state(folder):
    assert go_on(folder) == 27
    assert steps_in(folder) == STATES
    assert not (folder / "set_aside").exists()


def test_a_best_one_from_before_stays(folder, save):
    save(folder / "best.ckpt", 12)
    go_on(folder, "epoch_0005.ckpt")
    assert steps_in(folder) == {"best.ckpt": 12, "epoch_0005.ckpt": 15, "last.ckpt": 15}


def test_a_best_one_between_the_last_two(folder, save):
    """It is what a later start goes on from, and not previous.ckpt, which is older."""
    save(folder / "previous.ckpt", 15)
    assert go_on(folder, "best.ckpt") == 21
    assert go_on(folder) == 21


def test_steps_of_another_number_of_ranks(folder, save):
    """Twelve steps of two an epoch are six epochs, as the eighteen that are gone on from."""
    save(folder / "epoch_0006.ckpt", 12, steps_per_epoch=2)
    save(folder / "epoch_0007.ckpt", 14, steps_per_epoch=2)
    go_on(folder, "epoch_0006.ckpt")
    assert "epoch_0006.ckpt" in steps_in(folder)
    assert "epoch_0007.ckpt" in steps_in(set_aside(folder))


@pytest.mark.parametrize("moves", range(14))
def test_a_kill_before_any_move_leaves_a_resumable_folder(folder, monkeypatch, moves):
    """Nothing is lost, and the next start goes on from a state that is there."""
    replace, left = os.replace, iter(range(moves))

    def replace_or_die(source, target):
        if next(left, None) is None:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace_or_die)
        with contextlib.suppress(Killed):
            go_on(folder, "epoch_0006.ckpt")

    assert next(left, None) is None, "there are more moves than cases"
    left = steps_in(folder)
    assert left["epoch_0006.ckpt"] == 18
    aside = set(STATES.items()) - set(left.items())
    assert not aside or aside <= set(steps_in(set_aside(folder)).items())
    assert go_on(folder) in left.values()
    assert go_on(folder, "epoch_0006.ckpt") == 18
    assert max(steps_in(folder).values()) == 18
    saved = [steps_in(each).items() for each in (folder / "set_aside").iterdir()]
    assert set(STATES.items()) <= set().union(*saved, steps_in(folder).items())


def test_what_was_set_aside_is_not_looked_at(folder):
    """Neither by a resume, nor by an upload, nor by --overwrite, which removes the run alone."""
    go_on(folder, "epoch_0005.ckpt")
    aside = set_aside(folder)
    before = steps_in(aside)
    assert {p.parent for p in run_folder.run_files(folder)} == {folder}
    uploaded = Upload(folder, None, "").present()
    assert "epoch_0005.ckpt" in uploaded
    assert not [name for name in uploaded if "set_aside" in name]
    run_folder.open_run_folder(folder, CONFIG, True, Earlier())
    assert steps_in(folder) == {}
    assert steps_in(aside) == before
