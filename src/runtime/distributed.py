"""Ranks: the processes, one per device, that msrun starts to train or evaluate together."""

import os
import signal
import sys
import time
import zlib

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.errors import DiskError, InputError
from src.runtime.signals import end_with_parent, on_stop

LAUNCHER = "CONVLSTM_LAUNCHER"


class Ranks:
    """This process's rank and its communication with the others; by default there are no others.

    All communication uses AllReduce of float32, because MindSpore has that on a CPU too. To arrive
    exactly, each float64 is sent as four numbers of 16 bits, in its rank's row of the sum.

    Args:
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self, rank=0, size=1):
        self.rank = rank
        self.size = size
        self.total = SumOverRanks() if size > 1 else None

    @property
    def is_main(self):
        """Whether this is rank 0, which prints and writes files."""
        return self.rank == 0

    def gather(self, values):
        """Collects the numbers of all ranks, exactly.

        Args:
            values: n numbers, the same n on every rank.

        Returns:
            (size, n), float64, the same on every rank.
        """
        own = np.array(values, np.float64).reshape(-1)
        if self.size == 1:
            return own[None]
        pieces = np.zeros((self.size, 4 * len(own)), np.float32)
        pieces[self.rank] = own.view(np.uint16)
        return self.total(ms.Tensor(pieces)).asnumpy().astype(np.uint16).view(np.float64)

    def any(self, flag):
        """Whether a flag is set on any rank."""
        return bool(self.gather([flag]).any())

    def barrier(self):
        """Waits until all ranks have called it."""
        self.gather([0])

    def on_main(self, function, *args):
        """Calls a function on rank 0 alone; what it refuses ends all ranks in the same way.

        Raises:
            InputError, DiskError: what the function raised.
        """
        kinds, kind, text = (InputError, DiskError), -1, b""
        if self.is_main:
            try:
                function(*args)
            except kinds as error:
                kind = [isinstance(error, each) for each in kinds].index(True)
                text = str(error).encode()
        kind, length = map(int, self.gather([kind, len(text)])[0])
        if kind >= 0:
            text = self.gather(list(text) if self.is_main else [0] * length)[0]
            raise kinds[kind](bytes(text.astype(np.uint8)).decode())

    def check_same(self, text, what):
        """Raises `InputError` on every rank unless a text is the same on all of them."""
        sums = self.gather([zlib.crc32(text.encode())])[:, 0]
        if (sums != sums[0]).any():
            other = int(np.argmax(sums != sums[0]))
            raise InputError(f"rank {other} has {what} than rank 0")

    def broadcast(self, parameters):
        """Sets the parameters of all ranks to those of rank 0, and checks that they are the same.

        Raises:
            RuntimeError: they are not.
        """
        if self.size == 1 or not parameters:
            return
        flat = np.concatenate([p.asnumpy().ravel().astype(np.float32) for p in parameters])
        flat = self.total(ms.Tensor(flat if self.is_main else np.zeros_like(flat))).asnumpy()
        sums = self.gather([zlib.crc32(flat)])
        if (sums != sums[0]).any():
            raise RuntimeError("the ranks start from different parameters")
        offset = 0
        for p in parameters:
            part = flat[offset : offset + p.size].reshape(p.shape)
            p.set_data(ms.Tensor(part, p.dtype))
            offset += p.size


class SumOverRanks(nn.Cell):
    """The sum of a tensor over all ranks."""

    def __init__(self):
        super().__init__()
        self.sum = ops.AllReduce()

    def construct(self, x):
        return self.sum(x)


def init_distributed(distribute):
    """Joins the ranks that msrun started; call it after the device is set up.

    In the process of msrun's scheduler it serves the ranks until the job is over, then exits.

    Args:
        distribute: whether to join other ranks; if not, this process works alone.

    Raises:
        InputError: `distribute` without msrun, or msrun without `distribute`.
    """
    role = os.environ.get("MS_ROLE")
    if not distribute:
        if role:
            raise InputError(
                "started by msrun without --distribute, so each process would work alone: add it"
            )
        return Ranks()
    if not role:
        raise InputError(
            "--distribute needs msrun: use scripts/run_distribute_train.sh or scripts/launch.py"
        )
    end_with_launcher()
    if role == "MS_SCHED":  # a signal to all of a job is for the ranks, which it serves to the end
        on_stop(signal.SIG_IGN)
    ms.communication.init()
    if role == "MS_SCHED":
        sys.exit(0)
    ranks = Ranks(ms.communication.get_rank(), ms.communication.get_group_size())
    ms.set_auto_parallel_context(
        parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, device_num=ranks.size
    )
    print(f"rank {ranks.rank} of {ranks.size}, process {os.getpid()}", flush=True)
    if not ranks.is_main:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    return ranks


def end_with_launcher():
    """Lets the system kill this process when scripts/launch.py ends, if that has started it."""
    launcher = int(os.environ.get(LAUNCHER, 0))
    if not launcher:
        return
    # The parent is msrun until it exits; then it is the launcher.
    while os.getppid() != launcher:
        try:
            os.kill(launcher, 0)
        except ProcessLookupError:
            sys.exit("the launcher is gone")
        time.sleep(0.05)
    end_with_parent()
    if os.getppid() != launcher:
        sys.exit("the launcher is gone")
