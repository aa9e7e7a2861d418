"""The processes that train or measure together, one a device, as msrun starts them."""

import os
import signal
import sys
import time
import zlib

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.errors import InputError
from src.runtime.signals import end_with_parent, on_stop

LAUNCHER = "CONVLSTM_LAUNCHER"


class Ranks:
    """This process's place among those that work together; by default it is alone.

    Everything that ranks tell each other goes through one sum, because that is what MindSpore has
    on a CPU too, in float32 only: numbers travel as pieces of 16 bits, each in its rank's row, and
    arrive as they were.

    Args:
        rank: which process this is, from 0.
        size: how many there are.
    """

    def __init__(self, rank=0, size=1):
        self.rank = rank
        self.size = size
        self.total = SumOverRanks() if size > 1 else None

    @property
    def is_main(self):
        """Whether this is the rank that prints and writes."""
        return self.rank == 0

    def gather(self, values):
        """The numbers of all ranks, exactly.

        Args:
            values: as many numbers on each rank.

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
        """Whether a flag is set on some rank."""
        return bool(self.gather([flag]).any())

    def barrier(self):
        """Returns once all ranks are here."""
        self.gather([0])

    def check_same(self, text, what):
        """Raises `InputError` on every rank unless a text is the same on all of them."""
        sums = self.gather([zlib.crc32(text.encode())])[:, 0]
        if (sums != sums[0]).any():
            odd = int(np.argmax(sums != sums[0]))
            raise InputError(f"rank {odd} has {what} that is not rank 0's")

    def broadcast(self, parameters):
        """Gives all ranks the parameters of rank 0, and checks that they have them.

        Raises:
            RuntimeError: a rank ends up with other values.
        """
        if self.size == 1 or not parameters:
            return
        flat = np.concatenate([p.asnumpy().ravel().astype(np.float32) for p in parameters])
        flat = self.total(ms.Tensor(flat if self.is_main else np.zeros_like(flat))).asnumpy()
        sums = self.gather([zlib.crc32(flat)])
        if (sums != sums[0]).any():
            raise RuntimeError("the ranks start from different parameters")
        place = 0
        for p in parameters:
            part = flat[place : place + p.size].reshape(p.shape)
            p.set_data(ms.Tensor(part, p.dtype))
            place += p.size


class SumOverRanks(nn.Cell):
    """The sum of a tensor over all ranks."""

    def __init__(self):
        super().__init__()
        self.sum = ops.AllReduce()

    def construct(self, x):
        return self.sum(x)


def init_distributed(distribute):
    """Joins the ranks that msrun started; to be called after the device is set up.

    The scheduler that msrun starts beside them serves here until the job is over, and exits.

    Args:
        distribute: whether to join at all; alone otherwise.

    Raises:
        InputError: `distribute` without msrun, or msrun without `distribute`.
    """
    role = os.environ.get("MS_ROLE")
    if not distribute:
        if role:
            raise InputError("started by msrun without --distribute: each process would work alone")
        return Ranks()
    if not role:
        raise InputError(
            "distribute needs msrun: use scripts/run_distribute_train.sh or scripts/launch.py"
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
    """Has the system end this process when scripts/launch.py, if it started it, is gone."""
    launcher = int(os.environ.get(LAUNCHER, 0))
    if not launcher:
        return
    # Until msrun has ended and left its processes to the launcher, msrun is the parent.
    while os.getppid() != launcher:
        try:
            os.kill(launcher, 0)
        except ProcessLookupError:
            sys.exit("the launcher is gone")
        time.sleep(0.05)
    end_with_parent()
    if os.getppid() != launcher:
        sys.exit("the launcher is gone")
