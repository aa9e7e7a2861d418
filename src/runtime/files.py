"""Files that are either the old one or the new one, whenever the power goes."""

import os
import re
import shutil
import tempfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

from src.errors import DiskError, InputError

_CHUNK = 1 << 20
# Files and folders that would be left over if the process ended now.
_half_written = set()


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
    _half_written.add(unfinished)
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                size, crc = size + len(piece), zlib.crc32(piece, crc)
            file.flush()
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
        _half_written.discard(unfinished)


@contextmanager
def scratch_folder(within=None):
    """A folder for the time being, in another one or where the system has them."""
    with tempfile.TemporaryDirectory(dir=within) as name:
        folder = Path(name)
        _half_written.add(folder)
        try:
            yield folder
        finally:
            _half_written.discard(folder)


def remove_half_written():
    """Leaves nothing over that is being written, for a process that ends in the middle of it."""
    for path in list(_half_written):
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


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
    """Makes a rename last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size_and_crc(path):
    size = crc = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc
