"""An evaluation from forecasters to files: its memory does not grow, and what explodes is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from src.data.normalizer import Normalizer
from src.data.sequences import OwnSequences
from src.evaluation import report
from src.evaluation.evaluate import evaluate
from src.evaluation.verification import Verification

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
# The first pass brings the allocator to its steady state; small batches keep that narrow.
for sequences in (160, 512):
    evaluate(forecasters, evaluation_source(make_config("small", {}), limit=sequences), 2, 10)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_peak_memory_does_not_grow_with_the_sequences():
    """352 more sequences: 58 MB if their forecasts were kept; the allocator varies by 5."""
    # With an arena for each thread, which of them grows is a matter of chance.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", PEAKS]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    few, many = map(int, result.stdout.split())
    assert many - few < 20 * 1024, f"{few} KiB, then {many} KiB"


def test_an_exploding_model_is_named(rng, tmp_path, capsys):
    """Its forecast overflows at lead times 2 and 3 of the second sequence: no score there, in
    table or file, and one line of each table says so.
    """
    array = rng.random((3, 5, 1, 8, 8))
    normalizer = Normalizer((0.0, 1.0), frame_size=(8, 8))
    source = OwnSequences(array, np.arange(3), 5, normalizer, "a test")

    def explode(inputs):
        forecast = np.repeat(inputs[:, -1:], 3, 1)
        forecast[1, 1:] = np.inf
        return forecast

    scores = Verification(source, 2, None, (0.5,), (3,))
    metrics = evaluate({"model": explode}, source, 3, 2, verification=scores)
    timing = {"batch_size": 3, "compile_seconds": 1.0, "seconds_per_batch": 1.0}
    timing |= {"seconds_per_sequence": 1.0, "sequences_per_second": 1.0}
    result = report.make(metrics, source, timing, scores)
    report.show(result)
    report.write(result, metrics, tmp_path / "result.json", tmp_path / "curves.png")

    line = "model: 128 values are not finite, at lead time 2, 3: no score there"
    assert capsys.readouterr().out.splitlines().count(line) == 2
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["non_finite"] == [0, 64, 64]
    own, others = (written["scores"]["forecasts"][n] for n in ("model", "persistence"))
    assert (own["non_finite"], others["non_finite"]) == ([0, 64, 64], [0, 0, 0])
    for values in (written["per_frame"]["mse"], own["mse"], own["at"]["0.5"]["csi"]):
        assert [value is None for value in values] == [False, True, True]
    assert None not in others["mse"] + others["at"]["0.5"]["csi"]
    assert written["mse"] is None
