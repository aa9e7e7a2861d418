"""Atomic writing of files: after a crash a file is the complete old one or the complete new one."""

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
    """Writes a file under a temporary name in the same folder, checks it, and renames it.

    Args:
        path: the file.
        pieces: an iterable of bytes.

    Raises:
        DiskError: it cannot be written, or reads back differently; `path` is unchanged.
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
    """A key to sort paths by name, with part_2 before part_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if k % 2 else (0, part) for k, part in enumerate(parts)]


def unfinished_name(path):
    """The name that a file has while it is being written."""
    return path.with_name(f".{path.name}.unfinished")


def sync_folder(folder):
    """Syncs a folder, so that a rename in it survives a loss of power. Some disks, network file
    systems for example, refuse that.
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
