"""Compares this network with the published one in PyTorch: training step, forward pass, memory.

python benchmarks/bench_step.py [--json FILE]     # about 15 minutes; needs requirements-dev.txt

Both networks have random weights and one batch of ten 64x64 frames in and ten out, mean squared
error, Adam. Each runs in its own process, in turns, on the same cores; nothing else should run. The
first call is not counted. Figures are medians, ratios are this network / PyTorch's. Memory is the
highest resident set in training, less that after the imports. The time to compile is measured for
this network only. The PyTorch network is written in the usual way: it concatenates, convolves and
steps (`tests/torch_twin.py`).
"""

import collections
import os
import statistics
import subprocess
import sys
from pathlib import Path

import common

from src.config import cli

CASES = (("small", 16), ("multiscale", 2), ("multiscale", 4))
WORKER = Path(__file__).with_name("step_worker.py")


class Worker:
    """A process of `step_worker.py` that waits for commands."""

    def __init__(self, side, preset, batch, environment):
        self.process = subprocess.Popen(
            [sys.executable, WORKER, side, preset, str(batch)],
            env={**os.environ, **environment},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.other_lines = []

    def ask(self, command):
        """The worker's answer to a command, a float."""
        print(command, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("answer "):
                return float(line.split()[1])
            self.other_lines.append(line)
        raise RuntimeError(f"the worker ended at {command!r}: exit code {self.process.wait()}")

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def compare(preset, batch, repeats, torch_environment):
    """Measures both networks in one case; returns a row of the table."""
    workers = [
        Worker("ours", preset, batch, common.AVX2),
        Worker("torch", preset, batch, torch_environment),
    ]
    for worker in workers:
        # The answer comes once the network is built: its start must not slow down the compiling.
        worker.ask("memory")
    row = {"preset": preset, "batch": batch, "compile_seconds": workers[0].ask("compile")}
    for name in ("train", "forward"):
        times = [[worker.ask(name) for worker in workers] for _ in range(repeats + 1)][1:]
        seconds, torch_seconds = (statistics.median(x) for x in zip(*times, strict=True))
        row.update({f"{name}_seconds": seconds, f"torch_{name}_seconds": torch_seconds})
        row[f"{name}_ratio"] = seconds / torch_seconds
        if name == "train":
            memory, torch_memory = (worker.ask("memory") / 1e9 for worker in workers)
            row.update(memory_gb=memory, torch_memory_gb=torch_memory)
            row["memory_ratio"] = memory / torch_memory
    for worker in workers:
        worker.close()
    return row


def kernels(preset):
    """Counts the convolutions of a training step by the oneDNN kernel that runs them."""
    worker = Worker("ours", preset, 1, {**common.AVX2, "ONEDNN_VERBOSE": "1"})
    worker.ask("train")
    lines = [line.split(",") for line in worker.other_lines if ",exec,cpu,convolution," in line]
    worker.close()
    kernels_run = (fields[5:8] for fields in lines)
    return collections.Counter(f"{kernel}, {direction}" for *_, kernel, direction in kernels_run)


def main(args):
    """Measures every case: with the same instruction set, then with PyTorch unrestricted."""
    common.check_json(args.json)
    blocks = {"both limited to AVX2": common.AVX2}
    if "AVX-512" in common.describe_cpu():
        blocks["PyTorch unrestricted, with AVX-512"] = {"ONEDNN_MAX_CPU_ISA": "DEFAULT"}
    rows = []
    for title, environment in blocks.items():
        print(f"\n{common.describe_cpu()}; {title}", flush=True)
        block = []
        for preset, batch in CASES:
            block.append(compare(preset, batch, args.repeats, environment))
            print(f"measured {preset}, batch {batch}", file=sys.stderr, flush=True)
        common.print_table(block)
        rows += [{**row, "torch_isa": environment["ONEDNN_MAX_CPU_ISA"]} for row in block]
    for preset in dict.fromkeys(preset for preset, _ in CASES):
        for kernel, count in kernels(preset).most_common():
            print(f"{preset}: {count} convolutions by {kernel}")
    if args.json:
        common.write_json(args.json, rows)


if __name__ == "__main__":
    flags = common.parser(__doc__)
    flags.add_argument("--repeats", type=int, default=3, help="calls to measure (default: 3)")
    cli.run(main, flags.parse_args)
