"""The reader of compiled graphs, on graphs whose figures follow by hand."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from benchmarks import compiled_graph

MAP = 4 * 2 * 8 * 8 * 8  # bytes of what the convolution makes, (2, 8, 8, 8)


class Convolve(nn.Cell):
    """A convolution with its bias, a view, a sum."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, has_bias=True)

    def construct(self, x):
        return self.conv(x).reshape((2, -1)).sum()


class Upsample(nn.Cell):
    """The gradients of a convolution and a transposed one to twice the size."""

    def __init__(self):
        super().__init__()
        layers = nn.SequentialCell(nn.Conv2d(3, 8, 3), nn.Conv2dTranspose(8, 4, 4, 2))
        self.gradient = ms.grad(layers, 0, layers.trainable_params())

    def construct(self, x):
        return self.gradient(x)


def make(kind):
    """What `compiled_graph` builds."""
    return kind(), (ms.Tensor(np.zeros((2, 3, 8, 8), np.float32)),)


def kernel(primitive, inputs, *sizes):
    """A node whose outputs have so many bytes."""
    outputs = tuple(compiled_graph.Output((size // 4,), size) for size in sizes)
    return compiled_graph.Node(primitive, inputs, outputs)


def graph_of(**nodes):
    """A graph that runs its nodes as they come and returns the last one."""
    names = list(nodes)
    given = {"x": compiled_graph.Output((1,), 4)}
    return compiled_graph.Graph(nodes, given, {"zero": 0, "one": 1}, names, names[-1])


def test_a_forward_pass():
    graph = compiled_graph.compiled_graph(make, Convolve)
    assert graph.primitives() == {"Conv2D": 1, "BiasAdd": 1, "ReduceSum": 1}
    assert graph.macs() == 2 * 8 * 8 * 8 * 3 * 3 * 3
    most, tensors = compiled_graph.peak(graph)
    assert most == 2 * MAP
    assert tensors == {("Conv2D", (2, 8, 8, 8)): MAP, ("BiasAdd", (2, 8, 8, 8)): MAP}


def test_macs_of_gradients():
    """Forward, to the input and to the weight are equally many; the last forward is not needed."""
    graph = compiled_graph.compiled_graph(make, Upsample)
    conv, transposed = 2 * 8 * 8 * (8 * 3 * 3 * 3), 2 * 8 * 8 * (8 * 4 * 4 * 4)
    assert graph.macs() == 3 * conv + 2 * transposed


def test_a_view_keeps_its_source_alive():
    graph = graph_of(
        made=kernel("Mul", ("x", "x"), 400),
        view=kernel("Reshape", ("made",), 400),
        other=kernel("Mul", ("x", "x"), 80),
        last=kernel("Add", ("view", "other"), 8),
    )
    assert compiled_graph.peak(graph)[0] == 488


def test_each_output_of_a_kernel_lives_for_itself():
    graph = graph_of(
        split=kernel("Split", ("x",), 400, 200),
        first=kernel("TupleGetItem", ("split", "zero"), 400),
        second=kernel("TupleGetItem", ("split", "one"), 200),
        short=kernel("Tanh", ("first",), 400),
        last=kernel("Add", ("second", "x"), 900),
    )
    assert compiled_graph.peak(graph)[0] == 1100  # second and last; at the Tanh it was 1000


def test_order_and_updates_own_nothing():
    graph = graph_of(
        gradient=kernel("Mul", ("x", "x"), 400),
        update=kernel("Adam", ("x", "gradient"), 999),
        loss=kernel("Mul", ("x", "x"), 4),
        last=kernel("Depend", ("loss", "update"), 4),
    )
    assert compiled_graph.peak(graph)[0] == 400
    assert graph.primitives() == {"Mul": 2, "Adam": 1}


def test_a_cut_graph_is_refused(tmp_path):
    for number in range(2):
        (tmp_path / f"ms_output_vm_build_{number}.pb").touch()
    with pytest.raises(RuntimeError, match="2 kernel graphs"):
        compiled_graph.read_graph(tmp_path)
