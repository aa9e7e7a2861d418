"""The folder of a run: configuration, metrics, checkpoints, a manifest of them, and a lock."""

import errno
import fcntl
import re
import sys
import time
from pathlib import Path

from src import ROOT
from src.errors import InputError
from src.runtime.files import move, unfinished_name, write_atomically
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
# Holds a cloud job's earlier run until all of it is in its place.
INCOMING = ".incoming"
# Holds what a run went on from before; nothing here looks into it.
SET_ASIDE = "set_aside"
EPOCHS = re.compile(r"epoch_([0-9]{4,})\.ckpt")
# What every run writes, beside its epochs' checkpoints, its pictures and its events.
NAMES = (CONFIG, METRICS, NEXT, LAST, PREVIOUS, BEST)
KIND = "run"
MANIFEST = manifest_name(KIND)
RUNS = ROOT / "runs"
# What a lock that another process holds is answered with.
HELD = (errno.EACCES, errno.EAGAIN)

_locks = []


def default_path(preset):
    """The default folder of a run: runs/<time>-<preset> in the project's folder."""
    return RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{preset}"


def epoch_file(epoch):
    """The name of an epoch's checkpoint."""
    return f"epoch_{epoch:04d}.ckpt"


def resumable_checkpoints(folder):
    """The checkpoints that a run can be resumed from, newest first."""
    epochs = reversed(epoch_checkpoints(folder))
    newest = [folder / name for name in (NEXT, LAST, PREVIOUS)]
    paths = [*newest, *epochs, folder / BEST]
    return [path for path in paths if path.is_file()]


def run_files(folder):
    """The configuration, metrics and checkpoints in `folder`; none if it is not a run's folder."""
    records = [path for path in (folder / CONFIG, folder / METRICS) if path.is_file()]
    return records + resumable_checkpoints(folder)


def epoch_checkpoints(folder):
    """The checkpoints of epochs, oldest first."""
    found = [path for path in folder.glob("epoch_*.ckpt") if EPOCHS.fullmatch(path.name)]
    return sorted(found, key=epoch_number)


def epoch_number(path):
    """The epoch of a checkpoint's file name."""
    return int(EPOCHS.fullmatch(path.name)[1])


def manifest(folder):
    """The `Manifest` of a run's files."""
    return Manifest(folder, KIND)


def open_run_folder(path, config, overwrite, earlier):
    """Creates the folder of a run, locks it, and writes config.json into it.

    Args:
        path: the folder.
        config: the run's `Config`.
        overwrite: remove the run that the folder holds; other files stay.
        earlier: an `Earlier`: the run in the folder and the state that is resumed, if any. What is
            later than that state is set aside. In a folder without a manifest, which is older than
            manifests are, it recognises a run's files by their content.

    Raises:
        InputError: the folder holds a run that is neither resumed nor overwritten, another process
            is training in it, a file that is not a run's is in the way, or it cannot be written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / INCOMING).is_dir():
            raise InputError(
                f"{folder}: holds a part of a run only: a cloud job was killed as it copied that "
                "in (train_path): start the job again, which copies the rest"
            )
        ours = manifest(folder)
        old = ours.owned() if ours.exists() else list(filter(earlier.is_ours, run_files(folder)))
        if old and not earlier.resumed and not overwrite:
            way = "continue it with --resume, " if resumable_checkpoints(folder) else ""
            raise InputError(
                f"{folder}: holds a run already ({old[0].name}): {way}start over with "
                "--overwrite, or give another --train_path"
            )
        _refuse_what_is_in_the_way(folder, old, config.training.epochs, earlier.epochs_done)
        lock(folder)
        if not ours.exists():
            ours.add(*(file.name for file in old))
        if not earlier.resumed:
            ours.remove_owned()
        elif later := earlier.later(ours):
            set_aside(later, ours, earlier.resumed.path)
        ours.add(*NAMES)
        for name in ours.names():
            unfinished_name(folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written (train_path): {error.strerror}") from None
    write_atomically(folder / CONFIG, [config.to_json().encode() + b"\n"])
    return folder


def set_aside(later, ours, resumed):
    """Moves what is later than a state that a run goes on from to set_aside/<time>/, with a copy of
    metrics.csv; the state is last.ckpt then.

    At any moment the folder can be resumed: the state itself stays where it is, and what is newer
    goes first, so that a kill leaves the older ones of the abandoned files.

    Args:
        later: the files, in the order in which they are to go.
        ours: the run's `Manifest`, which forgets them.
        resumed: the checkpoint of the state.
    """
    folder, number = ours.folder, 1
    name = stamp = time.strftime("%Y%m%d-%H%M%S")
    while (target := folder / SET_ASIDE / name).exists():
        name, number = f"{stamp}-{number}", number + 1
    metrics = folder / METRICS
    target.mkdir(parents=True)
    if metrics.is_file():
        write_atomically(target / METRICS, [metrics.read_bytes()])
    for path in later:
        place = target / path.relative_to(folder)
        place.parent.mkdir(exist_ok=True)
        move(path, place)
    ours.forget(later)
    if folder / LAST in later:
        ours.add(LAST)
        write_atomically(folder / LAST, [resumed.read_bytes()])
    print(f"set aside: {len(later)} files later than {resumed.name}, in {target}", flush=True)


def _refuse_what_is_in_the_way(folder, old, epochs, epochs_done):
    """Raises `InputError` for a file, not of the `old` ones, where a run is going to write one."""
    coming = [
        path.name
        for path in epoch_checkpoints(folder)
        if epochs_done < epoch_number(path) and not 0 < epochs < epoch_number(path)
    ]
    for path in set(manifest(folder).in_the_way([*NAMES, *coming])) - set(old):
        raise InputError(
            f"{path}: is there already, and no run here wrote it, which would be replaced: move it "
            "away, or give another --train_path"
        )


def lock(folder):
    """Locks the folder until this process ends; child processes do not inherit the lock.

    On a disk without locks, as some network file systems are, it warns and continues without.
    """
    file = open(folder / LOCK, "a")  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            file.close()
            raise InputError(
                f"{folder}: another process is training in it (train_path); wait for it or stop it"
            ) from None
        print(
            f"warning: {folder}: cannot be locked ({error.strerror}): see to it that no second "
            "training starts in it",
            file=sys.stderr,
            flush=True,
        )
    _locks.append(file)
