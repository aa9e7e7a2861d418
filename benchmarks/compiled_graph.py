"""Compiles a Cell and reads the nodes of its graph, to count and check them.

The graph is compiled on a CPU in a process of its own, in which MindSpore's environment variables
for saving graphs are set.

- primitives: operators that launch a kernel. `BOOKKEEPING` and `VIEWS`, which launch none, are not
  counted. The fusions of an NPU's own compiler are not known here.
- peak: the most bytes of outputs alive at once, if kernels are launched in the order of the
  compiled graph and an output lives from its kernel to the last kernel that reads it. Weights,
  moments and the batch are not counted. An allocator needs more or less than this: the figure knows
  no workspace, no fragmentation, and no output written over its input. A CPU with several threads
  follows the dependencies, not this order.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import multiprocessing
import os
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from mindspore.train import anf_ir_pb2 as ir

from src.runtime import device

BOOKKEEPING = {"Load", "UpdateState", "Depend", "MakeTuple", "TupleGetItem"}
VIEWS = {"Reshape", "ExpandDims", "Squeeze", "Flatten"}
# Primitives that write into a parameter.
UPDATES = {"Adam", "Assign"}
CONVOLUTIONS = {"Conv2D", "Conv2DTranspose", "Conv2DBackpropInput", "Conv2DBackpropFilter"}


class Output(NamedTuple):
    """A tensor that a node computes."""

    shape: tuple[int, ...]
    size: int  # bytes


class Node(NamedTuple):
    """A node of the graph; a tuple has one output for each element."""

    primitive: str
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """A compiled graph.

    Args:
        nodes: the nodes by name, each after those whose outputs it reads.
        given: parameters, inputs and constants, by name.
        indices: the constants that are whole numbers, by name.
        launched: the names of the nodes that the runtime executes, in the order of execution.
        result: the name of the node that the graph returns.
    """

    nodes: dict[str, Node]
    given: dict[str, Output]
    indices: dict[str, int]
    launched: list[str]
    result: str

    def primitives(self):
        """The number of kernels that each primitive launches, a `Counter`."""
        names = (self.nodes[name].primitive for name in self.launched)
        return collections.Counter(name for name in names if name not in BOOKKEEPING | VIEWS)

    def shape(self, name):
        """The shape of a parameter, input or constant, or of a node's first output."""
        return (self.nodes[name].outputs[0] if name in self.nodes else self.given[name]).shape

    def macs(self):
        """The multiply-accumulates of all convolutions.

        The forward pass needs each weight once for each pixel of the output; the gradients of the
        input and of the weight need it once for each pixel of the output's gradient.
        """
        total = 0
        for node in map(self.nodes.get, self.launched):
            if node.primitive in CONVOLUTIONS:
                first, second = map(self.shape, node.inputs[:2])
                output = node.outputs[0].shape
                pixels = output if node.primitive == "Conv2D" else first
                weight = output if node.primitive == "Conv2DBackpropFilter" else second
                total += pixels[0] * math.prod(pixels[2:]) * math.prod(weight)
        return total


def compiled_graph(build, *inputs):
    """The compiled graph of a Cell.

    Args:
        build: a function of a module that returns the Cell and a tuple of Tensors to compile it
            for. Another process calls it, because MindSpore reads the environment only once.
        inputs: the arguments of `build`.
    """
    with saved_graphs(build, *inputs) as folder:
        return read_graph(folder)


@contextlib.contextmanager
def saved_graphs(build, *inputs):
    """A folder with the graphs of a Cell, as MindSpore saves them; see `compiled_graph`."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
            pool.submit(_compile, folder, build, inputs).result()
        yield Path(folder)


def _compile(folder, build, inputs):
    """Compiles and saves the graph; naming a pass saves the text of that one, not of a hundred."""
    os.environ["MS_DEV_SAVE_GRAPHS"] = "1"
    os.environ["MS_DEV_SAVE_GRAPHS_PATH"] = folder
    os.environ["MS_DEV_DUMP_IR_PASSES"] = "vm_build"
    device.set_up("CPU")
    cell, tensors = build(*inputs)
    cell.compile(*tensors)


def read_graph(folder):
    """Reads the graph that MindSpore saved in a folder: as protobuf, the order of kernels as text.

    Raises:
        RuntimeError: there is not exactly one graph.
    """
    files = list(folder.glob("ms_output_vm_build_*.pb"))
    if len(files) != 1:
        raise RuntimeError(
            f"{len(files)} kernel graphs in place of one: control flow, or a call to Python, "
            "divides the graph"
        )
    graph = _read(files[0])
    (actors,) = folder.glob("actor_set/0_*.ir")
    # Kernels without inputs are listed twice, once among those that start a step.
    launched = set(re.findall(r"actor_name:(\d+)_(\S+)\tactor_id", actors.read_text()))
    names = {node.full_name: node.name for node in graph.node}
    return Graph(
        nodes={node.name: _node(node) for node in graph.node},
        given=(
            {p.name: _outputs(p.type)[0] for p in graph.parameters}
            | {c.key: Output(tuple(c.value.tensor_val.dims), 0) for c in graph.const_vals}
        ),
        indices={c.key: c.value.int_val for c in graph.const_vals},
        launched=[names[name] for _, name in sorted(launched, key=lambda pair: int(pair[0]))],
        result=graph.outputs[0].name,
    )


def read_parts(folder):
    """The nodes of each graph that MindSpore saved in a folder, as pairs: before the passes for a
    device and after them. Control flow divides a Cell into several graphs.
    """
    count = len(list(folder.glob("ms_output_vm_build_*.pb")))
    return [
        [
            list(map(_node, _read(folder / f"ms_output_{stage}_{number}.pb").node))
            for stage in ("before_opt", "vm_build")
        ]
        for number in range(count)
    ]


def _read(path):
    model = ir.ModelProto()
    model.ParseFromString(path.read_bytes())
    return model.graph


def _node(node):
    inputs = tuple(edge.name for edge in node.input)
    return Node(node.op_type, inputs, tuple(_outputs(node.output_type)))


def _outputs(kind):
    """The tensors of a protobuf type; other types take no memory."""
    if kind.data_type == ir.DT_TENSOR:
        shape = tuple(dim.size for dim in kind.tensor_type.shape.dim)
        bits = re.sub(r"\D", "", ir.DataType.Name(kind.tensor_type.elem_type)) or "8"  # or a bool
        return [Output(shape, math.prod(shape) * int(bits) // 8)]
    if kind.data_type == ir.DT_TUPLE:
        return [output for element in kind.sequence_type.elem_types for output in _outputs(element)]
    return [Output((), 0)]


def buffers_behind(graph):
    """The buffers that each node's outputs use: by node a list of sets of (name, index of output).

    A kernel owns its outputs. Views, and nodes that only keep an order, use the buffers of their
    first input. Parameters, and kernels that write into them, use none.
    """
    none, buffers = frozenset(), {}
    for name, node in graph.nodes.items():
        inputs = [buffers.get(source, [none]) for source in node.inputs]
        if node.primitive in VIEWS | {"Load", "Depend"}:
            buffers[name] = inputs[0]
        elif node.primitive == "TupleGetItem":
            buffers[name] = [inputs[0][graph.indices[node.inputs[1]]]]
        elif node.primitive == "MakeTuple":
            buffers[name] = [none.union(*elements) for elements in inputs]
        elif node.primitive in UPDATES | {"UpdateState"}:
            buffers[name] = [none] * len(node.outputs)
        else:
            buffers[name] = [frozenset({(name, k)}) for k in range(len(node.outputs))]
    return buffers


def lifetimes(graph):
    """The first and the last launch that needs each buffer, as positions in `graph.launched`."""
    buffers, times = buffers_behind(graph), {}
    for now, name in enumerate(graph.launched):
        reads = [buffers.get(source, []) for source in graph.nodes[name].inputs]
        for buffer in itertools.chain(*buffers[name], *itertools.chain(*reads)):
            times[buffer] = (times.get(buffer, (now,))[0], now)
    for buffer in itertools.chain(*buffers[graph.result]):
        times[buffer] = (times[buffer][0], len(graph.launched))
    return times


def peak(graph):
    """The most bytes alive at once, and a `Counter` of their bytes by (primitive, shape)."""
    times = lifetimes(graph)
    change = [0] * (len(graph.launched) + 2)
    for (name, k), (start, end) in times.items():
        size = graph.nodes[name].outputs[k].size
        change[start] += size
        change[end + 1] -= size
    alive = list(itertools.accumulate(change))
    most = max(alive)
    when, tensors = alive.index(most), collections.Counter()
    for (name, k), (start, end) in times.items():
        if start <= when <= end:
            output = graph.nodes[name].outputs[k]
            tensors[graph.nodes[name].primitive, output.shape] += output.size
    return most, tensors
