"""Data workers: what ends them, and what does not."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from src.runtime.workers import Workers
from tests.scripts.conftest import ROOT

# A parent of two workers that says who they are, and waits.
PARENT = """
import os, time
import numpy as np
from src.data import workers
{before}
w = workers.Workers(lambda n: (np.full(3, n, np.float32),), ((3,),), 2)
print(*[w.free.get().pid for _ in range(2)], flush=True)
time.sleep(60)
"""
SLOW_START = """
ask = workers.end_with_parent
workers.end_with_parent = lambda: (time.sleep(2), ask())
"""


def squares(number):
    return np.full((2, 3), number**2, np.float32), np.full(4, os.getpid(), np.float32)


@pytest.fixture
def workers():
    return Workers(squares, ((2, 3), (4,)), 2)


def pids_of(workers):
    """The processes that compute, by asking each in its turn."""
    return [int(workers(0)[1][0]) for _ in range(2)]


def is_running(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_signal_to_the_group_is_not_theirs(workers):
    pids = pids_of(workers)
    assert len({*pids, os.getpid()}) == 3
    for pid in pids:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
    time.sleep(0.2)
    assert sorted(pids_of(workers)) == sorted(pids)
    np.testing.assert_array_equal(workers(7)[0], np.full((2, 3), 49))


def test_a_result_is_not_overwritten_by_the_next(workers):
    results = [workers(n)[0] for n in range(6)]
    assert [int(result[0, 0]) for result in results] == [0, 1, 4, 9, 16, 25]


def test_a_dead_ones_share_is_computed_here(workers, capsys):
    pids = pids_of(workers)
    os.kill(pids[0], signal.SIGKILL)
    assert {int(workers(n)[1][0]) for n in range(6)} == {pids[1], os.getpid()}
    assert capsys.readouterr().err.count("warning: a data worker has ended") == 1
    assert int(workers(5)[0][0, 0]) == 25


def test_what_a_function_raises(capsys):
    """The worker ends of it; the caller sees it."""
    failing = Workers(lambda n: 1 / n, ((1,),), 2)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            failing(0)


def test_they_end_when_nobody_can_call_them(workers):
    pids = pids_of(workers)
    other = Workers(squares, ((2, 3), (4,)), 1)
    assert all(map(is_running, pids))
    others = pids_of(other)
    del other
    assert wait_until(lambda: not any(map(is_running, others)))
    assert all(map(is_running, pids))


@pytest.mark.parametrize("before", ["", SLOW_START], ids=["idle", "before they asked for it"])
def test_they_end_with_their_parent(before):
    """However it ends, and be it before they have asked the system to tell them."""
    command = [sys.executable, "-c", PARENT.format(before=before)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert all(map(is_running, pids))
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: not any(map(is_running, pids)))
