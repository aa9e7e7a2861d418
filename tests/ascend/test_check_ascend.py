"""What can be known here of our graphs on an Ascend, and that the check finds what it should."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from mindspore.ops.auto_generate import GroupNorm

from benchmarks.compiled_graph import Node
from scripts import ascend_operators as operators
from scripts import check_ascend
from scripts.ascend_operators import BACKENDS, GRAPH_ENGINE, KERNEL_BY_KERNEL
from scripts.check_ascend import Step
from src.config.presets import PRESETS
from tests.scripts.conftest import run

# In and out; graphs of ten have more nodes, and of the same operators.
FRAMES = 2
# The beginning of a sequence. The script itself is run for `small`; what a step of `paper` or of
# `two_scale` is made of, these two are too.
STEP = Step("multiscale", FRAMES + 1, horizon=0)
NETWORKS = ("multiscale", "paper", "two_scale")
FEATURE_MAP = 4 * 2 * 16 * 8 * 8  # bytes of (2, 16, 8, 8)


class Planted(nn.Cell):
    """A convolution and what `plant` returns for its output."""

    def __init__(self, plant):
        super().__init__()
        self.conv, self.plant = nn.Conv2d(16, 16, 3), plant

    def construct(self, x):
        return ops.tanh(self.plant(self.conv(x), x))


class OnCpuAlone(nn.Cell):
    """An operator for the CPU alone, and a call of the host."""

    def __init__(self):
        super().__init__()
        self.fmax = ops.operations.math_ops.Fmax()
        self.print = ops.Print()

    def construct(self, y, x):
        y = self.fmax(y, x)
        self.print("seen", y.sum())
        return y


class WithoutAdapter(nn.Cell):
    """An operator that has a kernel and no adapter."""

    def __init__(self):
        super().__init__()
        self.norm, self.gamma = GroupNorm(), ms.ops.ones((16,))

    def construct(self, y, x):
        return self.norm(y, 4, self.gamma, self.gamma, 1e-5)[0]


def planted(kind):
    """What `compiled_graph` builds."""
    return Planted(kind()), (ms.Tensor(np.zeros((2, 16, 8, 8), np.float32)),)


@pytest.fixture(scope="module")
def found():
    """The reports on a training step and on exported networks, by "training" or preset."""
    assert {*NETWORKS, "small"} == set(PRESETS)
    reports = check_ascend.reports([STEP], [(preset, FRAMES) for preset in NETWORKS])
    return dict(zip(("training", *NETWORKS), reports, strict=True))


@pytest.mark.parametrize("graph", ["training", *NETWORKS])
def test_presets_are_ready_kernel_by_kernel(found, graph):
    report = found[graph]
    assert report.problems[KERNEL_BY_KERNEL] == []
    named = set(report.sources[KERNEL_BY_KERNEL]) | check_ascend.BOOKKEEPING
    assert set(report.counts) <= named
    # What every graph of ours is made of, and what only a training has.
    assert {"Conv2D", "Sigmoid", "Tanh", "Split", "Addcmul"} <= set(report.counts)
    training = {"Adam", "Conv2DBackpropFilter", "Conv2DBackpropInput", "GetNext", "SigmoidGrad"}
    assert training & set(report.counts) == (training if graph == "training" else set())


def test_the_script_by_backend():
    """Float16 on several cards too: GroupNorm has kernels and no adapter, and what follows from an
    overflow is control flow. The exit code is about the backend that is asked for.
    """
    options = ["--preset", "small", "--frames", 1, "--jit_level", "O2"]
    lines = run("scripts/check_ascend.py", *options, expect=1).stdout.splitlines()
    names = [line.partition(":")[0] for line in lines if line.startswith("small, ")]
    assert names == [
        "small, training step, 1+1 frames, float32, one card",
        "small, training step, 1+1 frames, float16, 8 cards",
        "small, exported network",
    ]
    assert lines.count("  kernel by kernel: ready") == 3
    (memory,) = (line for line in lines if line.startswith("  memory, batch 32: "))
    assert 12 * 926_736 < 1e9 * float(memory.split()[3]) < check_ascend.MEMORY / 10
    single, several, exported = (line for line in lines if line.startswith("  GE: not ready: "))
    assert "GroupNorm, GroupNormGrad" in single
    assert "control flow" not in single + exported
    assert several.endswith("control flow divides it into 4 graphs")
    for primitive in ("AllReduce", "AllFinite", "NPUGetFloatStatusV2", "GetNext"):
        assert f"  {primitive}" in lines
    assert lines[-2].startswith("only a card can tell whether its CANN has the kernels asked for")
    assert lines[-1].startswith("GE (O2): 3 graphs are not ready, as far as is known without")


def test_every_horizon_is_a_step_of_its_own():
    names = [step.name for step in check_ascend.steps_of("multiscale", 10)]
    sizes = ("4+2", "7+5", "10+10")
    kinds = ("float32, one card", "float16, 8 cards")
    assert names == [f"multiscale, training step, {n} frames, {k}" for k in kinds for n in sizes]


def test_an_operator_without_adapter_is_not_for_the_graph_engine():
    report = check_ascend.training_report("planted", planted, WithoutAdapter)
    assert report.problems == {
        KERNEL_BY_KERNEL: [],
        GRAPH_ENGINE: ["GroupNorm: no adapter of this name"],
    }
    nodes = [Node(name, (), ()) for name in report.counts if name != "GroupNorm"]
    assert "Conv2D" in report.counts
    for backend in BACKENDS:
        assert check_ascend.find_problems(nodes, backend) == []


def test_an_operator_for_the_cpu_alone_and_a_call_of_the_host_are_found():
    report = check_ascend.training_report("planted", planted, OnCpuAlone)
    for backend in BACKENDS:
        assert sorted(report.problems[backend]) == [
            "Fmax: docstring of mindspore.ops.fmax: CPU",
            "Print: calls the host from inside the graph",
        ]
    assert report.counts["Conv2D"] == report.counts["Tanh"] == 1
    # Weight and input; then what the convolution and Fmax make, and later Fmax and Tanh.
    weight, total = 4 * 16 * 16 * 3 * 3, 4
    assert report.memory == weight + FEATURE_MAP + 2 * FEATURE_MAP + total


def test_a_dynamic_shape_is_found(tmp_path):
    path = tmp_path / "dynamic.mindir"
    dynamic = ms.Tensor(shape=(None, 16, 8, 8), dtype=ms.float32)
    ms.export(nn.Tanh(), dynamic, file_name=str(path), file_format="MINDIR")
    for backend in BACKENDS:
        problems = check_ascend.find_problems(check_ascend.read_mindir(path), backend)
        assert problems == ["Tanh: shape is not static"]


@pytest.mark.parametrize(
    ("primitive", "by_kernel", "by_graph_engine"),
    [
        ("Conv2D", "adapter, nn_calculation_ops_declare.h", "adapter, nn_calculation_ops_declare"),
        ("Tanh", "kernel class TanhAscend in lib/", "adapter, nonlinear_fuc_ops_declare.h"),
        ("Adam", "adapter, op_adapter_map.h", "adapter, op_adapter_map.h"),
        ("GroupNormGrad", "kernel class GroupNormGradAscend in lib/", None),
        ("Unstack", "AI CPU operator", None),
        ("AllReduce", "HCCL kernel, hcom_all_reduce.h", "adapter, op_adapter_map.h"),
        ("Partial", "docstring of mindspore.ops", None),
        ("BesselJ0", None, None),  # GPU and CPU
        ("NoSuchPrimitive", None, None),
    ],
)
def test_evidence(primitive, by_kernel, by_graph_engine):
    """Operators for each part of the wheel, and what no part knows."""
    for backend, text in zip(BACKENDS, (by_kernel, by_graph_engine), strict=True):
        supported, source = operators.evidence(primitive, backend)
        assert supported is (text is not None)
        assert text is None or text in source


def test_calls_of_the_host():
    names = ("PyExecute", "PyFunc", "Print", "Tanh")
    assert [operators.is_host_callback(name) for name in names] == [True, True, True, False]


def test_memory_of_a_batch_of_32(found):
    """Weights and both moments alone are 12 bytes a parameter; the most is multiscale's. Ten frames
    fit too: the first has no state and costs least, the others cost as much as each other.
    """
    limit = check_ascend.MEMORY * (FRAMES - 1) / (10 - 1)
    assert 12 * 8_110_753 < found["training"].memory < limit


def test_channels_are_reported(found):
    assert found["multiscale"].odd_channels == (
        "encoder_convs.0.0.weight: 1 to 16 channels",
        "output_conv.weight: 16 to 1 channels",
    )
    assert found["paper"].odd_channels == found["two_scale"].odd_channels == ()
