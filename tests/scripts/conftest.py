"""Runs the project as its users do, and gives the tests a trained tiny network."""

import contextlib
import gzip
import os
import re
import runpy
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.saved_runs.make import ONE_STAGE, start_checkpoint

ROOT = Path(__file__).resolve().parents[2]
PROFILER_LINE = re.compile(r"\r?\[\d+\] Parsing: [^\n]*\n?")
DIGITS = [
    *("--image_size", "32", "32", "--epoch_size", "6", "--eval_size", "3"),
    *("--pictures", "0", "--curriculum"),
]
TINY = ["--preset", "small", "--input_frames", "3", "--forecast_frames", "3", *DIGITS]
# With `one_stage`, where no preset is meant.
FEW = ["--input_frames", "2", "--forecast_frames", "2", *DIGITS]


class Output(NamedTuple):
    """What a command wrote."""

    stdout: str
    stderr: str


def run(*command, expect=0, cwd=None):
    """Runs a script by its path; an entry script by this Python. Checks exit code and log."""
    script, *arguments = map(str, command)
    launcher = [sys.executable] if script.endswith(".py") else ["bash"]
    result = subprocess.run(
        [*launcher, str(ROOT / script), *arguments],
        env={**os.environ, "PYTHON": sys.executable},
        cwd=cwd,
        capture_output=True,
    )
    return checked(result.returncode, result.stdout.decode(), result.stderr.decode(), expect)


def run_here(*command, expect=0, cwd=None):
    """As `run`, but within this process, which spares a start of MindSpore; not for trainings,
    because a process compiles those once.
    """
    script, *arguments = map(str, command)
    code = 0
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with (
            pytest.MonkeyPatch.context() as patch,
            redirected("stdout", 1, output),
            redirected("stderr", 2, errors),
        ):
            patch.setattr(sys, "argv", [str(ROOT / script), *arguments])
            patch.chdir(cwd or Path.cwd())
            try:
                runpy.run_path(sys.argv[0], run_name="__main__")
            except SystemExit as end:
                code = end.code
        texts = [os.pread(f.fileno(), os.fstat(f.fileno()).st_size, 0) for f in (output, errors)]
    return checked(code, *(text.decode() for text in texts), expect)


@contextlib.contextmanager
def redirected(name, number, file):
    """Sends to a file what is written to stdout or stderr, by Python and by the libraries below."""
    stream, old = getattr(sys, name), os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        with open(number, "w", buffering=1, closefd=False) as own:
            setattr(sys, name, own)
            yield
    finally:
        setattr(sys, name, stream)
        os.dup2(old, number)
        os.close(old)


def checked(code, stdout, stderr, expect):
    """A command's output, once its exit code and its log are as they should be."""
    # MindSpore's profiler shows its own progress with carriage returns.
    output = PROFILER_LINE.sub("", stdout + stderr)
    assert code == expect, output
    assert not [word for word in ("deprecated", "\r", "\x1b") if word in output], output
    return Output(stdout, stderr)


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
def one_stage(tmp_path_factory):
    """A checkpoint to start from, of a network that compiles and trains faster than any preset."""
    path = tmp_path_factory.mktemp("begin") / "start.ckpt"
    start_checkpoint(path, ONE_STAGE)
    return path


@pytest.fixture(scope="session")
def workroot(tmp_path_factory):
    """A folder with a test set of 5 sequences of 32x32 pixels."""
    folder = tmp_path_factory.mktemp("test set")
    frames = np.random.default_rng(0).integers(0, 256, (20, 5, 32, 32), np.uint8)
    np.save(folder / "mnist_test_seq.npy", frames)
    return folder
