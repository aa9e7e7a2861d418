"""Runs the project as its users do, and gives the tests a trained tiny network."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    *("--preset", "small", "--image_size", "32", "32", "--input_frames", "3"),
    *("--forecast_frames", "3", "--epoch_size", "6", "--eval_size", "3", "--pictures", "0"),
]


def run(*command, expect=0, cwd=None):
    """Runs a script by its path; an entry script by this Python. Checks exit code and log."""
    script, *arguments = map(str, command)
    launcher = [sys.executable] if script.endswith(".py") else ["bash"]
    result = subprocess.run(
        [*launcher, str(ROOT / script), *arguments],
        env={**os.environ, "PYTHON": sys.executable},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    output = result.stdout + result.stderr
    assert not [word for word in ("deprecated", "\r", "\x1b") if word in output], output
    return result


def idx_bytes(images, magic=2051, count=None):
    """An idx file's bytes, with a header that may lie."""
    count = len(images) if count is None else count
    return struct.pack(">4I", magic, count, 28, 28) + images.tobytes()


@pytest.fixture(scope="session")
def data_path(tmp_path_factory, digits):
    """A folder, with a space in its name, of 1,200 real digits as --data_path needs them."""
    folder = tmp_path_factory.mktemp("data") / "my digits"
    folder.mkdir()
    content = gzip.compress(idx_bytes(digits[:1200]), 1)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data_path):
    """The folder of a run of the tiny network by run_single_train.sh; it held a log before.

    Two sequences are drawn, and TensorBoard's events are written.
    """
    folder = tmp_path_factory.mktemp("runs") / "a run"
    folder.mkdir()
    (folder / "job.log").write_text("started\n")
    result = run(
        "scripts/run_single_train.sh", 0, 2, 2, data_path, folder, *TINY, "--pictures", 2,
        "--tensorboard", cwd=folder.parent,
    )  # fmt: skip
    (folder / "stdout.log").write_text(result.stdout)
    return folder


@pytest.fixture(scope="session")
def workroot(tmp_path_factory):
    """A folder with a test set of 5 sequences of 32x32 pixels."""
    folder = tmp_path_factory.mktemp("test set")
    frames = np.random.default_rng(0).integers(0, 256, (20, 5, 32, 32), np.uint8)
    np.save(folder / "mnist_test_seq.npy", frames)
    return folder
