"""The folder of a run: config.json, metrics.csv, last.ckpt, best.ckpt and epoch_NNNN.ckpt."""

import time
from pathlib import Path

from src.errors import InputError

CONFIG = "config.json"
METRICS = "metrics.csv"
LAST = "last.ckpt"
BEST = "best.ckpt"
EPOCHS = "epoch_[0-9][0-9][0-9][0-9].ckpt"
RUNS = Path(__file__).resolve().parents[2] / "runs"


def default_path(preset):
    """runs/<time>-<preset> in the project's folder."""
    return RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{preset}"


def epoch_file(epoch):
    """The name of an epoch's checkpoint."""
    return f"epoch_{epoch:04d}.ckpt"


def files_of_a_run(folder):
    """The files in `folder` that make it a run's folder; a log makes none."""
    names = [CONFIG, METRICS, LAST, BEST, EPOCHS]
    return sorted(path for name in names for path in folder.glob(name))


def open_run_folder(path, config, overwrite=False):
    """Makes the folder of a new run and writes config.json into it.

    Args:
        path: the folder.
        config: the run's `Config`.
        overwrite: remove the run that the folder holds; other files stay.

    Raises:
        InputError: the folder holds a run and `overwrite` is off, or it cannot be written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = files_of_a_run(folder)
        if old and not overwrite:
            raise InputError(
                f"{folder}: holds a run already ({old[0].name}): give another --train_path, start "
                f"over with --overwrite, or train on from its weights with --pretrained_model "
                f"{folder / LAST} and another --train_path"
            )
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
        for file in old:
            file.unlink()
        (folder / CONFIG).write_text(config.to_json() + "\n")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written (train_path): {error.strerror}") from None
    return folder
