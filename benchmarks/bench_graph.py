"""What a training step asks of any device: our compiled graph beside the naive one.

python benchmarks/bench_graph.py                         # about 4 minutes, most of it compiling
python benchmarks/bench_graph.py --preset multiscale
python benchmarks/bench_graph.py --json bench_graph.json

No time is measured: the figures are read off the graphs and are the same on every machine. Both
networks are built as for an NPU (`Execution("Ascend")`) and compiled on the CPU: forward, backward,
norm of the gradients, Adam; mean squared error, ten 64x64 frames in and ten out. The naive side is
`naive_network.py`, which is first shown to compute what ours computes.

- primitives: operators that launch a kernel. `BOOKKEEPING` and `VIEWS`, which launch none, are left
  out on both sides. The fusions of an NPU's own compiler are not known here.
- convolutions: those among them in `CONVOLUTIONS`, the gradients too.
- gmac: 10^9 multiply-accumulates of the convolutions for one sequence; forward_gmac: in a graph of
  the forward pass alone.
- peak_mb: 10^6 bytes of outputs alive at once, when kernels are launched in the order of the
  compiled graph and an output lives from its kernel to the last kernel that reads it. Weights,
  moments and the batch do not count. It is what that order needs, not an allocator's figure: there
  is no workspace, no fragmentation, and no output written over its input. A CPU with several
  threads follows the dependencies, not this order.

Ratios are to the naive graph of the same preset.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import math
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import common
import mindspore as ms
import numpy as np
from mindspore.train import anf_ir_pb2 as ir
from naive_network import NaiveNetwork, copy_weights, randomise

from src.config import PRESETS, make_config
from src.model import EncoderForecaster, Execution
from src.tools import arguments, device, training

FRAMES = 10
BATCHES = {"multiscale": 2, "small": 16, "paper": 2}
NETWORKS = {
    "naive": NaiveNetwork,
    "ours": lambda *network: EncoderForecaster(*network, Execution("Ascend")),
    "ours, recompute": lambda *network: EncoderForecaster(*network, Execution("Ascend", True)),
}

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
        given_shapes: the shapes of what is no node, by name: parameters, inputs, constants.
        indices: the constants that are whole numbers, by name.
        launched: names of the nodes that the runtime executes, in its order.
        result: name of the node that the graph returns.
    """

    nodes: dict[str, Node]
    given_shapes: dict[str, tuple[int, ...]]
    indices: dict[str, int]
    launched: list[str]
    result: str

    def primitives(self):
        """How often each primitive launches a kernel, a `Counter`."""
        names = (self.nodes[name].primitive for name in self.launched)
        return collections.Counter(name for name in names if name not in BOOKKEEPING | VIEWS)

    def shape(self, name):
        """The shape of what is given, or of a node's first output."""
        return self.nodes[name].outputs[0].shape if name in self.nodes else self.given_shapes[name]

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
    model = ir.ModelProto()
    model.ParseFromString(files[0].read_bytes())
    graph = model.graph
    (actors,) = folder.glob("actor_set/0_*.ir")
    # Some are listed twice: a kernel without inputs is also one that starts a step.
    launched = set(re.findall(r"actor_name:(\d+)_(\S+)\tactor_id", actors.read_text()))
    names = {node.full_name: node.name for node in graph.node}
    return Graph(
        nodes={node.name: _node(node) for node in graph.node},
        given_shapes=(
            {p.name: _outputs(p.type)[0].shape for p in graph.parameters}
            | {c.key: tuple(c.value.tensor_val.dims) for c in graph.const_vals}
        ),
        indices={c.key: c.value.int_val for c in graph.const_vals},
        launched=[names[name] for _, name in sorted(launched, key=lambda pair: int(pair[0]))],
        result=graph.outputs[0].name,
    )


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


def make_network(kind, preset):
    """A network of `NETWORKS`, and a batch of inputs; the targets have the same shape."""
    network = NETWORKS[kind](PRESETS[preset].model, FRAMES)
    return network, ms.Tensor(np.zeros((BATCHES[preset], FRAMES, 1, 64, 64), np.float32))


def training_step(kind, preset):
    """What `compiled_graph` builds for a training step."""
    network, frames = make_network(kind, preset)
    optimizer = training.make_optimizer(network, make_config(preset, {}).training)
    step = training.TrainStep(training.ForecastLoss(network, "mse"), optimizer)
    return step, (frames, frames)


def forward_pass(kind, preset):
    """The same for a forecast."""
    network, frames = make_network(kind, preset)
    return network, (frames,)


def measure(preset, kind):
    """A row of the table, and text about the primitives and the tensors alive at the peak."""
    step = compiled_graph(training_step, kind, preset)
    forward = compiled_graph(forward_pass, kind, preset)
    counts, (most, tensors) = step.primitives(), peak(step)
    row = {
        "network": f"{preset}, {kind}",
        "batch": BATCHES[preset],
        "primitives": counts.total(),
        "convolutions": sum(counts[name] for name in CONVOLUTIONS),
        "gmac": step.macs() / BATCHES[preset] / 1e9,
        "forward_gmac": forward.macs() / BATCHES[preset] / 1e9,
        "peak_mb": most / 1e6,
    }
    largest = (f"{name} {shape} {size / 1e6:.0f}" for (name, shape), size in tensors.most_common(6))
    details = [
        "primitives: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()),
        "MB at the peak: " + "; ".join(largest),
    ]
    return row, [f"{row['network']}: {line}" for line in details]


def compare(preset):
    """The rows of a preset, with ratios to the first, and their details."""
    rows, details = [], []
    for kind in NETWORKS:
        row, lines = measure(preset, kind)
        naive = rows[0] if rows else row
        for name in ("primitives", "gmac", "peak_mb"):
            row[f"{name}_ratio"] = row[name] / naive[name]
        rows.append(row)
        details += lines
        print(f"read {row['network']}", file=sys.stderr, flush=True)
    return rows, details


def narrow(config):
    """The same layers of a `ModelConfig` with few channels."""
    stages = tuple(
        dataclasses.replace(stage, hidden_channels=16, conv_channels=min(stage.conv_channels, 8))
        for stage in config.stages
    )
    return dataclasses.replace(config, stages=stages, head_channels=min(config.head_channels, 4))


def check_same_function(config):
    """Raises `AssertionError` unless all networks forecast the same from the same weights."""
    rng = np.random.default_rng(0)
    naive, *others = (make(config, 3) for make in NETWORKS.values())
    randomise(naive, rng)
    inputs = ms.Tensor(rng.random((2, 3, 1, 16, 16), np.float32))
    wanted = naive(inputs).asnumpy()
    for network in others:
        copy_weights(naive, network)
        np.testing.assert_allclose(network(inputs).asnumpy(), wanted, rtol=0, atol=1e-5)


def main(args):
    """Checks that both sides are one function, then reads every graph."""
    common.check_json(args.json)
    device.set_up("CPU")
    presets = [args.preset] if args.preset else list(BATCHES)
    for preset in presets:
        check_same_function(narrow(PRESETS[preset].model))
    blocks = [compare(preset) for preset in presets]
    rows = [row for block, _ in blocks for row in block]
    common.print_table(rows)
    print(*(line for _, details in blocks for line in details), sep="\n")
    if args.json:
        common.write_json(args.json, rows)


if __name__ == "__main__":
    parser = common.parser(__doc__)
    parser.add_argument("--preset", choices=tuple(BATCHES), help="this one alone")
    arguments.run(main, parser.parse_args())
