"""How a network is computed: for which device, in what precision, with how much memory."""

from dataclasses import dataclass

import mindspore as ms


@dataclass(frozen=True)
class Execution:
    """How to compute a network; but for the rounding of `float16` the results are the same.

    Args:
        device_target: "Ascend", "CPU", or None for the one in use. A graph built for an Ascend runs
            on every device; one for a CPU is made of operators that are fast there.
        recompute: compute the gates once more for the gradient, in place of saving them.
        float16: convolve in float16; norms, states and everything else stay in float32.
    """

    device_target: str | None = None
    recompute: bool = False
    float16: bool = False

    @property
    def on_cpu(self):
        """Whether the graph is built for a CPU."""
        return (self.device_target or ms.get_context("device_target")) == "CPU"
