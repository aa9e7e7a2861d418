"""Losses, optimizer and training step."""

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn

from src.config import TrainingConfig
from src.model import EncoderForecaster
from src.tools.training import Adam, ForecastLoss, TrainStep, make_optimizer
from tests.conftest import NARROW


class Quadratic(nn.Cell):
    """A loss with known gradients: sum of (weight - x)^2 plus sum of (bias - y)^2."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor(weight), name="weight")
        self.bias = ms.Parameter(ms.Tensor(bias), name="bias")

    def construct(self, x, y):
        return ms.ops.square(self.weight - x).sum() + ms.ops.square(self.bias - y).sum()


@pytest.mark.parametrize(
    ("decoupled", "weight_decay", "grad_clip"),
    [(False, 0.0, 0.0), (False, 0.0, 0.5), (False, 0.1, 0.0), (True, 0.1, 0.0), (True, 0.1, 0.5)],
)
def test_steps_equal_torch(rng, decoupled, weight_decay, grad_clip):
    """Adam and AdamW with and without clipping; decoupled decay spares what has one dimension."""
    weight, bias = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    loss = Quadratic(weight, bias)
    optimizer = Adam(loss.trainable_params(), 0.01, weight_decay, decoupled)
    step = TrainStep(loss, optimizer, grad_clip)
    tw, tb = (torch.nn.Parameter(torch.from_numpy(a)) for a in (weight.copy(), bias.copy()))
    groups = [
        {"params": [tw]},
        {"params": [tb], "weight_decay": 0.0 if decoupled else weight_decay},
    ]
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    twin = kind(groups, lr=0.01, weight_decay=weight_decay)
    for _ in range(5):
        x, y = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=5).astype(np.float32)
        got, norm = step(ms.Tensor(x), ms.Tensor(y))
        twin.zero_grad()
        expected = ((tw - torch.from_numpy(x)) ** 2).sum() + ((tb - torch.from_numpy(y)) ** 2).sum()
        expected.backward()
        limit = grad_clip or float("inf")
        twin_norm = torch.nn.utils.clip_grad_norm_([tw, tb], limit)
        twin.step()
        assert float(got.asnumpy()) == pytest.approx(expected.item(), rel=1e-5)
        assert float(norm.asnumpy()) == pytest.approx(twin_norm.item(), rel=1e-5)
        np.testing.assert_allclose(loss.weight.asnumpy(), tw.detach(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(loss.bias.asnumpy(), tb.detach(), rtol=1e-5, atol=1e-6)


def test_a_new_learning_rate_takes_effect_in_the_compiled_step(rng):
    loss = Quadratic(rng.normal(size=(2, 2)).astype(np.float32), np.zeros(1, np.float32))
    optimizer = Adam(loss.trainable_params(), 0.01)
    step = TrainStep(loss, optimizer)
    batch = ms.Tensor(np.zeros((2, 2), np.float32)), ms.Tensor(np.zeros(1, np.float32))
    step(*batch)
    before = loss.weight.asnumpy()
    ms.ops.assign(optimizer.learning_rate, ms.Tensor(0.0, ms.float32))
    step(*batch)
    np.testing.assert_array_equal(loss.weight.asnumpy(), before)


def test_bce_does_not_overflow(rng):
    """Logits of +-100 give the loss that they should: 100 where wrong, 0 where right."""
    network = EncoderForecaster(NARROW["paper"], 2)
    logits = ms.Tensor(np.array([100.0, -100.0, 100.0, -100.0], np.float32))
    targets = ms.Tensor(np.array([1.0, 0.0, 0.0, 1.0], np.float32))
    loss = ForecastLoss(network, "bce").pixel_loss(logits, targets)
    assert float(loss.asnumpy()) == pytest.approx(50.0)


@pytest.mark.parametrize("layout", NARROW)
def test_training_lowers_the_loss_on_a_fixed_batch(layout, rng):
    """Twenty steps on one batch of moving blocks."""
    frames = np.zeros((2, 6, 1, 16, 16), np.float32)
    for t in range(6):
        frames[:, t, 0, 2 + t : 7 + t, 4:9] = 1
    network = EncoderForecaster(NARROW[layout], 3)
    recipe = TrainingConfig(loss="bce", learning_rate=1e-2, encoder_loss_weight=1.0)
    loss = ForecastLoss(network, recipe.loss, recipe.encoder_loss_weight)
    step = TrainStep(loss, make_optimizer(network, recipe), 1.0)
    batch = ms.Tensor(frames[:, :3]), ms.Tensor(frames[:, 3:])
    losses = [float(step(*batch)[0].asnumpy()) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
