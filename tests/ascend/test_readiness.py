"""What can be known here of our graphs on an Ascend, and that the check finds what it should."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.config.presets import PRESETS
from tests.ascend import platforms, readiness

# The largest first, so that it does not run alone in the end.
ORDER = ("multiscale", "paper", "small")
# In and out; graphs of ten have more nodes, and of the same primitives.
FRAMES = 3


class Wrong(nn.Cell):
    """A convolution between a primitive for the CPU alone and a call of the host."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3)
        self.fmax = ops.operations.math_ops.Fmax()
        self.print = ops.Print()

    def construct(self, x):
        y = self.conv(x)
        y = self.fmax(y, x)
        self.print("seen", y.sum())
        return ops.tanh(y)


def wrong():
    """What `compiled_graph` builds."""
    return Wrong(), (ms.Tensor(np.zeros((2, 16, 8, 8), np.float32)),)


@pytest.fixture(scope="module")
def found():
    """The reports on all presets, by name."""
    assert set(ORDER) == set(PRESETS)
    return {report.name: report for report in readiness.reports(ORDER, FRAMES)}


@pytest.mark.parametrize("graph", ["training", "inference"])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_ready(found, preset, graph):
    report = found[f"{preset}, {graph}"]
    assert report.problems == []
    assert set(report.counts) <= set(report.sources)
    # What every graph of ours is made of, and what only a training has.
    assert {"Conv2D", "Sigmoid", "Tanh", "Split", "Addcmul"} <= set(report.counts)
    training = {"Adam", "Conv2DBackpropFilter", "Conv2DBackpropInput", "SigmoidGrad"}
    assert training & set(report.counts) == (training if graph == "training" else set())


def test_a_primitive_for_the_cpu_alone_and_a_call_of_the_host_are_found():
    report, _ = readiness.training_report("wrong", wrong)
    texts = " | ".join(sorted(report.problems))
    assert "Fmax: not for an Ascend (docstring of mindspore.ops.fmax: CPU)" in texts
    assert "Print: calls the host from inside the graph" in texts
    assert len(report.problems) == 2
    assert report.counts["Conv2D"] == report.counts["Tanh"] == 1
    # Weight and input; then what the convolution and Fmax make, and later Fmax and Tanh.
    feature_map, weight = 4 * 2 * 16 * 8 * 8, 4 * 16 * 16 * 3 * 3
    total = 4
    assert report.memory == weight + feature_map + 2 * feature_map + total


def test_a_dynamic_shape_is_found(tmp_path):
    path = tmp_path / "dynamic.mindir"
    dynamic = ms.Tensor(shape=(None, 16, 8, 8), dtype=ms.float32)
    ms.export(nn.Tanh(), dynamic, file_name=str(path), file_format="MINDIR")
    assert readiness.find_problems(readiness.read_mindir(path), set()) == [
        "Tanh: its shape is not static"
    ]


def test_sources():
    """One primitive for each part of the wheel, and what no part knows."""
    assert (
        platforms.evidence("Conv2D").source == "docstring of mindspore.ops.Conv2D: Ascend, GPU, CPU"
    )
    assert platforms.evidence("Tanh").source.startswith("docstring of mindspore.ops.tanh: Ascend")
    assert "_declare.h" in platforms.evidence("Conv2DBackpropFilter").source
    assert "GroupNormGradAscend" in platforms.evidence("GroupNormGrad").source
    assert platforms.evidence("UpperBound").supported
    assert not platforms.evidence("BesselJ0").supported  # GPU and CPU
    assert not platforms.evidence("NoSuchPrimitive").supported
    assert [platforms.is_host_callback(name) for name in ("PyExecute", "PyFunc", "Tanh")] == [
        True, True, False,
    ]  # fmt: skip


def test_memory_of_a_batch_of_32(found):
    """Weights and both moments alone are 12 bytes a parameter; the most is multiscale's. Ten frames
    fit too: the first has no state and costs least, the others cost as much as each other.
    """
    memory = {preset: found[f"{preset}, training"].memory for preset in PRESETS}
    limit = readiness.MEMORY * (FRAMES - 1) / (10 - 1)
    assert 12 * 7_585_296 < memory["paper"] < memory["multiscale"] < limit


def test_channels_are_reported(found):
    assert found["multiscale, inference"].odd_channels == (
        "encoder_convs.0.0.weight: 1 to 16 channels",
        "output_conv.weight: 16 to 1 channels",
    )
    assert found["paper, inference"].odd_channels == ()
