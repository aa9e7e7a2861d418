"""Evaluation streams: how much memory it takes has nothing to do with how much it evaluates."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A process of its own, because a peak never falls: an earlier test's would hide this one.
PEAKS = """
import resource
import numpy as np
from src.config.presets import make_config
from src.data.sources import evaluation_source
from src.runtime import device
from src.evaluation.evaluate import evaluate
from src.evaluation.verification import baselines

device.set_up("CPU")
forecasters = {"copy_last": baselines(10, np.zeros((1, 64, 64), np.float32))["copy_last"]}
# The passes before the last two bring the allocator to its steady state.
for sequences in (640, 640, 640, 2560):
    evaluate(forecasters, evaluation_source(make_config("small", {}), limit=sequences), 16, 10)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_peak_memory_does_not_grow_with_the_sequences():
    """1,920 more sequences: 315 MB if their forecasts were kept; the allocator varies by 30."""
    # With an arena for each thread, which of them grows is a matter of chance.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", PEAKS]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    *_, few, many = map(int, result.stdout.split())
    assert many - few < 80 * 1024, f"{few} KiB, then {many} KiB"
