"""How a network computes what it computes."""

from dataclasses import dataclass

import mindspore as ms


@dataclass(frozen=True)
class Execution:
    """What graph to build; the function is the same but for the rounding of `float16`.

    Args:
        device_target: "Ascend", "CPU", or None for the one in use. A graph for an Ascend runs
            everywhere; one for a CPU has forms that are fast there.
        recompute: compute the gates again for the gradient in place of keeping them.
        float16: convolve in float16; norms, states and all else stay in float32.
    """

    device_target: str | None = None
    recompute: bool = False
    float16: bool = False

    @property
    def on_cpu(self):
        """Whether the graph is for a CPU alone."""
        return (self.device_target or ms.get_context("device_target")) == "CPU"
