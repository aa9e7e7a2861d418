"""Processes that make batches beside a training, and end with it."""

import math
import mmap
import os
import queue
import signal
import sys
import weakref
from contextlib import suppress
from multiprocessing import Pipe

import numpy as np

from src.runtime.signals import STOP, end_with_parent


class Workers:
    """A function that processes of its own compute, each one call at a time; to be called by as
    many threads as there are processes.

    MindSpore's own worker processes die of a signal to a whole group, which ends the training, and
    wait for their next call in a way that lets no code of ours run. What a worker cannot do, the
    calling thread does: if one dies, its share becomes slower, and nothing else.

    Args:
        function: what they compute, of one argument; as it is now, for they are forks.
        shapes: the shapes of the float32 arrays that it returns, a tuple.
        count: how many processes there are.
    """

    def __init__(self, function, shapes, count):
        self.function = function
        self.free = queue.SimpleQueue()
        workers = [_Worker(function, shapes) for _ in range(count)]
        for worker in workers:
            self.free.put(worker)
        weakref.finalize(self, _end, workers)

    def __call__(self, argument):
        worker = self.free.get()
        try:
            if worker:
                return worker(argument)
        except (EOFError, OSError):
            if not worker.ended:
                print("warning: a data worker has ended; its share is made here", file=sys.stderr)
            worker = None
        finally:
            self.free.put(worker)
        return self.function(argument)


class _Worker:
    """One process: arguments go to it by a pipe, results come back in memory that it shares."""

    def __init__(self, function, shapes):
        self.results = [_shared_array(shape) for shape in shapes]
        self.ended = False
        self.pipe, other_end = Pipe()
        parent = os.getpid()
        # Until it ignores them: a child begins with the handlers of its parent.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        self.pid = os.fork()
        if not self.pid:
            try:
                self._serve(function, other_end, parent)
            finally:
                os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        other_end.close()

    def _serve(self, function, pipe, parent):
        """Its life: a signal to its group is for its parent to act on, with which it ends."""
        for number in STOP:
            signal.signal(number, signal.SIG_IGN)
        end_with_parent()
        while os.getppid() == parent:
            for shared, result in zip(self.results, function(pipe.recv()), strict=True):
                shared[:] = result
            pipe.send(True)

    def __call__(self, argument):
        self.pipe.send(argument)
        self.pipe.recv()
        return tuple(shared.copy() for shared in self.results)


def _shared_array(shape):
    """An array that this process and its children see; it has no name, and goes with them."""
    size = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, 4 * size), np.float32, size).reshape(shape)


def _end(workers):
    for worker in workers:
        worker.ended = True
        with suppress(OSError):
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
