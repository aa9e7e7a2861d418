"""Signals that end a run, and processes that end when their run does."""

import atexit
import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading

from src.runtime.files import remove_half_written

PR_SET_PDEATHSIG = 1
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_stop(handler):
    """Has a handler called at what asks a process to end; at SIGHUP unless nohup has it ignored.

    SIGINT comes by a thread of its own: MindSpore, while it computes, would make a SIGTERM of it.
    """
    for number in STOP:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    _prepare()


@functools.cache
def _prepare():
    """Starts the thread that takes SIGINT; has signals ignored when the interpreter ends.

    Python then takes its handlers away, but leaves what is ignored: a late copy of a signal would
    replace the exit code of a run that has saved its state.
    """

    def ignore():
        for number in STOP:
            signal.signal(number, signal.SIG_IGN)

    def listen():
        while number := signal.sigwait({signal.SIGINT}):
            handler = signal.getsignal(number)
            if handler != signal.SIG_IGN:
                handler(number, None)

    atexit.register(ignore)
    threading.Thread(target=listen, name="SIGINT", daemon=True).start()


def end_at_once(number, frame=None):
    """Ends this process with one line, the exit code that shells have for a signal, and nothing
    half-written.

    No exception: MindSpore's compiler would wrap it in its own, write a report of it into the
    working folder, or lose it.
    """
    with contextlib.suppress(Exception):  # they may be in the middle of a line
        sys.stdout.flush()
        sys.stderr.flush()
    line = f"{os.path.basename(sys.argv[0])}: ended by {signal.Signals(number).name}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="replace"))
    remove_half_written()
    os._exit(128 + number)


def end_with_parent(number=signal.SIGKILL):
    """Has the system send this process a signal when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
