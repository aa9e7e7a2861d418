"""The weights in the box forecast what they did when they were packed."""

import dataclasses
import json

import pytest

from scripts.pack_weights import measure
from src import ROOT, checkpoint
from src.tools import start
from tests.scripts.conftest import run


def test_the_weights_in_the_box():
    """Their MSE on the first 20 sequences of the test set stands in their .json."""
    saved = json.loads((ROOT / "weights" / "small.json").read_text())["measured"]
    measured = measure(checkpoint.load(checkpoint.BUNDLED))
    assert measured == pytest.approx(saved, abs=1e-3)
    assert saved["sequences"] == 20


def test_packing(trained, tmp_path):
    """A third of the size, the run's metrics, and settings that another run can start from."""
    run("scripts/pack_weights.py", trained, tmp_path / "a.ckpt")
    packed, best = (checkpoint.load(p) for p in (tmp_path / "a.ckpt", trained / "best.ckpt"))
    assert (packed.optimizer, packed.state) == ({}, {})
    config = dataclasses.replace(
        best.config, data=dataclasses.replace(best.config.data, data_path="my digits")
    )
    assert packed.config == config
    assert (tmp_path / "a.csv").read_bytes() == (trained / "metrics.csv").read_bytes()
    flags = {"preset": None, "recipe": None}
    assert start.read_config(tmp_path / "a.json", flags) == config
    assert json.loads((tmp_path / "a.json").read_text())["measured"]["mse"] > 0
