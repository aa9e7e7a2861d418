"""Losses, optimizer and training step."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn

from src.config.schema import Horizon, Stage, TrainingConfig
from src.data.normalizer import Normalizer, normalize
from src.model import EncoderForecaster
from src.tools.loss import ForecastLoss, in_unit_range, mean
from src.tools.optimizers import Adam, make_optimizer
from src.tools.train_step import TrainStep, execution_of, make_scaler
from tests.conftest import NARROW

RECIPE = TrainingConfig(learning_rate=1e-2)
# For what is the same in every network: half as long to compile as two stages.
ONE_STAGE = dataclasses.replace(NARROW["paper"], stages=(Stage(8),))


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


@pytest.mark.parametrize("kind", ["mse", "mse+mae"])
def test_loss_weights_are_hko_7s(kind, rng):
    """B-MSE and B-MAE of rain in mm/h, worked out beside the formula; a value at a threshold is in
    the higher class.
    """
    rain = rng.gamma(0.5, 20, (2, 3, 1, 4, 4)).astype(np.float32)
    rain[0, 0, 0, 0] = 2, 5, 10, 30
    value_range, given = (0.0, 60.0), ((2.0, 2.0), (5.0, 5.0), (10.0, 10.0), (30.0, 30.0))
    weights = np.select([rain >= 30, rain >= 10, rain >= 5, rain >= 2], [30, 10, 5, 2], 1)
    network = EncoderForecaster(NARROW["paper"], 2)
    logits = rng.normal(size=rain.shape).astype(np.float32)
    error = 1 / (1 + np.exp(-logits.astype(float))) - rain / 60
    expected = (weights * error**2).mean() + (kind == "mse+mae") * (weights * abs(error)).mean()
    loss = ForecastLoss(network, kind, pixel_weights=in_unit_range(given, Normalizer(value_range)))
    got = loss.pixel_loss(ms.Tensor(logits), ms.Tensor(normalize(rain, value_range)))
    assert float(got.asnumpy()) == pytest.approx(expected, rel=1e-5)


def test_training_lowers_the_loss_on_a_fixed_batch():
    """Twenty steps on one batch of moving blocks."""
    frames = np.zeros((2, 6, 1, 16, 16), np.float32)
    for t in range(6):
        frames[:, t, 0, 2 + t : 7 + t, 4:9] = 1
    network = EncoderForecaster(NARROW["paper"], 3)
    training = TrainingConfig(loss="bce", learning_rate=1e-2, encoder_loss_weight=1.0)
    loss = ForecastLoss(network, training.loss, training.encoder_loss_weight)
    step = TrainStep(loss, make_optimizer(network, training), 1.0)
    batch = ms.Tensor(frames[:, :3]), ms.Tensor(frames[:, 3:])
    losses = [float(step(*batch)[0].asnumpy()) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_clip_is_the_beginning_of_a_sequence(rng):
    """Its loss and the step after it are those of shorter sequences and the same weights."""
    frames = rng.random((2, 5, 1, 16, 16), np.float32)
    results = []
    for horizon, inputs in ((Horizon(2, 1, 0.5), 3), (None, 2)):
        ms.set_seed(3)
        network = EncoderForecaster(ONE_STAGE, 2 if horizon else 1)
        step = TrainStep(
            ForecastLoss(network, "bce", 1.0, horizon), make_optimizer(network, RECIPE)
        )
        end = 5 if horizon else 3
        batch = ms.Tensor(frames[:, :inputs]), ms.Tensor(frames[:, inputs:end])
        results.append([[float(x.asnumpy()) for x in step(*batch)] for _ in range(2)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


def half_step(network, training):
    """A training step with convolutions in float16, and its loss scaler."""
    scaler = make_scaler()
    loss = ForecastLoss(network, training.loss, training.encoder_loss_weight)
    return TrainStep(loss, make_optimizer(network, training, scaler), 1.0, scaler), scaler


def test_float16_convolutions_train(rng):
    """Close to float32's loss, lower after ten steps, weights and moments in float32."""
    training = TrainingConfig(loss="bce", learning_rate=1e-2, amp_level="O2")
    network = EncoderForecaster(NARROW["multiscale"], 1, execution_of(training, "CPU"))
    batch = [ms.Tensor(rng.random((2, n, 1, 16, 16), np.float32)) for n in (2, 1)]
    plain = EncoderForecaster(NARROW["multiscale"], 1)
    ms.load_param_into_net(plain, network.parameters_dict())
    expected = float(ForecastLoss(plain, "bce")(*batch).asnumpy())
    step, _ = half_step(network, training)
    losses = [float(step(*batch)[0].asnumpy()) for _ in range(10)]
    assert losses[0] == pytest.approx(expected, rel=1e-3)
    assert losses[0] != expected
    assert losses[-1] < losses[0]
    optimizer = step.optimizer
    kept = [*optimizer.parameters, *optimizer.moment1, *optimizer.moment2]
    assert {p.dtype for p in kept} == {ms.float32}


def test_an_overflowing_step_is_left_out(rng):
    """Weights and moments stay, the loss scale is halved, the norm says 0; then it goes on."""
    training = TrainingConfig(amp_level="O2")
    network = EncoderForecaster(ONE_STAGE, 1, execution_of(training, "CPU"))
    step, scaler = half_step(network, training)
    batch = [ms.Tensor(rng.random((1, 1, 1, 16, 16), np.float32)) for _ in range(2)]
    scaler.scale_value.set_data(ms.Tensor(1e38, ms.float32))
    before = [p.asnumpy().copy() for p in step.optimizer.parameters]
    loss, norm = step(*batch)
    assert np.isfinite(float(loss.asnumpy()))
    assert float(norm.asnumpy()) == 0
    assert float(scaler.scale_value.asnumpy()) == pytest.approx(5e37)
    for old, new in zip(before, step.optimizer.parameters, strict=True):
        np.testing.assert_array_equal(old, new.asnumpy())
    scaler.scale_value.set_data(ms.Tensor(1024.0, ms.float32))
    assert float(step(*batch)[1].asnumpy()) > 0
    assert any(
        (old != new.asnumpy()).any()
        for old, new in zip(before, step.optimizer.parameters, strict=True)
    )
    assert "scale_value" in {p.name for p in step.optimizer.get_parameters()}


def test_amp_levels():
    """auto is O2 on an Ascend alone."""
    for level, target, half in (
        ("O0", "Ascend", False), ("O2", "CPU", True), ("auto", "Ascend", True),
        ("auto", "CPU", False),
    ):  # fmt: skip
        assert execution_of(TrainingConfig(amp_level=level), target).float16 is half


def test_recomputing_changes_nothing(rng):
    """The same losses and gradient norms but for rounding."""
    batch = [ms.Tensor(rng.random((2, n, 1, 16, 16), np.float32)) for n in (2, 1)]
    config = dataclasses.replace(ONE_STAGE, group_norm=True, peepholes=False)
    results = []
    for recompute in (False, True):
        training = TrainingConfig(recompute=recompute, learning_rate=1e-2)
        ms.set_seed(3)
        network = EncoderForecaster(config, 1, execution_of(training, "CPU"))
        step = TrainStep(ForecastLoss(network, "mse"), make_optimizer(network, training))
        results.append([[float(x.asnumpy()) for x in step(*batch)] for _ in range(3)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


class Fit(nn.Cell):
    """A mean over the batch: of (weight * x + bias - y)^2."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor([1.0, -2.0, 0.5], ms.float32), name="weight")
        self.bias = ms.Parameter(ms.Tensor([0.1], ms.float32), name="bias")

    def construct(self, x, y):
        return ms.ops.square(self.weight * x + self.bias - y).mean()


@pytest.mark.parametrize("scaled", [False, True])
def test_accumulated_gradients_are_those_of_the_large_batch(scaled, rng):
    """Three batches of two and one of six, clipped: loss, norm, weights and moments for five
    steps.
    """
    batches = [[ms.Tensor(rng.random((6, 3), np.float32)) for _ in "xy"] for _ in range(5)]
    ends = []
    for parts in (1, 3):
        loss, scaler = Fit(), make_scaler() if scaled else None
        optimizer = Adam(loss.trainable_params(), 0.01)
        step = TrainStep(loss, optimizer, 0.5, scaler, parts)
        results = [float(x.asnumpy()) for batch in batches for x in step(*batch)]
        ends.append((results, [p.asnumpy() for p in optimizer.get_parameters()]))
    (whole, weights), (accumulated, others) = ends
    assert min(whole[1::2]) > 0.5, "the clipping was to matter"
    assert accumulated == pytest.approx(whole, rel=1e-6)
    for ours, theirs in zip(others, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


def test_the_weight_of_the_encoders_loss_can_fall(rng):
    """In a compiled loss: at 0 the loss is that without it, and half way it is half way."""
    batch = [ms.Tensor(rng.random((1, n, 1, 16, 16), np.float32)) for n in (2, 1)]
    network = EncoderForecaster(ONE_STAGE, 1)
    weight = ms.Parameter(ms.Tensor(1.0, ms.float32), requires_grad=False)
    loss = ForecastLoss(network, "bce", weight)
    values = []
    for value in (1.0, 0.5, 0.0):
        ms.ops.assign(weight, ms.Tensor(value, ms.float32))
        values.append(float(loss(*batch).asnumpy()))
    assert values[2] == pytest.approx(float(ForecastLoss(network, "bce")(*batch).asnumpy()))
    assert values[1] == pytest.approx((values[0] + values[2]) / 2)
    assert values[0] > values[2]


def test_what_is_missing_changes_no_gradient(rng):
    """Other targets where the weight is 0: the same loss and gradients bit for bit, in one graph;
    with all weights 1 the loss without weights.
    """
    network = EncoderForecaster(ONE_STAGE, 2)
    inputs, targets = (ms.Tensor(rng.random((2, 2, 1, 16, 16), np.float32)) for _ in range(2))
    weights = np.ones((2, 4, 1, 16, 16), np.float32)
    weights[:, :, :, 3:9, 2:12] = 0
    weights[0, 2] = 0
    there = weights[:, 2:] > 0
    other = ms.Tensor(np.where(there, targets.asnumpy(), np.float32(0.9)))
    loss = ForecastLoss(network, "bce", encoder_loss_weight=1.0)
    step = ms.value_and_grad(loss, None, network.trainable_params())
    results = [step(inputs, t, ms.Tensor(weights)) for t in (targets, other)]
    assert results[0][0].asnumpy() == results[1][0].asnumpy()
    for one, two in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(one.asnumpy(), two.asnumpy())
        assert np.abs(one.asnumpy()).max() > 0
    full, _ = step(inputs, targets, ms.Tensor(np.ones_like(weights)))
    assert float(full.asnumpy()) == pytest.approx(float(loss(inputs, targets).asnumpy()), rel=1e-5)
    assert float(results[0][0].asnumpy()) != pytest.approx(float(full.asnumpy()), rel=1e-4)


def test_the_weighted_mean_by_hand():
    """(1 + 5) / 2 of 1, 2, 5; 0 of nothing."""
    values = ms.Tensor(np.float32([1, 2, 5]))
    for mask, expected in (([1, 0, 1], 3), ([0, 0, 0], 0)):
        mask = ms.Tensor(np.float32(mask))
        assert float(mean(values, mask, mask.sum()).asnumpy()) == expected
