"""Keeps compiled training graphs, so that a second start skips most of compiling.

MindSpore's own cache asks only whether the source files are the same, not the settings that a graph
was built from; so each set of settings gets a folder of its own. It numbers a process's graphs in
their order, and reads its variables once; so all graphs of a run are compiled in one go.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import mindspore as ms

from src import ROOT
from src.errors import InputError

OFF = "off"
SOURCES = ROOT / "src"
SUM = "crc32"


def open_folder(folder):
    """The cache's folder, made where missing; None for no cache.

    Args:
        folder: a path, "off", or None for `convlstm-mindspore` in the user's cache folder, where
            that can be written. A user's own MS_COMPILER_CACHE_ENABLE turns ours off.

    Raises:
        InputError: the folder that was asked for cannot be made.
    """
    if folder == OFF or "MS_COMPILER_CACHE_ENABLE" in os.environ:
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(folder or base / "convlstm-mindspore")
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
    if _is_intact(place):
        with _cached_in(place):
            _compile(steps, inputs)
        return True
    shutil.rmtree(place, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    with _cached_in(scratch):
        _compile(steps, inputs)
    (scratch / SUM).write_text(str(_sum_of(scratch)))
    with contextlib.suppress(OSError):  # another training was faster
        scratch.rename(place)
    shutil.rmtree(scratch, ignore_errors=True)
    return False


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
