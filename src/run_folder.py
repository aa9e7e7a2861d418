"""The folder of a run: configuration, metrics, checkpoints, a manifest of them, and a lock."""

import fcntl
import time
from pathlib import Path

from src import ROOT
from src.errors import InputError
from src.runtime.files import unfinished_name, write_atomically
from src.runtime.manifest import Manifest, manifest_name

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
# What every run writes, beside its epochs' checkpoints, its pictures and its events.
NAMES = (CONFIG, METRICS, NEXT, LAST, PREVIOUS, BEST)
KIND = "run"
MANIFEST = manifest_name(KIND)
RUNS = ROOT / "runs"

_locks = []


def default_path(preset):
    """runs/<time>-<preset> in the project's folder."""
    return RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{preset}"


def epoch_file(epoch):
    """The name of an epoch's checkpoint."""
    return f"epoch_{epoch:04d}.ckpt"


def resumable_checkpoints(folder):
    """The checkpoints that a run could go on from, newest first."""
    epochs = reversed(epoch_checkpoints(folder))
    newest = [folder / name for name in (NEXT, LAST, PREVIOUS)]
    paths = [*newest, *epochs, folder / BEST]
    return [path for path in paths if path.is_file()]


def run_files(folder):
    """The files in `folder` that make it a run's folder; a log makes none."""
    records = [path for path in (folder / CONFIG, folder / METRICS) if path.is_file()]
    return records + resumable_checkpoints(folder)


def epoch_checkpoints(folder):
    """The checkpoints of epochs, oldest first."""
    return sorted(folder.glob(EPOCHS))


def epoch_number(path):
    """The epoch whose checkpoint a file is."""
    return int(path.stem.removeprefix("epoch_"))


def manifest(folder):
    """The `Manifest` of a run's files."""
    return Manifest(folder, KIND)


def open_run_folder(path, config, overwrite=False, epochs_done=None, is_ours=lambda path: False):
    """Makes the folder of a run, locks it, and writes config.json into it.

    Args:
        path: the folder.
        config: the run's `Config`.
        overwrite: remove the run that the folder holds; other files stay.
        epochs_done: of the run in the folder that this one goes on with; None where it starts.
        is_ours: a function of a path that tells by its content whether a run wrote the file; asked
            in a folder from before there was a manifest.

    Raises:
        InputError: the folder holds a run that is neither gone on with nor overwritten, another
            process trains in it, a file that is no run's is in the way, or it cannot be written.
    """
    folder, starts = Path(path), epochs_done is None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ours = manifest(folder)
        old = ours.owned() if ours.exists() else list(filter(is_ours, run_files(folder)))
        if old and starts and not overwrite:
            raise InputError(
                f"{folder}: holds a run already ({old[0].name}): go on with it by --resume, start "
                "over with --overwrite, or give another --train_path"
            )
        _refuse_what_is_in_the_way(folder, old, config.training.epochs, epochs_done or 0)
        _lock(folder)
        if not ours.exists():
            ours.add(*(file.name for file in old))
        if starts:
            ours.remove_owned()
        ours.add(*NAMES)
        for name in ours.names():
            unfinished_name(folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written (train_path): {error.strerror}") from None
    write_atomically(folder / CONFIG, [config.to_json().encode() + b"\n"])
    return folder


def _refuse_what_is_in_the_way(folder, old, epochs, epochs_done):
    """Raises `InputError` for a file, not of the `old` ones, where a run is going to write one."""
    coming = range(epochs_done + 1, epochs + 1)
    saved = [path.name for path in epoch_checkpoints(folder) if epoch_number(path) in coming]
    for path in set(manifest(folder).in_the_way([*NAMES, *saved])) - set(old):
        raise InputError(
            f"{path}: is there already, and no run here wrote it, which would be replaced: move it "
            "away, or give another --train_path"
        )


def _lock(folder):
    """Takes the folder's lock, which ends with this process; children do not inherit it."""
    file = open(folder / LOCK, "a")  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InputError(
            f"{folder}: another process is training in it (train_path); wait for it or stop it"
        ) from None
    _locks.append(file)
