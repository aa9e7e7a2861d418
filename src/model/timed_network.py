"""Runs a network on NumPy arrays and measures the time."""

import statistics
import time

import mindspore as ms
import numpy as np
from mindspore import nn


class TimedNetwork:
    """A network for batches of one shape, as a function on NumPy arrays; compiled when made.

    Args:
        network: a Cell from (B, T, C, H, W) to (B, forecast_frames, C, H, W), float32 in [0, 1].
        shape: the shape of the inputs, (B, T, C, H, W).
    """

    def __init__(self, network, shape):
        self.network = network
        self.batch_size = shape[0]
        self.seconds = []
        start, zeros = time.perf_counter(), ms.Tensor(np.zeros(shape, np.float32))
        if isinstance(network, nn.GraphCell):
            # A GraphCell is compiled by its first run.
            network(zeros).asnumpy()
        else:
            network.compile(zeros)
        self.compile_seconds = time.perf_counter() - start

    def __call__(self, inputs):
        """The forecasts of a batch of inputs, both NumPy arrays."""
        start = time.perf_counter()
        forecast = self.network(ms.Tensor(inputs)).asnumpy()
        self.seconds.append(time.perf_counter() - start)
        return forecast

    def timing(self):
        """The time that the network alone takes, a dict.

        The first batch, which sets up the kernels, counts only if there is no other.
        """
        batch = statistics.mean(self.seconds[1:] or self.seconds)
        return {
            "batch_size": self.batch_size,
            "compile_seconds": self.compile_seconds,
            "seconds_per_batch": batch,
            "seconds_per_sequence": batch / self.batch_size,
            "sequences_per_second": self.batch_size / batch,
        }


def describe(timing):
    """A line of text about what `TimedNetwork.timing` returned."""
    return (
        f"network: {1000 * timing['seconds_per_sequence']:.3g} ms a sequence, "
        f"{timing['sequences_per_second']:.3g} sequences/s, in batches of "
        f"{timing['batch_size']} ({timing['seconds_per_batch']:.3g} s); compiled before in "
        f"{timing['compile_seconds']:.3g} s"
    )
