"""Whole networks against the PyTorch twin."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
import torch
from torch.nn import functional

from src.config.schema import Stage
from src.model import EncoderForecaster, Execution
from src.tools.loss import ForecastLoss
from tests.conftest import NARROW
from tests.torch_twin import Twin, assert_same_gradient, pairs, randomise

# A middle stage, which gets its input from below in the encoder and from above in the forecaster.
THREE_SCALES = {
    "three scales": dataclasses.replace(
        NARROW["multiscale"], stages=(*NARROW["multiscale"].stages, Stage(16, 16, 2))
    )
}


FLOW = {
    "flow": dataclasses.replace(
        NARROW["paper"], residual=True, residual_from="flow", output_activation="identity"
    )
}


def make_pair(config, forecast_frames, rng, device_target="CPU"):
    """A network and its twin on the same random weights."""
    network = EncoderForecaster(config, forecast_frames, Execution(device_target))
    twin = Twin(config, forecast_frames)
    randomise(pairs(network, twin), rng)
    return network, twin


def make_batch(rng, config, frames, size=16, batch=2):
    """Random frames in [0, 1]."""
    return rng.random((batch, frames, config.channels, size, size), np.float32)


@pytest.mark.parametrize("layout", NARROW)
def test_output_equals_torch(rng, layout):
    config = NARROW[layout]
    network, twin = make_pair(config, 3, rng)
    inputs = make_batch(rng, config, 2)
    with torch.no_grad():
        expected = twin.activate(twin(torch.from_numpy(inputs))[0])
    got = network(ms.Tensor(inputs)).asnumpy()
    assert got.shape == (2, 3, 1, 16, 16)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("layout", NARROW)
@pytest.mark.parametrize("activation", ["sigmoid", "leaky_relu", "identity"])
def test_activations_equal_torch(rng, layout, activation):
    """Of each layout by itself: the network before it is the same for all of them."""
    config = dataclasses.replace(NARROW[layout], output_activation=activation)
    network, twin = make_pair(config, 3, rng)
    logits = rng.normal(size=(2, 3, 1, 4, 4)).astype(np.float32)
    got = network.activate(ms.Tensor(logits)).asnumpy()
    np.testing.assert_allclose(got, twin.activate(torch.from_numpy(logits)), atol=1e-5)


@pytest.mark.parametrize(
    ("residual", "residual_from", "activation"),
    [(False, "last", "leaky_relu"), (True, "last", "identity"), (True, "flow", "identity")],
)
def test_channels_sizes_and_horizons(rng, residual, residual_from, activation):
    """Three channels, an oblong frame, one frame in, three out."""
    config = dataclasses.replace(
        NARROW["paper"],
        channels=3,
        residual=residual,
        residual_from=residual_from,
        output_activation=activation,
    )
    network, twin = make_pair(config, 3, rng)
    inputs = rng.random((1, 1, 3, 8, 20), np.float32)
    with torch.no_grad():
        expected = twin.activate(twin(torch.from_numpy(inputs))[0])
    np.testing.assert_allclose(network(ms.Tensor(inputs)).asnumpy(), expected, atol=1e-5)


def test_an_untrained_residual_network_is_persistence(rng):
    config = dataclasses.replace(NARROW["multiscale"], residual=True, output_activation="identity")
    inputs = make_batch(rng, config, 2)
    got = EncoderForecaster(config, 2, Execution("CPU"))(ms.Tensor(inputs)).asnumpy()
    np.testing.assert_array_equal(got, np.repeat(inputs[:, -1:], 2, 1))


def torch_loss(twin, inputs, targets, loss, encoder_weight):
    """The losses by PyTorch's own functions."""
    logits, encoder_logits = twin(inputs)
    next_frames = torch.cat([inputs[:, 1:], targets[:, :1]], 1)

    def pixel_loss(z, y):
        if loss == "bce":
            return functional.binary_cross_entropy_with_logits(z, y)
        value = functional.mse_loss(twin.activate(z), y)
        return value + functional.l1_loss(twin.activate(z), y) if loss == "mse+mae" else value

    return pixel_loss(logits, targets) + encoder_weight * pixel_loss(encoder_logits, next_frames)


@pytest.mark.parametrize(
    ("layout", "loss", "encoder_weight", "device_target"),
    [
        ("three scales", "mse", 0.0, "CPU"),
        ("multiscale", "bce", 0.5, "Ascend"),
        ("paper", "mse+mae", 0.0, "Ascend"),
        ("paper", "bce", 1.0, "CPU"),
        ("flow", "mse+mae", 0.5, "CPU"),
    ],
)
def test_loss_and_gradients_equal_torch(rng, layout, loss, encoder_weight, device_target):
    """The graphs for both devices, run on this one."""
    config = (NARROW | THREE_SCALES | FLOW)[layout]
    network, twin = make_pair(config, 2, rng, device_target)
    frames = make_batch(rng, config, 4)
    inputs, targets = frames[:, :2], frames[:, 2:]
    expected = torch_loss(
        twin, torch.from_numpy(inputs), torch.from_numpy(targets), loss, encoder_weight
    )
    expected.backward()
    parameters = ms.ParameterTuple(network.trainable_params())
    step = ms.value_and_grad(ForecastLoss(network, loss, encoder_weight), None, parameters)
    value, gradients = step(ms.Tensor(inputs), ms.Tensor(targets))
    np.testing.assert_allclose(float(value.asnumpy()), expected.item(), rtol=1e-5)
    by_name = {p.name: g.asnumpy() for p, g in zip(parameters, gradients, strict=True)}
    for ours, pick, theirs in pairs(network, twin):
        assert_same_gradient(by_name.pop(ours.name), pick(theirs.grad), ours.name)
    assert not by_name


def test_the_top_layers_zero_input_weights_get_no_gradient(rng):
    """Why `multiscale` has 921,600 fewer weights than the published network."""
    config = NARROW["multiscale"]
    _, twin = make_pair(config, 3, rng)
    frames = torch.from_numpy(make_batch(rng, config, 6))
    torch_loss(twin, frames[:, :3], frames[:, 3:], "mse", 0.0).backward()
    top = twin.forecaster_cells[-1]
    assert not top.conv.weight.grad[:, : top.in_channels].any()
    assert top.conv.weight.grad[:, top.in_channels :].any()


def test_an_untrained_network_forecasts_the_mean_pixel(rng):
    """The output bias starts at the logit of about 0.05."""
    network = EncoderForecaster(NARROW["paper"], 2)
    np.testing.assert_array_equal(network.output_conv.bias.asnumpy(), np.full(16, -3.0))


def test_the_network_lists_its_kernels_as_matrices():
    """One for each gate of a ConvLSTM, one of any other convolution but the last."""
    convs = ["encoder_convs.0.0", "encoder_convs.1.0", "forecaster_convs.0.0", "head_conv.0"]
    cells = ["encoder_layers.0", "encoder_layers.1", "forecaster_layers.0"]
    gates = [f"{cell}.cell.{name}_conv" for cell in cells for name in ("input", "state")]
    gates.append("forecaster_layers.1.cell.state_conv")
    expected = {f"{name}.weight": 1 for name in convs} | {f"{name}.weight": 4 for name in gates}
    assert EncoderForecaster(NARROW["multiscale"], 2).kernel_matrices() == expected


def test_any_batch_size_without_rebuilding(rng):
    network = EncoderForecaster(NARROW["paper"], 2)
    inputs = make_batch(rng, NARROW["paper"], 3, batch=3)
    together = network(ms.Tensor(inputs)).asnumpy()
    alone = network(ms.Tensor(inputs[1:2])).asnumpy()
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)
