"""train.py --tile and --best_by: a run on a record with missing values, resumed elsewhere."""

import csv

import numpy as np
import pytest

from src import checkpoint
from tests.saved_runs.make import RECORD
from tests.scripts.conftest import run, run_here

EPOCHS = 2


@pytest.fixture(scope="module")
def flags(one_stage):
    """Those of a run on 8 x 8 of the record's 14 x 15 pixels, a corner of which is missing."""
    return [
        *("train.py", "--pretrained_model", one_stage, "--dataset", RECORD, "--missing", "mask"),
        *("--value_range", "274", "286", "--pad", "--tile", "8", "8", "--best_by", "csi@282"),
        *("--curriculum", "--batch_size", "8", "--epoch_size", "24", "--epochs", EPOCHS),
        *("--lr_schedule", "constant", "--pictures", "1"),
    ]


def test_a_resumed_run_reads_the_same_tiles(flags, tmp_path):
    """In another folder, with two workers; its columns of scores end with the CSI."""
    whole, half = tmp_path / "whole", tmp_path / "half"
    output = run(*flags, "--train_path", whole).stdout
    assert "memory: about " in output
    assert "random tiles of 8x8\n" in output
    assert "whole frames in batches of 2\n" in output
    with (whole / "metrics.csv").open() as file:
        scores = [float(row["val_csi"]) for row in csv.DictReader(file) if row["val_csi"]]
    assert len(scores) == EPOCHS
    best = checkpoint.load(whole / "best.ckpt")
    assert best.state["best_csi"] == max(scores)
    assert best.state["epoch"] == 1 + int(np.argmax(scores))
    assert f"{whole / 'best.ckpt'} has validation CSI at 282 {max(scores):.4g}\n" in output
    saved, end = whole / "epoch_0001.ckpt", checkpoint.load(whole / "last.ckpt")
    resume = ["train.py", "--resume", saved, "--train_path", half]
    run(*resume, "--num_parallel_workers", 2)
    resumed = checkpoint.load(half / "last.ckpt")
    assert end.weights.keys() == resumed.weights.keys()
    for name, weight in end.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], weight, name)
    assert resumed.state["best_csi"] == end.state["best_csi"]
    for change in (("--tile", "12", "8"), ("--best_by", "mse")):
        refused = run_here(*resume, *change, expect=2).stderr
        assert f"was trained with other settings: {change[0][2:]} is " in refused
