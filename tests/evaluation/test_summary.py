"""The model card's figures, by hand and beside those of the compiled graph."""

import sys
from pathlib import Path

import mindspore as ms
import numpy as np

from src.config.presets import PRESETS, make_config
from src.evaluation import summary
from src.model import EncoderForecaster, Execution
from src.tools import optimizers
from tests.conftest import NARROW

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import bench_graph  # noqa: E402

SIZE, INPUTS, FORECAST = (16, 24), 3, 2


def test_small_by_hand():
    """4x4 patches: 16 channels on 16x16 = 256 places; 10 frames in and out; the encoder's first
    step convolves no state, the forecaster's top layer no input. Bias and norm: 768 a layer.
    """
    network = EncoderForecaster(PRESETS["small"].model, 10)
    layers = summary.layers_of(network, 10, (64, 64))
    first, square = 256 * 16 * 9, 256 * 64 * 9
    assert [(layer.name, layer.output, layer.parameters, layer.macs) for layer in layers] == [
        ("encoder 1 ConvLSTM 3x3", (10, 64, 16, 16), first + square + 768,
         256 * (10 * first + 9 * square)),
        ("encoder 2 ConvLSTM 3x3", (10, 64, 16, 16), 2 * square + 768, 256 * 19 * square),
        ("forecaster 2 ConvLSTM 3x3", (10, 64, 16, 16), square + 768, 256 * 10 * square),
        ("forecaster 1 ConvLSTM 3x3", (10, 64, 16, 16), 2 * square + 768, 256 * 20 * square),
        ("output conv 1x1", (10, 16, 16, 16), 128 * 16 + 16, 256 * 10 * 128 * 16),
    ]  # fmt: skip
    assert sum(layer.parameters for layer in layers) == 926_736


def test_parameters_and_shapes_of_all_layouts():
    for config in NARROW.values():
        network = EncoderForecaster(config, FORECAST)
        layers = summary.layers_of(network, INPUTS, SIZE)
        parameters = sum(p.size for p in network.trainable_params())
        assert sum(layer.parameters for layer in layers) == parameters
    scales = [
        x.output for x in summary.layers_of(EncoderForecaster(NARROW["multiscale"], 2), 3, SIZE)
    ]
    assert scales == [
        (3, 4, 16, 24), (3, 8, 16, 24), (3, 8, 8, 12), (3, 16, 8, 12),
        (2, 16, 8, 12), (2, 16, 16, 24), (2, 8, 16, 24), (2, 4, 16, 24), (2, 1, 16, 24),
    ]  # fmt: skip


def forecast():
    """What `compiled_graph` builds: strided and transposed convolutions among the layers."""
    network = EncoderForecaster(NARROW["multiscale"], FORECAST, Execution("Ascend"))
    return network, (ms.Tensor(np.zeros((1, INPUTS, 1, *SIZE), np.float32)),)


def test_macs_are_those_of_the_compiled_graph():
    network = EncoderForecaster(NARROW["multiscale"], FORECAST)
    layers = summary.layers_of(network, INPUTS, SIZE)
    assert sum(layer.macs for layer in layers) == bench_graph.compiled_graph(forecast).macs()


def test_the_card(tmp_path, capsys):
    path = tmp_path / "x.ckpt"
    summary.show(make_config("small", {}), 12_345, path)
    text = capsys.readouterr().out
    assert "preset:      small, 926,736 parameters" in text
    assert "cost:        2.289 GMAC a sequence, forward" in text
    assert f"checkpoint:  12,345 bytes: {path}" in text
    config = make_config("small", {})
    summary.show(config, optimizers.state_bytes(config))
    assert "checkpoint:  about 7.4 MB, with the optimizer's moments" in capsys.readouterr().out
