"""The weights in the box forecast what they did when they were packed."""

import dataclasses
import json

import numpy as np
import pytest

from scripts.pack_weights import measure
from src import ROOT, checkpoint
from src.data.normalizer import make_normalizer
from src.data.sequences import OwnSequences
from src.data.splits import Split
from src.evaluation.evaluate import evaluate_network
from src.radar.rain_fields import RainFields
from src.tools import new_run
from tests.scripts.conftest import run, run_here


def test_the_weights_in_the_box():
    """Their MSE on the first 20 sequences of the test set stands in their .json."""
    saved = json.loads((ROOT / "weights" / "small.json").read_text())["measured"]
    measured = measure(checkpoint.load(checkpoint.BUNDLED))
    assert measured == pytest.approx(saved, abs=1e-3)
    assert saved["sequences"] == 20


def test_the_weights_for_rain():
    """Their MSE on the first 20 synthetic sequences of their test split, which are made anew."""
    saved = json.loads((ROOT / "weights" / "rain.json").read_text())["measured"]
    loaded = checkpoint.load(ROOT / "weights" / "rain.ckpt")
    config, data = loaded.config, loaded.config.data
    rain = RainFields(11, data.input_frames + data.forecast_frames, data.image_size)
    numbers = Split(data.held_out, data.split_seed).indices(data.dataset_size, "test")
    frames = np.stack([rain.sequence(n) for n in numbers[: saved["sequences"]]])
    array = frames.astype(np.float16)[:, :, None]
    normalizer = make_normalizer(config, data.image_size)
    source = OwnSequences(array, np.arange(len(array)), array.shape[1], normalizer, "rain")
    metrics = evaluate_network(loaded.network(), source, config, "measure", names=("mse",))
    assert metrics.means()["mse"] == pytest.approx(saved["mse"], rel=1e-3)


def test_packing(trained, tmp_path):
    """No optimizer, the run's metrics, and settings that another run can start from."""
    best = trained / "best.ckpt"
    (line,) = run_here("scripts/pack_weights.py", trained, best, expect=2).stderr.splitlines()
    assert line.startswith(f"pack_weights.py: {best}: is in the run's folder")
    run("scripts/pack_weights.py", trained, tmp_path / "a.ckpt")
    packed, best = (checkpoint.load(p) for p in (tmp_path / "a.ckpt", trained / "best.ckpt"))
    assert (packed.optimizer, packed.state) == ({}, {})
    config = dataclasses.replace(
        best.config, data=dataclasses.replace(best.config.data, data_path="my digits")
    )
    assert packed.config == config
    assert (tmp_path / "a.csv").read_bytes() == (trained / "metrics.csv").read_bytes()
    flags = {"preset": None, "recipe": None}
    assert new_run.read_config(tmp_path / "a.json", flags) == config
    assert json.loads((tmp_path / "a.json").read_text())["measured"]["mse"] > 0
