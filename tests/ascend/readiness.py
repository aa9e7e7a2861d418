"""Checks, without an Ascend, what can be known of our graphs on one.

python tests/ascend/readiness.py                       # all presets, about a minute
python tests/ascend/readiness.py --preset multiscale --frames 3

For every preset two graphs of 64x64 frames, ten in and ten out, built as for an Ascend: the
exported MINDIR, and the training step with backward and optimizer. Of the training step both forms
count: before the device's own passes, which is what an Ascend's compiler would be given, and
compiled.

- Every primitive has to be one that MindSpore documents or registers for the Ascend; `platforms.py`
  finds the evidence in the installed wheel. Nodes that launch no kernel in the compiled graph
  (tuples, order of side effects) need none.
- No primitive may call the host, and all shapes have to be static.
- Memory: weights, moments, the batch, and the most bytes of outputs alive at once in the order of
  the compiled graph (`benchmarks/compiled_graph.py`): no workspace, no fragmentation.
- Channels that are no multiple of 16 are reported: the Ascend's matrix unit fills them up.

Exit code 1 where something is not ready.
"""

import collections
import concurrent.futures
import dataclasses
import re
import sys
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore.train import mind_ir_pb2

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.compiled_graph import Node, Output, compiled_graph, peak  # noqa: E402
from src.config import cli  # noqa: E402
from src.config.presets import PRESETS, make_config  # noqa: E402
from src.model import EncoderForecaster, Execution  # noqa: E402
from src.runtime import device  # noqa: E402
from src.tools import loss, optimizers, train_step  # noqa: E402
from tests.ascend import platforms  # noqa: E402

SIDE = 64
BATCH_SIZE = 32
MEMORY = 32e9  # bytes of an Ascend 910
BLOCK = 16
AT_A_TIME = 2  # compilations; multiscale takes 2.5 GB
NO_KERNEL = "launches no kernel in the compiled graph"


@dataclasses.dataclass(frozen=True)
class Report:
    """What is known of one graph.

    Args:
        name: of the preset and the graph.
        counts: how often each primitive stands in it.
        sources: for each primitive, the part of the wheel that says that an Ascend has it.
        problems: texts; none where the graph is ready.
        memory: bytes, or None where it was not estimated.
        odd_channels: texts about convolutions with channels that are no multiple of 16.
    """

    name: str
    counts: dict[str, int]
    sources: dict[str, str]
    problems: list[str]
    memory: int | None = None
    odd_channels: tuple[str, ...] = ()


def make_batch(size, frames):
    """Black frames, (size, frames, 1, 64, 64)."""
    return ms.Tensor(np.zeros((size, frames, 1, SIDE, SIDE), np.float32))


def training_step(preset, frames):
    """What `compiled_graph` builds: the step of the preset's own recipe, and its batch."""
    training = make_config(preset, {}).training
    execution = train_step.execution_of(training, "Ascend")
    network = EncoderForecaster(PRESETS[preset].model, frames, execution)
    optimizer = optimizers.make_optimizer(network, training)
    step_loss = loss.ForecastLoss(network, training.loss, training.encoder_loss_weight)
    batch = make_batch(BATCH_SIZE, frames)
    return train_step.TrainStep(step_loss, optimizer, training.grad_clip), (batch, batch)


def training_report(name, build, *inputs):
    """The `Report` on what `build(*inputs)` builds, and the primitives that launch no kernel."""
    graph = compiled_graph(build, *inputs)
    nodes = [*graph.frontend, *graph.nodes.values()]
    launched = {graph.nodes[name].primitive for name in graph.launched}
    silent = {node.primitive for node in graph.nodes.values()} - launched
    memory = peak(graph)[0] + sum(output.size for output in graph.given.values())
    problems = find_problems(nodes, silent)
    if memory > MEMORY:
        problems.append(f"needs {memory / 1e9:.1f} GB of {MEMORY / 1e9:.0f}")
    counts = count(graph.frontend)
    return Report(name, counts, sources_of(nodes, silent), problems, memory), silent


def inference_report(preset, frames, silent):
    """The `Report` on the exported MINDIR of a preset."""
    network = EncoderForecaster(PRESETS[preset].model, frames, Execution("Ascend"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.mindir"
        ms.export(network, make_batch(1, frames), file_name=str(path), file_format="MINDIR")
        nodes = read_mindir(path)
    return Report(
        f"{preset}, inference",
        count(nodes),
        sources_of(nodes, silent),
        find_problems(nodes, silent),
        odd_channels=tuple(odd_channels(network)),
    )


def read_mindir(path):
    """The nodes of an exported graph; its constants are none."""
    model = mind_ir_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    nodes = []
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            if node.op_type != "Constant":
                primitive = re.sub(r"^REF::(.*):\d+$", r"\1", node.op_type)
                shapes = [t.dims for a in node.attribute if a.name == "shape" for t in a.tensors]
                outputs = tuple(Output(tuple(shape), 0) for shape in shapes)
                nodes.append(Node(primitive, tuple(node.input), outputs))
    return nodes


def count(nodes):
    """How often each primitive stands among nodes, in the order of their names."""
    return dict(sorted(collections.Counter(node.primitive for node in nodes).items()))


def sources_of(nodes, silent):
    """For each primitive of `nodes` the evidence for it; `silent` are those without a kernel."""
    return {
        primitive: NO_KERNEL if primitive in silent else platforms.evidence(primitive).source
        for primitive in count(nodes)
    }


def find_problems(nodes, silent):
    """What keeps nodes from an Ascend, as texts."""
    problems = []
    for primitive in count(nodes):
        known = platforms.evidence(primitive)
        if platforms.is_host_callback(primitive):
            problems.append(f"{primitive}: calls the host from inside the graph")
        elif primitive not in silent and not known.supported:
            problems.append(f"{primitive}: not for an Ascend ({known.source})")
    dynamic = {n.primitive for n in nodes for o in n.outputs if min(o.shape, default=1) < 0}
    problems += [f"{primitive}: its shape is not static" for primitive in sorted(dynamic)]
    return problems


def odd_channels(network):
    """The convolutions of a network whose channels are no multiple of 16."""
    for parameter in network.trainable_params():
        channels = parameter.shape[:2]
        if parameter.ndim == 4 and parameter.shape[2] > 1 and any(n % BLOCK for n in channels):
            yield f"{parameter.name}: {channels[1]} to {channels[0]} channels"


def reports(presets, frames):
    """Yields the reports on presets, training and inference, of so many frames in and out."""
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        steps = [
            pool.submit(training_report, f"{preset}, training", training_step, preset, frames)
            for preset in presets
        ]
        for preset, step in zip(presets, steps, strict=True):
            report, silent = step.result()
            yield report
            yield inference_report(preset, frames, silent)


def show(report):
    """Prints one report."""
    print(f"\n{report.name}: {sum(report.counts.values())} nodes")
    for primitive, source in report.sources.items():
        print(f"  {report.counts.get(primitive, 0):5} {primitive:22} {source}")
    if report.memory:
        print(f"  memory, batch {BATCH_SIZE}: {report.memory / 1e9:.2f} of {MEMORY / 1e9:.0f} GB")
    for text in report.odd_channels:
        print(f"  channels: {text}")
    print("  not ready: " + "; ".join(report.problems) if report.problems else "  ready")


def main(args):
    """Reports on every preset; exits with 1 where one is not ready."""
    device.set_up("CPU")
    failed = False
    for report in reports([args.preset] if args.preset else list(PRESETS), args.frames):
        show(report)
        failed |= bool(report.problems)
    sys.exit(int(failed))


if __name__ == "__main__":
    parser = cli.Parser(__doc__)
    parser.add_argument("--preset", choices=tuple(PRESETS), help="this one alone")
    parser.add_argument(
        "--frames",
        type=cli.whole_number(1),
        default=10,
        help="frames in, and as many out (default: 10)",
    )
    cli.run(main, parser.parse_args)
