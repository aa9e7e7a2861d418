"""A cache of a training's compiled graphs, so that later starts skip most of the compilation.

MindSpore's own cache checks only whether the source files are the same, those that the script in
execution imports, not the settings that a graph was built from; so each set of settings has a
folder of its own here, for each script. MindSpore numbers the graphs of a process in order of
compilation and reads its environment variables once, so all graphs of a run are compiled together.

Graphs whose last use is longest ago are removed beyond `MOST_GRAPHS` or `MOST_BYTES`.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

import mindspore as ms

from src import ROOT
from src.errors import InputError
from src.runtime.files import scratch_folder

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
    """The folder of the cache, created if missing; None for no cache.

    Args:
        folder: a path; "off" for no cache; None for `convlstm-mindspore` in the user's cache
            folder, or no cache if that cannot be written. There is also no cache if the user has
            set MS_COMPILER_CACHE_ENABLE.

    Raises:
        InputError: the given folder cannot be created or written.
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


def compile_graphs(graphs, settings, folder):
    """Compiles Cells or loads their graphs from the cache; call it once in a process.

    New graphs are written to a temporary folder that gets its final name when it is complete, so
    neither a killed process nor two at the same time leave incomplete graphs.

    Args:
        graphs: pairs of a Cell to compile and a list of tensors with the shapes of its inputs.
        settings: all that the graphs depend on, beside what `key_of` knows, as values of JSON.
        folder: the folder of the cache, as `open_folder` returns it.

    Returns:
        Whether the graphs were in the cache.
    """
    if folder is None:
        _compile(graphs)
        return False
    place = folder / key_of(settings)
    found = _is_intact(place)
    if found:
        os.utime(place / SUM)
        with _cached_in(place):
            _compile(graphs)
    else:
        shutil.rmtree(place, ignore_errors=True)
        _compile_into(place, graphs)
    prune(folder, keep=place)
    return found


def _compile_into(place, graphs):
    with (
        scratch_folder(within=place.parent, prefix="new-") as scratch,
        open(scratch / LOCK, "w") as lock,
    ):
        _is_free(lock)
        with _cached_in(scratch):
            _compile(graphs)
        (scratch / LOCK).unlink()
        (scratch / SUM).write_text(str(_sum_of(scratch)))
        with contextlib.suppress(OSError):  # another training was faster
            scratch.rename(place)


def prune(folder, keep=None):
    """Removes leftovers of killed trainings, and the graphs whose last use is longest ago.

    Args:
        folder: the cache's folder; other files in it stay.
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
    """Whether a training left this folder when it was killed while compiling, a day ago or more."""
    if not all(CONTENT.fullmatch(path.name) for path in place.iterdir()):
        return False
    newest = max(path.stat().st_mtime for path in (place, *place.rglob("*")))
    if time.time() - newest < STALE_SECONDS:
        return False
    with open(place / LOCK, "a") as lock:
        return _is_free(lock)


def _is_free(lock):
    """Takes a lock. False if another process holds it; True also on a disk without locks."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def _compile(graphs):
    """MindSpore's cache looks for the files that a graph depends on by making every module anew
    that ours import; in `sys`, that would undo what was assigned there.
    """
    assigned = dict(vars(sys))
    try:
        for cell, inputs in graphs:
            cell.set_train()
            cell.compile(*inputs)
    finally:
        vars(sys).update(assigned)


def key_of(settings):
    """The name of a cache entry: a hash of all that its graphs depend on, which are settings,
    source files, MindSpore's version and the device; and of the script's name, because MindSpore
    takes no graph that another script has compiled, and writes its own over it.
    """
    script = Path(sys.argv[0]).name
    device = [ms.get_context(name) for name in ("device_target", "jit_config")]
    digest = hashlib.sha256(json.dumps([ms.__version__, script, device, settings]).encode())
    for path in sorted(SOURCES.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _cached_in(path):
    """Sets the environment variables by which MindSpore's own cache uses a folder."""
    variables = {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(path)}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def _is_intact(entry):
    """Whether a cache entry exists and its checksum is right."""
    try:
        return (entry / SUM).read_text() == str(_sum_of(entry))
    except OSError:
        return False


def _sum_of(entry):
    total = 0
    for path in sorted(entry.rglob("*")):
        if path.is_file() and path.name != SUM:
            total = zlib.crc32(path.read_bytes(), total)
    return total
