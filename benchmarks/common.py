"""Shared by the benchmarks: a description of the machine, timing, and results as JSON."""

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))
from src.config import cli  # noqa: E402
from src.runtime.files import check_json_output, write_atomically  # noqa: E402

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
INSTRUCTION_SETS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}


def parser(description):
    """A parser of the command line with --json."""
    made = cli.Parser(description)
    made.add_argument("--json", metavar="FILE", help="also write the rows to this file")
    return made


def describe_cpu():
    """Model, usable cores and widest vector instructions: "AMD EPYC 9004, 2 cores, AVX-512"."""
    known = _cpuinfo()
    model = known.get("model name") or platform.processor() or platform.machine()
    flags = (known.get("flags") or known.get("Features") or "").split()
    widest = next((name for flag, name in INSTRUCTION_SETS.items() if flag in flags), None)
    count = len(usable_cores())
    cores = f"{count} core" + "s" * (count > 1)
    return ", ".join(filter(None, (model, cores, widest)))


def usable_cores():
    """The numbers of the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def _cpuinfo():
    """The first processor of /proc/cpuinfo as a dict; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def seconds(function):
    """The time that one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median_seconds(function, repeats):
    """The median time of `repeats` calls, after a first call that is not counted."""
    function()
    return statistics.median(seconds(function) for _ in range(repeats))


def print_table(rows):
    """Prints a list of dicts with the same keys as a table, numbers with four digits."""
    texts = [list(rows[0])] + [[_text(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for first, *others in texts:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))


def _text(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return str(value)


def check_json(path):
    """Raises `InputError` unless the rows can be written to `path`; None: they will not be."""
    if path:
        check_json_output(path, "json")


def write_json(path, rows):
    """Writes the rows as a list, each with the CPU that it was measured on."""
    content = json.dumps([{**row, "cpu": describe_cpu()} for row in rows], indent=2)
    write_atomically(path, [content.encode() + b"\n"])
