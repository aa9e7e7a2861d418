"""Compares the compiled graph of a training step with that of a naive implementation.

python benchmarks/bench_graph.py                         # about 4 minutes, most of it compiling
python benchmarks/bench_graph.py --preset multiscale
python benchmarks/bench_graph.py --json bench_graph.json

No time is measured: all figures are read from the graphs and are the same on every machine. Both
networks are built as for an NPU (`Execution("Ascend")`) and compiled on the CPU: forward, backward,
norm of the gradients, Adam; mean squared error, ten 64x64 frames in and ten out. The naive network
is that of `naive_network.py`; first a check shows that both compute the same forecast.

- primitives: operators that launch a kernel. `BOOKKEEPING` and `VIEWS`, which launch none, are not
  counted. The fusions of an NPU's own compiler are not known here.
- convolutions: those of the primitives that are in `CONVOLUTIONS`, including the gradients.
- gmac: 10^9 multiply-accumulates of the convolutions for one sequence; forward_gmac: the same in a
  graph of the forward pass alone.
- peak_mb: the most 10^6 bytes of outputs alive at once, if kernels are launched in the order of the
  compiled graph and an output lives from its kernel to the last kernel that reads it. Weights,
  moments and the batch are not counted. An allocator needs more or less than this: the figure knows
  no workspace, no fragmentation, and no output written over its input. A CPU with several threads
  follows the dependencies, not this order.

Ratios are to the naive graph of the same preset.
"""

import dataclasses
import sys

import common
import mindspore as ms
import numpy as np
from naive_network import NaiveNetwork, copy_weights, randomise

from benchmarks.compiled_graph import CONVOLUTIONS, compiled_graph, peak
from src.config import cli
from src.config.presets import PRESETS, make_config
from src.model import EncoderForecaster, Execution
from src.runtime import device
from src.tools import loss, optimizers, train_step

FRAMES = 10
BATCHES = {"multiscale": 2, "small": 16, "paper": 2, "two_scale": 16}
NETWORKS = {
    "naive": NaiveNetwork,
    "ours": lambda *network: EncoderForecaster(*network, Execution("Ascend")),
    "ours, recompute": lambda *network: EncoderForecaster(*network, Execution("Ascend", True)),
}


def make_network(kind, preset):
    """A network of `NETWORKS`, and a batch of inputs; the targets have the same shape."""
    network = NETWORKS[kind](PRESETS[preset].model, FRAMES)
    return network, ms.Tensor(np.zeros((BATCHES[preset], FRAMES, 1, 64, 64), np.float32))


def training_step(kind, preset):
    """The Cell of a training step and its inputs, for `compiled_graph`."""
    network, frames = make_network(kind, preset)
    return step_of(network, preset), (frames, frames)


def step_of(network, preset):
    """The Cell of a training step of a network by the published recipe."""
    optimizer = optimizers.make_optimizer(network, make_config(preset, {}, "published").training)
    return train_step.TrainStep(loss.ForecastLoss(network, "mse"), optimizer)


def forward_pass(kind, preset):
    """The Cell of a forecast and its inputs, for `compiled_graph`."""
    network, frames = make_network(kind, preset)
    return network, (frames,)


def measure(preset, kind):
    """A row of the table, and lines about the primitives and the tensors alive at the peak."""
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
    """The rows of a preset, with ratios to the first row, and the lines about them."""
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
    """A `ModelConfig` with the same layers but few channels."""
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
    """Checks that all networks compute the same, then reads every graph."""
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
    parser.add_argument("--preset", choices=tuple(BATCHES), help="measure this preset only")
    cli.run(main, parser.parse_args)
