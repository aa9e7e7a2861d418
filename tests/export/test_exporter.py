"""An exported file computes what the network computes, or is not written."""

import dataclasses
import os
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import onnx
import onnxruntime
import pytest
from mindspore import nn

from src.config.schema import ModelConfig, Stage
from src.errors import ExportError, InputError
from src.export import exporter
from src.model import EncoderForecaster, Execution
from tests.conftest import NARROW

# What the narrow layouts lack: colour, one stage, one frame, another end, kernels of two sizes.
PLAIN = ModelConfig(
    stages=(Stage(6),),
    kernel_size=3,
    input_kernel_size=5,
    patch_size=2,
    output_activation="leaky_relu",
    channels=2,
)
LAYOUTS = {name: (config, (2, 2, 1, 16, 16), 2) for name, config in NARROW.items()}
LAYOUTS["plain"] = (PLAIN, (2, 1, 2, 8, 12), 1)
RESIDUAL = dataclasses.replace(PLAIN, output_activation="identity", residual=True)
FLOW = dataclasses.replace(RESIDUAL, residual_from="flow")
LAYOUTS["flow"] = (FLOW, (2, 3, 2, 8, 12), 2)
LAYOUTS["residual"] = (RESIDUAL, (2, 3, 2, 8, 12), 2)


@pytest.fixture(scope="module", params=LAYOUTS)
def network(request):
    """A network as export.py builds it, its weights all random, and a batch of its input."""
    config, shape, forecast_frames = LAYOUTS[request.param]
    rng = np.random.default_rng(0)
    network = EncoderForecaster(config, forecast_frames, Execution("Ascend"))
    for p in network.get_parameters():
        p.set_data(ms.Tensor(rng.normal(scale=0.2, size=p.shape).astype(np.float32)))
    return network, rng.random(shape, np.float32)


@pytest.mark.parametrize("network", NARROW, indirect=True)
def test_mindir_equals_network(network, tmp_path, rng):
    network, inputs = network
    path = tmp_path / "a folder" / "net.mindir"
    assert exporter.export(network, inputs, path, "MINDIR") <= 1e-5
    graph = nn.GraphCell(ms.load(str(path)))
    other = rng.random(inputs.shape, np.float32)
    np.testing.assert_allclose(
        graph(ms.Tensor(other)).asnumpy(), network(ms.Tensor(other)).asnumpy(), atol=1e-5
    )
    assert [p.name for p in path.parent.iterdir()] == ["net.mindir"]


def in_pairs(network, rng, shape):
    """Five sequences, and what the network makes of them two at a time."""
    inputs = rng.random((6, *shape[1:]), np.float32)
    pairs = [network(ms.Tensor(inputs[k : k + 2])).asnumpy() for k in (0, 2, 4)]
    return inputs[:5], np.concatenate(pairs)[:5]


@pytest.mark.parametrize("any_batch", [False, True])
def test_onnx_equals_network(network, tmp_path, rng, any_batch):
    network, inputs = network
    path = tmp_path / "net.onnx"
    assert exporter.export(network, inputs, path, "ONNX", any_batch=any_batch) <= 1e-4
    (shape,) = [i.type.tensor_type.shape.dim for i in onnx.load(path).graph.input]
    assert (shape[0].dim_param, shape[0].dim_value) == (("batch", 0) if any_batch else ("", 2))
    assert [dim.dim_value for dim in shape[1:]] == list(inputs.shape[1:])
    session = onnxruntime.InferenceSession(path)
    frames, expected = in_pairs(network, rng, inputs.shape)
    count = 5 if any_batch else 2
    (forecast,) = session.run(["forecast"], {"frames": frames[:count]})
    np.testing.assert_allclose(forecast, expected[:count], rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", NARROW, indirect=True)
def test_mindir_for_any_batch(network, tmp_path, rng):
    network, inputs = network
    path = tmp_path / "net.mindir"
    assert exporter.export(network, inputs, path, "MINDIR", any_batch=True) <= 1e-5
    graph = nn.GraphCell(ms.load(str(path)))
    frames, expected = in_pairs(network, rng, inputs.shape)
    for count in (5, 1):
        forecast = graph(ms.Tensor(frames[:count])).asnumpy()
        np.testing.assert_allclose(forecast, expected[:count], rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", ["plain"], indirect=True)
@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_a_difference_is_an_error(network, tmp_path, monkeypatch, file_format):
    """With a tolerance that nothing meets, no file appears."""
    monkeypatch.setattr(exporter, "TOLERANCE", -1.0)
    monkeypatch.setattr(exporter, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=f"the {file_format}'s output differs"):
        exporter.export(*network, tmp_path / f"x.{file_format.lower()}", file_format)
    assert not list(tmp_path.iterdir())


def test_where_an_export_goes():
    """Beside the checkpoint that was named; by the bundled one into the working folder."""
    assert exporter.output_path(None, "a/b.ckpt", "ONNX") == Path("a/b.onnx")
    assert exporter.output_path(None, None, "MINDIR") == Path("small.mindir")


def test_the_name_of_an_export(tmp_path):
    """It gets the format's suffix, but for a pipe, beside which nothing is to be made."""
    os.mkfifo(tmp_path / "pipe")
    names = {"a": "a.onnx", "a.onnx": "a.onnx", "a.mindir": "a.mindir.onnx", "pipe": "pipe"}
    for given, expected in names.items():
        path = exporter.output_path(tmp_path / given, None, "ONNX")
        assert path == tmp_path / expected


def test_an_export_does_not_replace_its_checkpoint(tmp_path):
    """By a link to it, or by its own name."""
    (tmp_path / "a.ckpt").touch()
    (tmp_path / "b.onnx").symlink_to("a.ckpt")
    (tmp_path / "c.onnx").touch()
    for name, source in (("b.onnx", "a.ckpt"), (None, "c.onnx")):
        with pytest.raises(InputError, match="is the checkpoint to export"):
            exporter.output_path(name and tmp_path / name, tmp_path / source, "ONNX")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_formats_that_cannot_be_written_here(monkeypatch, package):
    with pytest.raises(InputError, match="on an Ascend only"):
        exporter.check_format("AIR", "CPU")
    with pytest.raises(InputError, match="batch_size is 0: AIR has fixed shapes"):
        exporter.check_format("AIR", "Ascend", 0)
    exporter.check_format("ONNX", "CPU", 0)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"file_format is ONNX: {package} is missing: pip install"):
        exporter.check_format("ONNX", "CPU")
