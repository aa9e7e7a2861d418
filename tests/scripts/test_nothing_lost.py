"""Killed, stopped, out of disk, or started twice: what the scripts do then."""

import csv
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from src import checkpoint
from tests.crash_test import differences
from tests.scripts.conftest import ROOT, run, run_here

OPTIONS = [
    *("--image_size", "32", "32", "--input_frames", "2"),
    *("--forecast_frames", "2", "--batch_size", "2", "--eval_size", "2", "--epochs", "3"),
    *("--epoch_size", "40", "--lr_schedule", "plateau", "--log_every", "3", "--pictures", "0"),
    # Whole sequences from step 22 of 60 on: the short phase's 3 frames of 4 make 0.3 / 3 of the
    # steps, beside 0.7 / 4.
    *("--curriculum", "2+1:0.3"),
]


def start(folder, *options, **settings):
    """Starts train.py in a process of its own."""
    command = [sys.executable, ROOT / "train.py", "--train_path", folder, *options]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(list(map(str, command)), **streams, **settings)


def wait_for_rows(folder, count):
    """Waits until metrics.csv has so many lines."""
    end = time.monotonic() + 300
    path = folder / "metrics.csv"
    while time.monotonic() < end:
        if path.is_file() and path.read_text().count("\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("metrics.csv did not grow")


@pytest.fixture(scope="module")
def begin(one_stage):
    """The flags of a new run."""
    return ["--pretrained_model", one_stage, *OPTIONS]


@pytest.fixture(scope="module")
def reference(tmp_path_factory, begin):
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    run("train.py", *begin, "--train_path", folder)
    return folder


@pytest.mark.parametrize(
    ("number", "workers", "rows", "epoch"), [(signal.SIGTERM, 1, 4, 1), (signal.SIGINT, 2, 10, 2)]
)
def test_a_stop_in_the_middle_of_an_epoch(tmp_path, begin, reference, number, workers, rows, epoch):
    """Exit code 3 and one line; resumed, it ends as the run that nobody stopped, line by line.

    Four lines are there in the short phase, ten when it has gone over to whole sequences.
    """
    folder = tmp_path / "run"
    process = start(folder, *begin, "--num_parallel_workers", workers)
    wait_for_rows(folder, rows)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 3, errors
    assert "train.py: stopped, resumable: step" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    step = checkpoint.load(folder / "last.ckpt").state["step"]
    assert step % 20, "the stop was to be within an epoch"
    result = run("train.py", "--resume", "--train_path", folder)
    assert f"resuming from {folder / 'last.ckpt'}: epoch {epoch}, step {step}" in result.stdout
    assert list(differences(folder, reference)) == []
    assert (folder / "best.ckpt").is_file()


def test_a_finished_run_resumed(reference):
    before = (reference / "last.ckpt").read_bytes()
    result = run_here("train.py", "--resume", "--train_path", reference)
    assert "nothing is left to train" in result.stdout
    assert (reference / "last.ckpt").read_bytes() == before


def test_more_epochs_from_a_file(reference, tmp_path):
    """--resume FILE with another folder: the run goes on there, and the old folder stays."""
    options = ["--resume", reference / "epoch_0002.ckpt", "--train_path", tmp_path / "on"]
    run("train.py", *options)
    assert checkpoint.load(tmp_path / "on" / "last.ckpt").state["step"] == 60
    last, other = (checkpoint.load(f / "last.ckpt") for f in (reference, tmp_path / "on"))
    for name, array in last.weights.items():
        np.testing.assert_array_equal(array, other.weights[name])
    with open(tmp_path / "on" / "metrics.csv") as file:
        assert {row["epoch"] for row in csv.DictReader(file)} == {"3"}


def test_two_runs_in_one_folder(tmp_path, begin):
    folder = tmp_path / "run"
    process = start(folder, *begin, "--epochs", "100000")
    try:
        wait_for_rows(folder, 2)
        result = run_here("train.py", *begin, "--train_path", folder, "--overwrite", expect=2)
        assert "another process is training in it" in result.stderr
    finally:
        process.kill()
        process.communicate()
    run("train.py", *begin, "--train_path", folder, "--overwrite", "--epochs", "1")


def test_a_full_disk(tmp_path, reference):
    """A quota below a checkpoint's size: exit code 5, one line, and the old states stay."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, source in (("last.ckpt", "epoch_0001.ckpt"), ("metrics.csv", "metrics.csv")):
        shutil.copy(reference / source, folder / name)
    before = {p: p.read_bytes() for p in folder.glob("*.ckpt")}
    command = [sys.executable, ROOT / "train.py", "--resume", "--train_path", folder, "--epochs", 3]
    limit = ((folder / "last.ckpt").stat().st_size // 2,) * 2
    result = subprocess.run(
        list(map(str, command)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 5, result.stderr
    assert "File too large; what was saved before is intact" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    for path, content in before.items():
        assert path.read_bytes() == content
    assert not list(folder.glob(".*unfinished"))
    run("train.py", "--resume", "--train_path", folder, "--epochs", "3")
    assert list(differences(folder, reference)) == []


def test_killed_again_and_again():
    """A short form of the crash test: inside a save, and while the training starts."""
    result = run("tests/crash_test.py", "--kills", "2", "--seed", "23")
    assert result.stdout.splitlines()[-1].startswith("crash test: 2 kills, ")
    assert result.stdout.splitlines()[-1].endswith(", identical")
