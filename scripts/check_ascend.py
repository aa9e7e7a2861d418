"""Checks, without an Ascend, what can be known of the training step and the network on one.

python scripts/check_ascend.py                       # all presets, some minutes on a CPU
python scripts/check_ascend.py --preset multiscale --frames 3
python scripts/check_ascend.py --preset paper --jit_level O2    # exit code for the graph engine

The graphs are built as for an Ascend and compiled here: of every preset the exported network, and
for every horizon of its curriculum the training step, in float32 on one card and in float16 on
several. An Ascend runs them in one of two ways, and each has its own answer:

- kernel by kernel, jit_level O0 (the default of this project on an Ascend) or O1;
- as a whole by CANN's graph engine, GE, jit_level O2, which needs an adapter for each operator and
  takes no control flow. MindSpore has deprecated it; on the first Ascend 910 (Atlas training
  products) it is what MindSpore itself takes where no level is given.

Known without a card, from the installed MindSpore: which operators a backend lacks by name, calls
of the host, shapes that are not static, and the memory of tensors. Only a card can tell whether its
CANN has the kernels that MindSpore asks for, in the types and sizes asked for; what GE and O1's
fusion make of the operators; speed, rounding and the kernels' own memory.

Exit code 1 where something is not ready by the way that --jit_level names.
"""

import collections
import concurrent.futures
import dataclasses
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore.train import mind_ir_pb2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import compiled_graph  # noqa: E402
from benchmarks.compiled_graph import BOOKKEEPING, Node, Output  # noqa: E402
from scripts import ascend_operators as operators  # noqa: E402
from scripts.ascend_operators import BACKENDS, GRAPH_ENGINE, KERNEL_BY_KERNEL  # noqa: E402
from src.config import cli  # noqa: E402
from src.config.presets import PRESETS, make_config  # noqa: E402
from src.model import EncoderForecaster, Execution  # noqa: E402
from src.runtime import device  # noqa: E402
from src.tools import optimizers, train_step  # noqa: E402

SIDE = 64
BATCH_SIZE = 32
MEMORY = 32e9  # bytes of an Ascend 910
BLOCK = 16
CARDS = 8
AT_A_TIME = 2  # compilations; multiscale takes 2.5 GB
JIT_LEVELS = {"O0": KERNEL_BY_KERNEL, "O1": KERNEL_BY_KERNEL, "O2": GRAPH_ENGINE}
# Operators of a training on an Ascend for which a graph compiled on a CPU has others or none: the
# next batch in sink mode, and how `mindspore.amp.all_finite` looks for an overflow.
NEXT_BATCH = ("GetNext",)
OVERFLOW = ("AllFinite", "NPUClearFloatStatusV2", "NPUGetFloatStatusV2")
UNKNOWN = (
    "only a card can tell whether its CANN has the kernels asked for, in these types and sizes; "
    "what GE and O1's fusion make of the operators; speed, rounding and the kernels' own memory"
)


class Step(NamedTuple):
    """One form of a preset's training step.

    Args:
        preset: the preset's name.
        frames: the frames of a sequence that it reads, and as many that it forecasts.
        horizon: the place of its `Horizon` among those of the run, of which the last is the whole
            sequence.
        float16: convolutions in float16, with a loss scale.
        cards: the number of ranks that share it.
    """

    preset: str
    frames: int
    horizon: int = -1
    float16: bool = False
    cards: int = 1

    @property
    def config(self):
        """The `Config` of the run that it belongs to."""
        frames = {"input_frames": self.frames, "forecast_frames": self.frames}
        level = "O2" if self.float16 else "O0"
        return make_config(self.preset, {**frames, "amp_level": level})

    @property
    def name(self):
        """What it is, in a line."""
        horizon = self.config.horizons[self.horizon]
        kind = "float16" if self.float16 else "float32"
        cards = f"{self.cards} cards" if self.cards > 1 else "one card"
        size = f"{horizon.input_frames}+{horizon.forecast_frames} frames"
        return f"{self.preset}, training step, {size}, {kind}, {cards}"


@dataclasses.dataclass(frozen=True)
class Report:
    """What is known of one graph.

    Args:
        name: what it is.
        counts: how often each operator stands in it, as it is given to an Ascend's compiler.
        sources: by backend, for each operator the part of the wheel that says that it has it.
        problems: by backend, texts; none where the graph is ready.
        memory: bytes, or None where it was not estimated.
        odd_channels: texts about convolutions with channels that are no multiple of 16.
    """

    name: str
    counts: dict[str, int]
    sources: dict[str, dict[str, str]]
    problems: dict[str, list[str]]
    memory: int | None = None
    odd_channels: tuple[str, ...] = ()


def steps_of(preset, frames):
    """The `Step`s of a preset: every horizon, in float32 on one card and in float16 on several."""
    count = len(Step(preset, frames).config.horizons)
    return [
        Step(preset, frames, horizon, float16, cards)
        for float16, cards in ((False, 1), (True, CARDS))
        for horizon in range(count)
    ]


def make_batch(size, frames):
    """Black frames, (size, frames, 1, 64, 64)."""
    return ms.Tensor(np.zeros((size, frames, 1, SIDE, SIDE), np.float32))


def build_step(step):
    """What `compiled_graph` builds: the training step of the preset's own recipe, and its batch."""
    config = step.config
    execution = train_step.execution_of(config.training, "Ascend")
    network = EncoderForecaster(config.model, step.frames, execution)
    scaler = train_step.make_scaler() if step.float16 else None
    optimizer = optimizers.make_optimizer(network, config.training, scaler)
    steps = train_step.make_steps(config, network, optimizer, (), scaler, step.cards)
    batch = make_batch(BATCH_SIZE, step.frames)
    return steps[step.horizon], (batch, batch)


def step_report(step):
    """The `Report` on a `Step`."""
    besides = NEXT_BATCH + (OVERFLOW if step.float16 else ())
    return training_report(step.name, build_step, step, besides=besides)


def training_report(name, build, *inputs, besides=()):
    """The `Report` on what `build(*inputs)` builds; `besides`: operators that belong to it too."""
    with compiled_graph.saved_graphs(build, *inputs) as folder:
        parts = compiled_graph.read_parts(folder)
        graph = compiled_graph.read_graph(folder) if len(parts) == 1 else None
    given = [node for before, _ in parts for node in before]
    given += [Node(primitive, (), ()) for primitive in besides]
    nodes = given + [node for _, after in parts for node in after]
    problems = {backend: find_problems(nodes, backend) for backend in BACKENDS}
    if len(parts) > 1:
        problems[GRAPH_ENGINE].append(f"control flow divides it into {len(parts)} graphs")
    memory = None
    if graph:
        memory = compiled_graph.peak(graph)[0] + sum(x.size for x in graph.given.values())
        if memory > MEMORY:
            text = f"needs {memory / 1e9:.1f} GB of {MEMORY / 1e9:.0f}"
            problems = {backend: [*texts, text] for backend, texts in problems.items()}
    return Report(name, count(given), sources_of(nodes), problems, memory)


def inference_report(preset, frames):
    """The `Report` on the exported MINDIR of a preset."""
    network = EncoderForecaster(PRESETS[preset].model, frames, Execution("Ascend"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.mindir"
        ms.export(network, make_batch(1, frames), file_name=str(path), file_format="MINDIR")
        nodes = read_mindir(path)
    return Report(
        f"{preset}, exported network",
        count(nodes),
        sources_of(nodes),
        {backend: find_problems(nodes, backend) for backend in BACKENDS},
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
    """How often each operator stands among nodes, in the order of their names."""
    return dict(sorted(collections.Counter(node.primitive for node in nodes).items()))


def sources_of(nodes):
    """By backend, for each operator of `nodes` but bookkeeping what is known of it."""
    names = [name for name in count(nodes) if name not in BOOKKEEPING]
    return {
        backend: {name: operators.evidence(name, backend).source for name in names}
        for backend in BACKENDS
    }


def find_problems(nodes, backend):
    """What keeps nodes from a backend: texts, each with the names of the operators."""
    problems = collections.defaultdict(list)
    for primitive in count(nodes):
        if operators.is_host_callback(primitive):
            problems["calls the host from inside the graph"].append(primitive)
        elif primitive not in BOOKKEEPING:
            supported, source = operators.evidence(primitive, backend)
            if not supported:
                problems[source].append(primitive)
    dynamic = {n.primitive for n in nodes for o in n.outputs if min(o.shape, default=1) < 0}
    if dynamic:
        problems["shape is not static"] = sorted(dynamic)
    return [f"{', '.join(names)}: {reason}" for reason, names in problems.items()]


def odd_channels(network):
    """The convolutions of a network whose channels are no multiple of 16, which the Ascend's matrix
    unit fills up.
    """
    for parameter in network.trainable_params():
        channels = parameter.shape[:2]
        if parameter.ndim == 4 and parameter.shape[2] > 1 and any(n % BLOCK for n in channels):
            yield f"{parameter.name}: {channels[1]} to {channels[0]} channels"


def reports(steps, networks):
    """Yields the reports on `Step`s, and on exported networks given as (preset, frames)."""
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        yield from pool.map(step_report, steps)
    for preset, frames in networks:
        yield inference_report(preset, frames)


def show(report):
    """Prints one report."""
    print(f"\n{report.name}: {sum(report.counts.values())} operators and bookkeeping")
    for backend, problems in report.problems.items():
        print(f"  {backend}: {'not ready: ' + '; '.join(problems) if problems else 'ready'}")
    if report.memory:
        print(f"  memory, batch {BATCH_SIZE}: {report.memory / 1e9:.2f} of {MEMORY / 1e9:.0f} GB")
    for text in report.odd_channels:
        print(f"  channels, no multiple of {BLOCK}: {text}")


def show_sources(sources):
    """Prints for each operator what says that a backend has it."""
    print("\noperators, and what the installed MindSpore says of each")
    for primitive in sorted(set().union(*sources.values())):
        print(f"  {primitive}")
        for backend in BACKENDS:
            print(f"    {backend}: {sources[backend][primitive]}")


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--preset", choices=tuple(PRESETS), help="this one alone (default: all)")
    add(
        "--frames",
        type=cli.whole_number(1),
        default=10,
        help="frames in, and as many out (default: 10)",
    )
    add(
        "--jit_level",
        choices=tuple(JIT_LEVELS),
        default=device.default_jit_level("Ascend"),
        help="the way that the exit code is about (default: O0)",
    )
    return parser.parse_args(argv)


def main(args):
    """Reports on every preset; exits with 1 where one is not ready."""
    device.set_up("CPU")
    presets = [args.preset] if args.preset else list(PRESETS)
    steps = [step for preset in presets for step in steps_of(preset, args.frames)]
    asked, missing = JIT_LEVELS[args.jit_level], 0
    sources = {backend: {} for backend in BACKENDS}
    for report in reports(steps, [(preset, args.frames) for preset in presets]):
        show(report)
        missing += bool(report.problems[asked])
        for backend in BACKENDS:
            sources[backend] |= report.sources[backend]
    show_sources(sources)
    verdict = f"{missing} graphs are not ready" if missing else "all graphs are ready"
    print(f"\n{UNKNOWN}\n{asked} ({args.jit_level}): {verdict}, as far as is known without a card")
    sys.exit(int(missing > 0))


if __name__ == "__main__":
    cli.run(main, parse_args)
