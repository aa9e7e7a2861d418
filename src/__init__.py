"""ConvLSTM encoder-forecaster for MindSpore."""

import os
import signal
import sys
from pathlib import Path

# NumPy's threads leave Ctrl-C to the one that waits for it (`src/runtime/signals.py`).
_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
import numpy  # noqa: E402, F401

signal.pthread_sigmask(signal.SIG_SETMASK, _mask)

__version__ = "0.2.0"

ROOT = Path(__file__).resolve().parents[1]


def _end_by_ctrl_c(kind, error, trace):
    """Ends a script that is still loading, which takes seconds, with a line in place of a trace."""
    cause = error
    while cause:
        if isinstance(cause, KeyboardInterrupt):
            print(f"{Path(sys.argv[0]).name}: ended by SIGINT", file=sys.stderr, flush=True)
            os._exit(128 + signal.SIGINT)
        cause = cause.__cause__ or cause.__context__
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _end_by_ctrl_c
