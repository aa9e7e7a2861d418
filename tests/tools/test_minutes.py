"""What counts as minutes of training, in a real training of a tiny network."""

import time
from types import SimpleNamespace

from src import run_folder
from src.config import cli
from src.runtime.distributed import Ranks
from src.tools import callback, start
from src.tools.trainer import Trainer
from tests.saved_runs.make import ONE_STAGE, start_checkpoint
from tests.scripts.conftest import FEW

STEPS, EPOCHS = 4, 2


def trainer_of(*options):
    """A `Trainer` as train.py makes it, its folder open."""
    parser = cli.Parser("")
    cli.add_run_flags(parser)
    cli.add_config_flags(parser)
    flags = start.given_flags(parser.parse_args(list(map(str, options))))
    begin = start.resolve_start(flags, "CPU")
    run_folder.open_run_folder(begin.folder, begin.config, False, begin.earlier())
    return Trainer(begin, begin.network("CPU"), begin.sources(), Ranks())


def test_saving_and_copying_out_are_no_minutes_of_training(tmp_path, monkeypatch):
    """Each look at the clock takes a second here, so that a step does, and copying out a hundred.

    The first step is not timed: it sets the kernels up.
    """
    now = 0

    def look():
        nonlocal now
        now += 1
        return now

    def copy_out():
        nonlocal now
        now += 100

    monkeypatch.setattr(callback.StopSignals, "listen", lambda signals: None)
    monkeypatch.setattr(callback, "time", SimpleNamespace(**vars(time) | {"perf_counter": look}))
    start_checkpoint(tmp_path / "start.ckpt", ONE_STAGE)
    trainer = trainer_of(
        *FEW, "--pretrained_model", tmp_path / "start.ckpt", "--batch_size", 2,
        "--epoch_size", 2 * STEPS, "--epochs", EPOCHS, "--save_steps", 1,
        "--train_path", tmp_path / "run",
    )  # fmt: skip
    trainer.train(on_saved=copy_out)
    assert trainer.state.step == EPOCHS * STEPS
    assert now > 100 * EPOCHS * STEPS
    assert trainer.state.seconds == EPOCHS * STEPS - 1
