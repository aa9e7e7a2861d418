"""Keeps compiled training graphs, so that a second start skips most of compiling.

MindSpore's own cache asks only whether the source files are the same, not the settings that a graph
was built from; so each set of settings gets a folder of its own. It numbers a process's graphs in
in their order, and reads its variables once; so all graphs of a run are compiled in one go.

What has not been used for longest goes once there is more than `MOST_GRAPHS` or `MOST_BYTES`.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import zlib
from pathlib import Path

import mindspore as ms

from src import ROOT
from src.errors import InputError

OFF = "off"
SOURCES = ROOT / "src"
SUM = "crc32"
# Held by the process that compiles into a folder.
LOCK = ".lock"
MOST_GRAPHS = 20
MOST_BYTES = 500_000_000
STALE_SECONDS = 24 * 3600
# What the folders of graphs are called, and while they are being made.
GRAPHS = re.compile("[0-9a-f]{32}")
UNFINISHED = re.compile("new-[a-z0-9_]{8}")
# What MindSpore and this module write into one.
CONTENT = re.compile(f"rank_[0-9]+|{SUM}|{LOCK}")


def open_folder(folder):
    """The cache's folder, made where missing; None for no cache.

    Args:
        folder: a path, "off", or None for `convlstm-mindspore` in the user's cache folder, where
            there is one that can be written. A user's own MS_COMPILER_CACHE_ENABLE turns ours off.

    Raises:
        InputError: the folder that was asked for cannot be made.
    """
    if folder == OFF or "MS_COMPILER_CACHE_ENABLE" in os.environ:
        return None
    if folder is None and _users_folder() is None:
        return None
    path = Path(folder or _users_folder() / "convlstm-mindspore")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        if folder is None:
            return None
        raise InputError(
            f"compile_cache is {folder!r}: cannot be written: {error.strerror}; name another "
            f"folder or {OFF!r}"
        ) from None


def _users_folder():
    """The user's cache folder; None for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None


def compile_steps(steps, inputs, settings, folder):
    """Compiles training steps, or takes their graphs from the cache; once in a process.

    A folder of graphs gets its name only once it is complete: a kill, or two trainings at a time,
    leave no half of one.

    Args:
        steps: the Cells to compile, those of the last of the run's horizons.
        inputs: tensors of the shapes that each will be given.
        settings: what they were built from, of `Config.graph_settings`.
        folder: of `open_folder`.

    Returns:
        Whether the graphs were there.
    """
    if folder is None:
        _compile(steps, inputs)
        return False
    place = folder / key_of(settings)
    found = _is_intact(place)
    if found:
        os.utime(place / SUM)
        with _cached_in(place):
            _compile(steps, inputs)
    else:
        shutil.rmtree(place, ignore_errors=True)
        _compile_into(place, steps, inputs)
    prune(folder, keep=place)
    return found


def _compile_into(place, steps, inputs):
    scratch = Path(tempfile.mkdtemp(prefix="new-", dir=place.parent))
    try:
        with open(scratch / LOCK, "w") as lock:
            _is_free(lock)
            with _cached_in(scratch):
                _compile(steps, inputs)
            (scratch / LOCK).unlink()
            (scratch / SUM).write_text(str(_sum_of(scratch)))
            with contextlib.suppress(OSError):  # another training was faster
                scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def prune(folder, keep=None):
    """Removes what killed trainings have left, and the graphs that have not been used for longest.

    Args:
        folder: of `open_folder`; what is not of this cache stays.
        keep: the graphs in use.
    """
    used, total = {}, 0
    for place in folder.iterdir():
        with contextlib.suppress(OSError):  # another training removes it at this moment
            if GRAPHS.fullmatch(place.name) and place != keep:
                used[place] = (place / SUM).stat().st_mtime
            elif UNFINISHED.fullmatch(place.name) and _is_stale(place):
                shutil.rmtree(place, ignore_errors=True)
    for number, place in enumerate(sorted(used, key=used.get, reverse=True), start=1):
        total += sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        if number >= MOST_GRAPHS or total > MOST_BYTES:
            shutil.rmtree(place, ignore_errors=True)


def _is_stale(place):
    """Whether a folder is of a training that was killed while it compiled, a day ago or longer."""
    if not all(CONTENT.fullmatch(path.name) for path in place.iterdir()):
        return False
    newest = max(path.stat().st_mtime for path in (place, *place.rglob("*")))
    if time.time() - newest < STALE_SECONDS:
        return False
    with open(place / LOCK, "a") as lock:
        return _is_free(lock)


def _is_free(lock):
    """Takes a lock; False where another process has it, and true where a disk has no locks."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def _compile(steps, inputs):
    for step in steps:
        step.set_train()
        step.compile(*inputs)


def key_of(settings):
    """A name made of all that the graphs depend on: settings, sources, MindSpore, device."""
    device = [ms.get_context(name) for name in ("device_target", "jit_config")]
    digest = hashlib.sha256(json.dumps([ms.__version__, device, settings]).encode())
    for path in sorted(SOURCES.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _cached_in(path):
    """MindSpore reads these where it compiles."""
    settings = {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(path)}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]


def _is_intact(place):
    """Whether a graph is there as it was written."""
    try:
        return (place / SUM).read_text() == str(_sum_of(place))
    except OSError:
        return False


def _sum_of(place):
    total = 0
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.name != SUM:
            total = zlib.crc32(path.read_bytes(), total)
    return total
