"""ConvLSTM encoder-forecaster for MindSpore."""

# ruff: noqa: E402
import os
import sys


def _end_by_ctrl_c(kind, error, trace):
    """Ends a script that is still loading, which takes seconds, with a line in place of a trace."""
    cause = error
    while cause:
        if isinstance(cause, KeyboardInterrupt):
            script = os.path.basename(sys.argv[0])
            print(f"{script}: ended by SIGINT", file=sys.stderr, flush=True)
            os._exit(130)
        cause = cause.__cause__ or cause.__context__
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _end_by_ctrl_c

# No file may get the number of a standard stream that was closed: libraries print to it.
while (_number := os.open(os.devnull, os.O_RDWR)) <= 2:
    pass
os.close(_number)

import signal
from pathlib import Path

# NumPy's threads leave Ctrl-C to the one that waits for it (`src/runtime/signals.py`).
_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
import numpy  # noqa: F401

signal.pthread_sigmask(signal.SIG_SETMASK, _mask)

__version__ = "0.3.0"

ROOT = Path(__file__).resolve().parents[1]
