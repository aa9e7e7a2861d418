"""Atomic writing of files: after a crash a file is the complete old one or the complete new one."""

import errno
import os
import re
import shutil
import stat
import tempfile
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from src.errors import DiskError, InputError

_CHUNK = 1 << 20
# Under these names a process finds what it has open already, be it a file.
OPEN_FILES = {"/dev/stdout": 1, "/dev/stderr": 2}
# What a disk answers that is full or fails; anything else means that it has no such operation.
FAILURES = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EROFS)
# What would be left over if the process ended now: paths, with a function that removes each.
_half_written = {}


def write_atomically(path, pieces):
    """Writes a file under a temporary name in the same folder, checks it, and renames it.

    A link stays one: the file that it leads to is written. A pipe or a device is written to.

    Args:
        path: the file.
        pieces: an iterable of bytes.

    Raises:
        DiskError: it cannot be written, or reads back differently; `path` is unchanged.
    """
    path = Path(path)
    try:
        if is_no_file(path):
            with _open_as_it_is(path) as file:
                file.writelines(pieces)
        else:
            _replace(behind_links(path), pieces)
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be written: {error.strerror}; what was saved before is intact"
        ) from None


def _replace(path, pieces):
    unfinished = unfinished_name(path)
    size = crc = 0
    _half_written[unfinished] = unfinished.unlink
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
    finally:
        with suppress(OSError):
            unfinished.unlink()
        del _half_written[unfinished]


@contextmanager
def scratch_folder(within=None, prefix=None):
    """A folder for the time being, in another one or where the system has them; what of it is moved
    elsewhere stays.
    """
    with tempfile.TemporaryDirectory(dir=within, prefix=prefix) as name:
        folder = Path(name)
        _half_written[folder] = partial(shutil.rmtree, folder)
        try:
            yield folder
        finally:
            del _half_written[folder]


def remove_at_end(path, remove):
    """Has a function called at the end of the process, which removes a file that is of no use."""
    _half_written[path] = remove


def remove_half_written():
    """Leaves nothing over that is being written, for a process that ends in the middle of it."""
    for remove in list(_half_written.values()):
        with suppress(OSError):
            remove()


def check_writable(path, argument):
    """Raises `InputError`, naming the argument, unless a file can be written to `path`."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder ({argument}); name a file")
        if is_no_file(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        unfinished = unfinished_name(behind_links(path))
        unfinished.touch()
        unfinished.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({argument}): {error.strerror}") from None


def check_json_output(path, argument):
    """Raises `InputError` unless JSON can be written to `path`, where nothing else may be."""
    check_writable(path, argument)
    path = Path(path)
    if is_no_file(path) or not path.is_file():
        return
    try:
        with path.open("rb") as file:
            is_json = file.read(1) in (b"", b"{", b"[")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({argument}): {error.strerror}") from None
    if not is_json:
        raise InputError(f"{path}: is there already and holds no JSON ({argument}): name another")


def is_no_file(path):
    """Whether a path is there and leads to a pipe, a device or what this process prints to: those
    are written to and not replaced.
    """
    if str(path) in OPEN_FILES:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def behind_links(path):
    """The path of the file that a link leads to, which need not be there; any other as it is.

    Raises:
        OSError: links lead in a circle.
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    if os.path.islink(target):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def _open_as_it_is(path):
    """Opens a pipe, a device or what this process prints to."""
    number = OPEN_FILES.get(str(path))
    return open(path, "ab") if number is None else os.fdopen(os.dup(number), "wb")


def is_hidden(path):
    """Whether a file is none of the data beside it, as the ._name that macOS adds to a name."""
    return path.name.startswith(".")


def is_hidden_within(path, folder):
    """Whether a file below a folder is hidden, or lies in a hidden folder of it."""
    inside = path.relative_to(folder)
    return any(map(is_hidden, (inside, *inside.parents)))


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
