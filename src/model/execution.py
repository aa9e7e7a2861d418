"""How a network computes what it computes; no field changes the function."""

from dataclasses import dataclass

import mindspore as ms


@dataclass(frozen=True)
class Execution:
    """What graph to build.

    Args:
        device_target: "Ascend", "CPU", or None for the one in use. A graph for an Ascend runs
            everywhere; one for a CPU has forms that are fast there.
        recompute: compute the gates again for the gradient in place of keeping them.
    """

    device_target: str | None = None
    recompute: bool = False

    @property
    def on_cpu(self):
        """Whether the graph is for a CPU alone."""
        return (self.device_target or ms.get_context("device_target")) == "CPU"
