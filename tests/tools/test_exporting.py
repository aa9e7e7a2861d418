"""The MINDIR computes what the network computes, or is not written."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.errors import ExportError, InputError
from src.model import EncoderForecaster, Execution
from src.tools import exporting
from tests.conftest import NARROW


@pytest.mark.parametrize("layout", NARROW)
def test_mindir_equals_network(tmp_path, rng, layout):
    network = EncoderForecaster(NARROW[layout], 3, Execution("Ascend"))
    inputs = rng.random((2, 4, 1, 16, 16), np.float32)
    path = tmp_path / "a folder" / "net.mindir"
    assert exporting.export(network, inputs, path, "MINDIR") <= 1e-5
    graph = nn.GraphCell(ms.load(str(path)))
    other = rng.random(inputs.shape, np.float32)
    np.testing.assert_allclose(
        graph(ms.Tensor(other)).asnumpy(), network(ms.Tensor(other)).asnumpy(), atol=1e-5
    )
    assert [p.name for p in path.parent.iterdir()] == ["net.mindir"]


def test_a_difference_is_an_error(tmp_path, rng, monkeypatch):
    """With a tolerance that nothing meets, no file appears."""
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    network = EncoderForecaster(NARROW["paper"], 1)
    with pytest.raises(ExportError, match="differs"):
        exporting.export(
            network, rng.random((1, 1, 1, 16, 16), np.float32), tmp_path / "x.mindir", "MINDIR"
        )
    assert not list(tmp_path.iterdir())


def test_formats_that_cannot_be_written_here():
    with pytest.raises(InputError, match="on an Ascend only"):
        exporting.check_format("AIR", "CPU")
    with pytest.raises(InputError, match="ONNX"):
        exporting.check_format("ONNX", "Ascend")
