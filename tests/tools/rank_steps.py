"""Training steps of one rank, for test_ranks.py: scripts/launch.py starts it with a folder."""

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import amp, nn, ops

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from src.config.schema import Horizon  # noqa: E402
from src.runtime import device, distributed  # noqa: E402
from src.tools.loss import ForecastLoss  # noqa: E402
from src.tools.optimizers import Adam  # noqa: E402
from src.tools.train_step import TrainStep, make_scaler  # noqa: E402

# Of each sequence of a batch: how much of it is there.
THERE = 0.95, 0.02, 0.0, 0.4
HORIZON = Horizon(1, 1, 0.5)


class Distance(nn.Cell):
    """A loss: the mean squared distance of a weight from the data."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor([1.0, -2.0], ms.float32), name="weight")

    def construct(self, x):
        return ms.ops.square(self.weight - x).mean()


class Fading(nn.Cell):
    """A network without convolutions, which compiles in a moment: what counts in a loss does not
    depend on what forecasts. A map of weights times each frame, and further ahead more of it.
    """

    forecast_frames = 2

    def __init__(self):
        super().__init__()
        weights = np.random.default_rng(3).normal(size=(16, 16)).astype(np.float32)
        self.weight = ms.Parameter(ms.Tensor(weights), name="weight")
        self.bias = ms.Parameter(ms.Tensor([0.1], ms.float32), name="bias")

    def encode(self, inputs):
        outputs = inputs * self.weight + self.bias
        return outputs, outputs[:, -1:]

    def forecast(self, states, frames):
        return ops.concat([states * (k + 1) for k in range(frames)], 1)

    def head(self, outputs, previous):
        return outputs - previous

    def activate(self, x):
        return ops.sigmoid(x)


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


def masked_step(horizon=None, rank=0, size=1, parts=1):
    """A step with a mask on a rank's sequences, in parts: loss, norm, and Adam's first moments,
    which are the gradients times a constant.
    """
    rng = np.random.default_rng(0)
    frames = rng.random((len(THERE), 4, 1, 16, 16), np.float32)
    mask = rng.random(frames.shape) < np.reshape(THERE, (-1, 1, 1, 1, 1))
    batch = frames[:, :2], frames[:, 2:], mask.astype(np.float32)
    batch = [ms.Tensor(np.ascontiguousarray(array[rank::size])) for array in batch]
    network = Fading()
    optimizer = Adam(network.trainable_params(), 0.01)
    loss = ForecastLoss(network, "mse", 0.5, horizon)
    step = TrainStep(loss, optimizer, accumulate_steps=parts, ranks=size)
    results = [*step(*batch), *optimizer.moment1]
    return np.concatenate([result.asnumpy().ravel() for result in results])


def main(folder):
    """Leaves what each rank has found in a file of its own."""
    device.set_up("CPU", None)
    ranks = distributed.init_distributed(True)
    found = scaled_steps(ranks)
    found["masked"] = masked_step(None, ranks.rank, ranks.size)
    found["masked, a horizon in parts"] = masked_step(HORIZON, ranks.rank, ranks.size, 2)
    np.savez(Path(folder) / f"rank_{ranks.rank}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1])
