"""A cache of compiled training graphs, so that later starts skip most of the compilation.

MindSpore's own cache checks only whether the source files are the same, not the settings that a
graph was built from, so each set of settings has a folder of its own here. MindSpore numbers the
graphs of a process in order of compilation and reads its environment variables once, so all graphs
of a run are compiled together.
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
    """Compiles training steps or loads their graphs from the cache; call it once in a process.

    New graphs are written to a temporary folder that gets its final name when it is complete, so
    neither a killed process nor two at the same time leave incomplete graphs.

    Args:
        steps: the Cells to compile, one for each remaining horizon of the run.
        inputs: tensors with the shapes of the Cells' inputs.
        settings: the settings that the Cells depend on, as `Config.graph_settings` returns them.
        folder: the folder of the cache, as `open_folder` returns it.

    Returns:
        Whether the graphs were in the cache.
    """
    if folder is None:
        _compile(steps, inputs)
        return False
    entry = folder / key_of(settings)
    if _is_intact(entry):
        with _cached_in(entry):
            _compile(steps, inputs)
        return True
    shutil.rmtree(entry, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    with _cached_in(scratch):
        _compile(steps, inputs)
    (scratch / SUM).write_text(str(_sum_of(scratch)))
    with contextlib.suppress(OSError):  # another process was faster
        scratch.rename(entry)
    shutil.rmtree(scratch, ignore_errors=True)
    return False


def _compile(steps, inputs):
    for step in steps:
        step.set_train()
        step.compile(*inputs)


def key_of(settings):
    """The name of a cache entry: a hash of all that its graphs depend on, which are settings,
    source files, MindSpore's version and the device.
    """
    device = [ms.get_context(name) for name in ("device_target", "jit_config")]
    digest = hashlib.sha256(json.dumps([ms.__version__, device, settings]).encode())
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
