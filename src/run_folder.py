"""The folder of a run: its configuration, metrics, checkpoints and lock."""

import fcntl
import time
from pathlib import Path

from src import ROOT
from src.errors import InputError
from src.runtime.files import unfinished_name, write_atomically

CONFIG = "config.json"
METRICS = "metrics.csv"
NEXT = "next.ckpt"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
BEST = "best.ckpt"
LOCK = ".lock"
PICTURES = "pictures"
EVENTS = "tensorboard"
EPOCHS = "epoch_[0-9][0-9][0-9][0-9].ckpt"
RUNS = ROOT / "runs"

_locks = []


def default_path(preset):
    """The default folder of a run: runs/<time>-<preset> in the project's folder."""
    return RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{preset}"


def epoch_file(epoch):
    """The name of an epoch's checkpoint."""
    return f"epoch_{epoch:04d}.ckpt"


def resumable_checkpoints(folder):
    """The checkpoints that a run can be resumed from, newest first."""
    epochs = sorted(folder.glob(EPOCHS), reverse=True)
    newest = [folder / name for name in (NEXT, LAST, PREVIOUS)]
    paths = [*newest, *epochs, folder / BEST]
    return [path for path in paths if path.is_file()]


def run_files(folder):
    """The configuration, metrics and checkpoints in `folder`; none if it is not a run's folder."""
    records = [path for path in (folder / CONFIG, folder / METRICS) if path.is_file()]
    return records + resumable_checkpoints(folder)


def artifacts(folder):
    """A run's pictures and TensorBoard files."""
    return [*folder.glob(f"{PICTURES}/*_epoch_*.png"), *folder.glob(f"{EVENTS}/events.out.*")]


def open_run_folder(path, config, overwrite=False, resumed=False):
    """Creates the folder of a run, locks it, and writes config.json into it.

    Args:
        path: the folder.
        config: the run's `Config`.
        overwrite: remove the run that the folder holds; other files stay.
        resumed: continue the run that the folder holds.

    Raises:
        InputError: the folder holds a run and neither `overwrite` nor `resumed` is set, another
            process is training in it, or it cannot be written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = run_files(folder)
        if old and not overwrite and not resumed:
            raise InputError(
                f"{folder}: holds a run already ({old[0].name}): continue it with --resume, start "
                "over with --overwrite, or give another --train_path"
            )
        _lock(folder)
        if not resumed:
            for file in old + artifacts(folder):
                file.unlink()
        for place in (folder, folder / PICTURES):
            for file in place.glob(unfinished_name(place / "*").name):
                file.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written (train_path): {error.strerror}") from None
    write_atomically(folder / CONFIG, [config.to_json().encode() + b"\n"])
    return folder


def _lock(folder):
    """Locks the folder until this process ends; child processes do not inherit the lock."""
    file = open(folder / LOCK, "a")  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InputError(
            f"{folder}: another process is training in it (train_path); wait for it or stop it"
        ) from None
    _locks.append(file)
