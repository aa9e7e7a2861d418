"""Files that are either the old one or the new one, whenever the power goes."""

import errno
import os
import re
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

from src.errors import DiskError, InputError

_CHUNK = 1 << 20
# What a disk answers that is full or fails; anything else means that it has no such operation.
FAILURES = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EROFS)


def write_atomically(path, pieces):
    """Writes a file beside its place, syncs and checks it, and moves it there in one step.

    Args:
        path: the file.
        pieces: an iterable of bytes.

    Raises:
        DiskError: it cannot be written, or reads back differently; `path` is as it was before.
    """
    path = Path(path)
    unfinished = unfinished_name(path)
    size = crc = 0
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                size, crc = size + len(piece), zlib.crc32(piece, crc)
            file.flush()
            with _or_refused():
                os.fsync(file.fileno())
        if (size, crc) != _size_and_crc(unfinished):
            raise OSError(None, "it reads back differently")
        os.replace(unfinished, path)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be written: {error.strerror}; what was saved before is intact"
        ) from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def check_writable(path, argument):
    """Raises `InputError`, naming the argument, unless a file can be written to `path`."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder ({argument}); name a file")
        unfinished = unfinished_name(path)
        unfinished.touch()
        unfinished.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({argument}): {error.strerror}") from None


def natural_order(path):
    """A key by which part_2 comes before part_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if k % 2 else (0, part) for k, part in enumerate(parts)]


def unfinished_name(path):
    """What a file is called while it is being written."""
    return path.with_name(f".{path.name}.unfinished")


def sync_folder(folder):
    """Makes a rename last, as far as the disk can: some, in a network for example, refuse to sync a
    folder, or to open one for it.
    """
    with _or_refused():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move(path, target):
    """Moves a file within a disk in one step that lasts; raises `OSError`."""
    os.replace(path, target)
    sync_folder(target.parent)
    sync_folder(path.parent)


@contextmanager
def _or_refused():
    """Lets a disk refuse what it has no operation for, and raises where it fails."""
    try:
        yield
    except OSError as error:
        if error.errno in FAILURES:
            raise


def _size_and_crc(path):
    size = crc = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc
