"""What MindSpore compiled: the nodes of a Cell's graph, read for counting and checking.

The graph is compiled on a CPU in a process of its own, with MindSpore's variables for saving graphs
set there.

- primitives: operators that launch a kernel. `BOOKKEEPING` and `VIEWS`, which launch none, are left
  out. The fusions of an NPU's own compiler are not known here.
- peak: bytes of outputs alive at once, when kernels are launched in the order of the compiled graph
  and an output lives from its kernel to the last kernel that reads it. Weights, moments and the
  batch do not count. It is what that order needs, not an allocator's figure: there is no workspace,
  no fragmentation, and no output written over its input. A CPU with several threads follows the
  dependencies, not this order.
"""

import collections
import concurrent.futures
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
# These write into a parameter.
UPDATES = {"Adam", "Assign"}
CONVOLUTIONS = {"Conv2D", "Conv2DTranspose", "Conv2DBackpropInput", "Conv2DBackpropFilter"}


class Output(NamedTuple):
    """A tensor that a node makes."""

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
        nodes: by name, each after what it reads.
        given: what is no node, by name: parameters, inputs, constants.
        indices: the constants that are whole numbers, by name.
        launched: names of the nodes that the runtime executes, in its order.
        result: name of the node that the graph returns.
        frontend: the nodes before the device's own passes: what any device is given to compile.
    """

    nodes: dict[str, Node]
    given: dict[str, Output]
    indices: dict[str, int]
    launched: list[str]
    result: str
    frontend: tuple[Node, ...] = ()

    def primitives(self):
        """How often each primitive launches a kernel, a `Counter`."""
        names = (self.nodes[name].primitive for name in self.launched)
        return collections.Counter(name for name in names if name not in BOOKKEEPING | VIEWS)

    def shape(self, name):
        """The shape of what is given, or of a node's first output."""
        return (self.nodes[name].outputs[0] if name in self.nodes else self.given[name]).shape

    def macs(self):
        """Multiply-accumulates of all convolutions.

        Forward, or for the input: every weight once for each pixel of the output, or of its
        gradient. For the weight: every weight once for each pixel of the output's gradient.
        """
        total = 0
        for node in map(self.nodes.get, self.launched):
            if node.primitive in CONVOLUTIONS:
                first, second = map(self.shape, node.inputs[:2])
                made = node.outputs[0].shape
                pixels = made if node.primitive == "Conv2D" else first
                weight = made if node.primitive == "Conv2DBackpropFilter" else second
                total += pixels[0] * math.prod(pixels[2:]) * math.prod(weight)
        return total


def compiled_graph(build, *inputs):
    """The graph of `build(*inputs)`, which returns a Cell and a tuple of Tensors to compile it for.

    `build` is a function of a module: another process calls it, because MindSpore reads the
    variables below once.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
            pool.submit(_compile, folder, build, inputs).result()
        return read_graph(Path(folder))


def _compile(folder, build, inputs):
    """Compiles with its graph saved; naming one pass keeps the text of a hundred others away."""
    os.environ["MS_DEV_SAVE_GRAPHS"] = "1"
    os.environ["MS_DEV_SAVE_GRAPHS_PATH"] = folder
    os.environ["MS_DEV_DUMP_IR_PASSES"] = "vm_build"
    device.set_up("CPU")
    cell, tensors = build(*inputs)
    cell.compile(*tensors)


def read_graph(folder):
    """Reads what MindSpore saved in a folder: the graph as protobuf, the order of its kernels as
    text.

    Raises:
        RuntimeError: it is not one graph.
    """
    files = list(folder.glob("ms_output_vm_build_*.pb"))
    if len(files) != 1:
        raise RuntimeError(
            f"{len(files)} kernel graphs in place of one: control flow, or a call to Python, cuts "
            "the network in pieces"
        )
    graph = _read(files[0])
    (actors,) = folder.glob("actor_set/0_*.ir")
    # Some are listed twice: a kernel without inputs is also one that starts a step.
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
        frontend=tuple(map(_node, _read(folder / "ms_output_optimize.pb").node)),
    )


def _read(path):
    model = ir.ModelProto()
    model.ParseFromString(path.read_bytes())
    return model.graph


def _node(node):
    inputs = tuple(edge.name for edge in node.input)
    return Node(node.op_type, inputs, tuple(_outputs(node.output_type)))


def _outputs(kind):
    """The tensors of a type of the protobuf; what is no tensor takes no memory."""
    if kind.data_type == ir.DT_TENSOR:
        shape = tuple(dim.size for dim in kind.tensor_type.shape.dim)
        bits = re.sub(r"\D", "", ir.DataType.Name(kind.tensor_type.elem_type)) or "8"  # or a bool
        return [Output(shape, math.prod(shape) * int(bits) // 8)]
    if kind.data_type == ir.DT_TUPLE:
        return [output for element in kind.sequence_type.elem_types for output in _outputs(element)]
    return [Output((), 0)]


def buffers_behind(graph):
    """For each node, the buffers behind each of its outputs: sets of (name, index of output).

    A kernel owns its outputs; a view, and what only keeps order, stands for its first input; what
    writes into a parameter, and parameters themselves, own nothing.
    """
    nothing, known = frozenset(), {}
    for name, node in graph.nodes.items():
        inputs = [known.get(source, [nothing]) for source in node.inputs]
        if node.primitive in VIEWS | {"Load", "Depend"}:
            known[name] = inputs[0]
        elif node.primitive == "TupleGetItem":
            known[name] = [inputs[0][graph.indices[node.inputs[1]]]]
        elif node.primitive == "MakeTuple":
            known[name] = [nothing.union(*elements) for elements in inputs]
        elif node.primitive in UPDATES | {"UpdateState"}:
            known[name] = [nothing] * len(node.outputs)
        else:
            known[name] = [frozenset({(name, k)}) for k in range(len(node.outputs))]
    return known


def lifetimes(graph):
    """For each buffer the first and the last launch, as numbers, that it has to be there for."""
    behind, times = buffers_behind(graph), {}
    for now, name in enumerate(graph.launched):
        reads = [behind.get(source, []) for source in graph.nodes[name].inputs]
        for buffer in itertools.chain(*behind[name], *itertools.chain(*reads)):
            times[buffer] = (times.get(buffer, (now,))[0], now)
    for buffer in itertools.chain(*behind[graph.result]):
        times[buffer] = (times[buffer][0], len(graph.launched))
    return times


def peak(graph):
    """The most bytes alive at once, and what they are: (primitive, shape) to bytes, a `Counter`."""
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
