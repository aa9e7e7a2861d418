"""Signals while the interpreter itself is ending."""

import subprocess
import sys

import pytest

from src import ROOT

# Module globals go after Python has taken its own handlers away.
LATE = """
import os, signal, sys
from src.runtime import signals
signals.on_stop(lambda number, frame: None)
class Last:
    def __del__(self, send=os.kill, own=os.getpid(), number=getattr(signal, sys.argv[1])):
        send(own, number)
last = Last()
sys.exit(3)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_at_the_very_end_does_not_change_the_exit_code(name):
    """A stop that is sent twice may find the process with its work done and its code decided."""
    command = [sys.executable, "-c", LATE, name]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (3, "")
