"""The cache of compiled graphs: what stays in it, and where it is for a user without a home."""

import fcntl
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.runtime import compile_cache
from tests.scripts.conftest import ROOT

DAY = 24 * 3600
COMPILE = """
import sys
from pathlib import Path
import mindspore as ms
from src.runtime import compile_cache, device
device.set_up("CPU")
layer, x = ms.nn.Dense(2, 3), ms.ops.zeros((1, 2))
print(compile_cache.compile_graphs([(layer, [x])], {}, Path(sys.argv[1])))
"""


def compile_into(folder):
    """Compiles a layer in a process of its own; whether it was in the cache."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = folder.with_name("program.py")
    program.write_text(COMPILE)
    command = [sys.executable, program, folder]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return result.stdout.split()[-1] == "True"


def make_graph(folder, number, days=0.0, size=10):
    """A folder as a compiled graph leaves it, used so many days ago."""
    place = folder / f"{number:032x}"
    graphs = place / "rank_0" / "graph_cache"
    graphs.mkdir(parents=True)
    with open(graphs / "compile_cache_0.mindir", "wb") as file:
        file.truncate(size)
    (place / "crc32").write_text("1")
    os.utime(place / "crc32", (time.time() - days * DAY,) * 2)
    return place


def make_unfinished(folder, name, days):
    """A folder as a killed training leaves it, so many days ago."""
    place = folder / name
    (place / "rank_0").mkdir(parents=True)
    for path in (place / "rank_0", place):
        os.utime(path, (time.time() - days * DAY,) * 2)
    return place


def test_the_graphs_that_were_used_last_stay(tmp_path):
    """Twenty of them, with the one that was just compiled; what is not of the cache stays too."""
    tmp_path = tmp_path / "cache"
    graphs = [make_graph(tmp_path, n, days=n + 1) for n in range(25)]
    old = make_unfinished(tmp_path, "new-abcd_123", days=2)
    young = make_unfinished(tmp_path, "new-abcd_124", days=0.5)
    others = [make_unfinished(tmp_path, name, days=9) for name in ("new-data", "mine")]
    (make_unfinished(tmp_path, "new-abcd_125", days=9) / "thesis.tex").write_text("")
    assert not compile_into(tmp_path)
    assert not list(tmp_path.rglob(".lock"))
    left = set(tmp_path.iterdir())
    assert left >= {*graphs[:19], young, *others, tmp_path / "new-abcd_125"}
    assert not left & {*graphs[19:], old}
    (own,) = left - {*graphs, young, *others, tmp_path / "new-abcd_125"}

    os.utime(own / "crc32", (0, 0))
    assert compile_into(tmp_path)
    assert time.time() - (own / "crc32").stat().st_mtime < 600


def test_a_limit_of_bytes(tmp_path):
    """Three large graphs are too much, whatever their number."""
    graphs = [make_graph(tmp_path, n, days=n, size=200_000_000) for n in range(4)]
    compile_cache.prune(tmp_path)
    assert set(tmp_path.iterdir()) == set(graphs[:2])


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_folder_in_which_a_process_compiles_stays(tmp_path):
    """However old it is."""
    place = make_unfinished(tmp_path, "new-abcd_123", days=0)
    command = [sys.executable, "-c", HOLD, str(place / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for path in (*place.rglob("*"), place):
            os.utime(path, (time.time() - 3 * DAY,) * 2)
        compile_cache.prune(tmp_path)
        assert place.is_dir()
        process.kill()
    for path in (*place.rglob("*"), place):
        os.utime(path, (time.time() - 3 * DAY,) * 2)
    compile_cache.prune(tmp_path)
    assert not place.exists()


@pytest.fixture
def homeless(monkeypatch):
    """A user whom the system does not know, as in many containers."""

    def unknown(number):
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "MS_COMPILER_CACHE_ENABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home(tmp_path):
    """A folder that is named needs no home; without one there is no cache."""
    assert compile_cache.open_folder(str(tmp_path / "graphs")) == tmp_path / "graphs"
    assert compile_cache.open_folder(None) is None
    assert compile_cache.open_folder("off") is None


def test_a_disk_without_locks(tmp_path, monkeypatch):
    """Then its age alone tells that a folder is left over."""

    def answer(*args):
        raise OSError(37, "No locks available")

    place = make_unfinished(tmp_path, "new-abcd_123", days=2)
    monkeypatch.setattr(fcntl, "lockf", answer)
    compile_cache.prune(tmp_path)
    assert not place.exists()
