"""Training steps of one rank, for test_ranks.py: scripts/launch.py starts it with a folder."""

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import amp, nn, ops

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from src.runtime import device, distributed  # noqa: E402
from src.tools.optimizers import Adam  # noqa: E402
from src.tools.train_step import TrainStep, make_scaler  # noqa: E402


class Distance(nn.Cell):
    """A loss: the mean squared distance of a weight from the data."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor([1.0, -2.0], ms.float32), name="weight")

    def construct(self, x):
        return ms.ops.square(self.weight - x).mean()


def overflow_register(gradients):
    """What a device says that has seen an overflow, whatever has become of the gradients."""
    return ops.isnan(gradients[0]).any()


def scaled_steps(ranks):
    """A step, and one with an overflow that rank 1 alone has seen: weight and loss scale after
    each, and the norms.
    """
    loss, scaler = Distance(), make_scaler()
    optimizer, found = Adam(loss.trainable_params(), 0.1), {}
    batch = ms.Tensor(np.full((4, 2), 1.0 + ranks.rank, np.float32))
    for name in ("without", "with"):
        if name == "with" and ranks.rank == 1:
            amp.all_finite = overflow_register
        _, norm = TrainStep(loss, optimizer, scaler=scaler, ranks=ranks.size)(batch)
        after = loss.weight, scaler.scale_value, norm
        found[f"{name} overflow"] = np.concatenate([x.asnumpy().ravel() for x in after])
    return found


def main(folder):
    """Leaves what each rank has found in a file of its own."""
    device.set_up("CPU", None)
    ranks = distributed.init_distributed(True)
    np.savez(Path(folder) / f"rank_{ranks.rank}.npz", **scaled_steps(ranks))


if __name__ == "__main__":
    main(sys.argv[1])
