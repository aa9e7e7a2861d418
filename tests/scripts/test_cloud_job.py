"""A cloud job's life: data in, training, results out; started again by its platform; profiled."""

import csv
import json
import shutil

import numpy as np
import pytest

from src import checkpoint, run_folder
from tests.scripts.conftest import TINY, run

STEPS = 3  # of an epoch: 6 sequences in batches of 2


@pytest.fixture(scope="module")
def store(tmp_path_factory, data_path):
    """A folder in place of object storage, with data.zip in it."""
    folder = tmp_path_factory.mktemp("bucket")
    shutil.make_archive(folder / "data" / "data", "zip", data_path)
    return folder


def job(store, local, *options, train_url="output", expect=0):
    """Starts train.py as a platform does, on a disk of its own."""
    return run(
        "train.py", *TINY, "--batch_size", 2, "--data_url", store / "data", "--train_url",
        f"file://{store / train_url}", "--train_path", local, *options, expect=expect,
    )  # fmt: skip


def test_a_jobs_life(store, tmp_path):
    first = job(store, tmp_path / "first", "--epochs", 1, "--num_gpus", 1, "--user_name=me")
    line = "warning: ignoring flags of the platform: --num_gpus 1 --user_name=me"
    assert line in first.stderr.splitlines()
    assert "unpacking" in first.stdout
    names = ["best.ckpt", "config.json", "epoch_0001.ckpt", "last.ckpt", "metrics.csv"]
    names = [run_folder.MANIFEST, *names]
    for folder in (tmp_path / "first", store / "output"):
        assert sorted(p.name for p in folder.iterdir() if p.name != ".lock") == names
    for name in names:
        copy, original = store / "output" / name, tmp_path / "first" / name
        assert copy.read_bytes() == original.read_bytes()
    loaded = checkpoint.load(store / "output" / "last.ckpt")
    assert loaded.state["step"] == STEPS
    assert not (tmp_path / loaded.config.data.data_path).exists()  # it was on the job's own disk

    # Its platform starts it again on an empty disk; the storage is out of order in the end.
    again = job(store, tmp_path / "second", "--epochs", 2, "--save_steps", 1)
    assert "second: holds a run: continuing it" in again.stdout
    assert f"epoch 1, step {STEPS}" in again.stdout
    assert checkpoint.load(store / "output" / "last.ckpt").state["step"] == 2 * STEPS
    with open(store / "output" / "metrics.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == [str(STEPS), str(2 * STEPS)]


def test_a_store_out_of_order_and_a_profile(store, tmp_path):
    """The training ends, warns at its checkpoint, and tells by its exit code what is missing."""
    (store / "broken").write_text("in the way")
    local, profile = tmp_path / "local", tmp_path / "a profile"
    result = job(
        store, local, "--epochs", 1, "--profile", profile, "--sink_size", 2,
        train_url="broken/output", expect=5,
    )  # fmt: skip
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: could")]
    assert len(warnings) == 2  # at the checkpoint and in the end
    assert f"all files are in {local}" in warnings[0]
    assert result.stderr.splitlines()[-1] == (
        f"train.py: results could not be copied out; all of them are in {local}"
    )
    loaded = checkpoint.load(local / "last.ckpt")
    assert loaded.state["step"] == STEPS
    assert "sink_size 2 is not used: MindSpore has no sink mode on a CPU" in result.stdout
    assert loaded.config.training.sink_size == 1
    check_profile(profile)


def check_profile(folder):
    """Two of three steps of the first epoch, every convolution of them, and a time line."""
    (table,) = folder.glob("*/FRAMEWORK/cpu_op_type_info_0.csv")
    with open(table, newline="") as file:
        calls = {row["op_type"]: int(row["type_occurrences"]) for row in csv.DictReader(file)}
    assert calls["Adam"] == 2 * 14  # what Muon leaves of the 21 parameters of `small`
    assert {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "Sigmoid"} <= set(calls)
    (line,) = folder.glob("*/ASCEND_PROFILER_OUTPUT/trace_view.json")
    assert line.stat().st_size > 0


def test_an_evaluation_job(tmp_path, rng):
    """The official test set is in the job's data; the result is left where the platform asks."""
    (tmp_path / "data").mkdir()
    frames = rng.integers(0, 256, (20, 3, 64, 64), np.uint8)
    np.save(tmp_path / "data" / "mnist_test_seq.npy", frames)
    shutil.make_archive(tmp_path / "in" / "data", "zip", tmp_path / "data")
    urls = ["--data_url", tmp_path / "in", "--train_url", tmp_path / "out"]
    result = run("test.py", *urls, "--baselines", "False", "--num_gpus", 1)
    assert "ignoring flags of the platform: --num_gpus 1" in result.stderr
    saved = json.loads((tmp_path / "out" / "result.json").read_text())
    assert saved["sequences"] == 3
    assert saved["test_set"].endswith("mnist_test_seq.npy")
    assert f"mse per frame: {saved['mse']}" in result.stdout
    assert "baselines" not in saved
