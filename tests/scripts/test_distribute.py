"""Two ranks on one host: the numbers of one process, a killed rank, a stop, a resume."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from src import checkpoint
from tests.scripts.conftest import ROOT, run, run_here

# Ranks keep no compiled graphs: each start compiles on each rank.
OPTIONS = [
    *("--image_size", "32", "32", "--input_frames", "2", "--forecast_frames", "2"),
    *("--eval_size", "3", "--epoch_size", "20", "--lr_schedule", "plateau"),
    *("--log_every", "1", "--keep", "100000"),
]
STEPS_AN_EPOCH = 5


def rows_of(folder):
    """The whole rows of metrics.csv so far."""
    path = folder / "metrics.csv"
    text = path.read_text() if path.is_file() else ""
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


@pytest.fixture(scope="module")
def begin(one_stage):
    """The flags of a new run: from the same start weights."""
    return ["--pretrained_model", one_stage, *OPTIONS]


def start(data_path, folder, *options):
    """Starts run_distribute_train.sh on two ranks, each with batches of two."""
    script = ["bash", ROOT / "scripts/run_distribute_train.sh", 2, 2, 100000, data_path, folder]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.Popen(list(map(str, [*script, *options])), env=environment, **streams)


def wait_for_step(folder, step):
    """Waits until a step is in metrics.csv."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if any(int(row["step"]) >= step for row in rows_of(folder)):
            return
        time.sleep(0.02)
    raise AssertionError("metrics.csv did not grow")


def processes_of(folder):
    """The processes that have a run's folder on their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(folder) in process.cmdline():
                found.append(process)
    return found


def logs_of(folder):
    """The ranks' logs of the newest start."""
    newest = max((folder / "log").iterdir())
    return [(newest / f"worker_{rank}.log").read_text() for rank in range(2)]


def assert_same(found, expected, tolerance):
    """Weights and moments agree, relative to each tensor's size."""
    for part in ("weights", "optimizer"):
        for name, array in getattr(expected, part).items():
            distance = np.linalg.norm(getattr(found, part)[name] - array)
            assert distance <= tolerance * np.linalg.norm(array), name


@pytest.fixture(scope="module")
def one(tmp_path_factory, data_path, begin):
    """One process with the doubled batch."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run("scripts/run_single_train.sh", 0, 4, 2, data_path, folder, *begin)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, data_path, begin):
    """Two ranks, of which rank 1 is killed; then resumed, and stopped by SIGTERM.

    Returns the folder, and of both lives exit code, output, errors, logs, and what was left over.
    """
    folder, lives = tmp_path_factory.mktemp("two") / "a run", []
    for step, how in ((7, "kill"), (12, "stop")):
        options = ["--resume"] if lives else [*begin, "--save_steps", 3]
        job = start(data_path, folder, *options)
        try:
            wait_for_step(folder, step)
            if how == "kill":
                victim = int(logs_of(folder)[1].split("process ")[1].split()[0])
                os.kill(victim, signal.SIGKILL)
            else:
                (launcher,) = [p for p in processes_of(folder) if p.pid == job.pid]
                launcher.terminate()
            killed = time.monotonic()
            output, errors = job.communicate(timeout=300)
        finally:
            job.kill()
        lives.append(
            (job.returncode, output, errors, logs_of(folder), processes_of(folder),
             time.monotonic() - killed)
        )  # fmt: skip
    return folder, lives


def test_two_ranks_take_the_steps_of_one_process(one, two):
    """After five steps: weights and moments, and with them the gradients, to 1e-6."""
    folder, _ = two
    by_two, by_one = (checkpoint.load(f / "epoch_0001.ckpt") for f in (folder, one))
    assert (by_two.state["step"], by_two.state["ranks"]) == (STEPS_AN_EPOCH, 2)
    assert_same(by_two, by_one, 1e-6)
    for of_two, of_one in zip(rows_of(folder)[:5], rows_of(one)[:5], strict=True):
        assert of_two["sequences"] == of_one["sequences"]
        for name in ("loss", "grad_norm", "val_mse", "val_mae", "val_ssim"):
            values = [float(row[name] or 0) for row in (of_two, of_one)]
            assert values[0] == pytest.approx(values[1], rel=1e-6), name


def test_a_killed_rank_takes_the_job_down(two):
    """Named, within 30 seconds, with nothing left running; every rank's log stays."""
    folder, ((code, output, errors, logs, left, seconds), _) = two
    assert code == 128 + signal.SIGKILL
    assert errors.splitlines()[-1].startswith("launch.py: rank 1 (process ")
    assert "was killed by SIGKILL; the other ranks were ended; logs: " in errors
    assert seconds < 30
    assert left == []
    assert [f"rank {rank} of 2" in log for rank, log in enumerate(logs)] == [True, True]
    assert "epoch 1, step 5: validation" in output
    assert "validation" not in logs[1]
    assert len(list((folder / "log").iterdir())) == 2


def test_resumed_it_goes_on_as_if_nothing_had_been(one, two):
    """Two epochs, the kill in the second, end as those of one process."""
    folder, _ = two
    by_two, by_one = (checkpoint.load(f / "epoch_0002.ckpt") for f in (folder, one))
    assert by_two.state["step"] == by_one.state["step"] == 2 * STEPS_AN_EPOCH
    assert_same(by_two, by_one, 1e-5)
    steps = [int(row["step"]) for row in rows_of(folder)]
    assert steps == list(range(1, len(steps) + 1))


def test_ranks_stop_at_the_same_step(two):
    """SIGTERM: exit code 3, all ranks at one step, which is saved."""
    folder, (_, (code, _, errors, logs, left, _)) = two
    assert code == 3, errors
    assert left == []
    step = checkpoint.load(folder / "last.ckpt").state["step"]
    assert errors.splitlines()[-1].startswith(f"train.py: stopped, resumable: step {step} is saved")
    assert all(f"stopped, resumable: step {step} is saved" in log for log in logs)


def test_another_number_of_ranks_goes_on_between_epochs(one, two, tmp_path):
    """An epoch of two ranks, then one of one process with batches of two: ten steps."""
    folder, _ = two
    options = ["--resume", folder / "epoch_0001.ckpt", "--train_path", tmp_path, "--epochs", 2]
    run("train.py", *options)
    state = checkpoint.load(tmp_path / "last.ckpt").state
    assert (state["epoch"], state["step"], state["ranks"]) == (2, 20, 1)
    rows = rows_of(tmp_path)
    assert [int(row["sequences"]) for row in rows] == list(range(22, 42, 2))


# Holds a rank between making a file and removing it.
PAUSE = """
import pathlib, time
touch = pathlib.Path.touch

def slow_touch(path, *args, **options):
    touch(path, *args, **options)
    time.sleep(3)

pathlib.Path.touch = slow_touch
"""


# Ranks that have started run test.py with each of several lists of arguments.
AGAIN = """
import json, os, runpy, sys

from src.runtime import device

script, commands = sys.argv[1], json.loads(sys.argv[2])
for sys.argv[1:] in commands:
    runpy.run_path(script, run_name="__main__")
    if os.environ["MS_ROLE"] == "MS_SCHED":
        break  # it has served them all
    device.setup_device = lambda args: "CPU"  # which can be done once
"""


def measuring(one, sequences, result):
    """The options that measure a number of sequences."""
    options = ["--pretrained_model", one / "best.ckpt", "--limit", sequences, "--batch_size", 2]
    options += ["--thresholds", 9, "--neighbourhoods", 3, "--baselines", "--json", result]
    return list(map(str, options))


@pytest.fixture(scope="module")
def measured(one, tmp_path_factory):
    """The folder and the output of two ranks that have measured five sequences and one, and were
    told to write where there is no folder.
    """
    folder = tmp_path_factory.mktemp("measured")
    (folder / "sitecustomize.py").write_text(PAUSE)
    (folder / "test.py").write_text(AGAIN)
    commands = [measuring(one, n, folder / name) for n, name in (
        (5, "5.json"), (1, "1.json"), (5, "nothing/5.json"),
    )]  # fmt: skip
    commands = json.dumps([["--distribute", *command] for command in commands])
    launch = ["scripts/launch.py", "--local_worker_num", 2, "--log_dir", folder / "log"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")
        return folder, run(*launch, folder / "test.py", ROOT / "test.py", commands, expect=2)


@pytest.mark.parametrize("sequences", [5, 1])
def test_two_ranks_measure_what_one_process_measures(one, measured, tmp_path, sequences):
    """Three sequences for rank 0 and two for rank 1, or none: every number to rounding. The ranks
    do not meet where the outputs are checked: rank 0 alone does that, however long it takes.
    """
    folder, result = measured
    run_here("test.py", *measuring(one, sequences, tmp_path / "one.json"))
    assert result.stdout.count("mse per frame") == 2  # of two measurements, by rank 0 alone
    paths = folder / f"{sequences}.json", tmp_path / "one.json"
    by_two, by_one = (json.loads(path.read_text()) for path in paths)
    assert by_two["sequences"] == by_one["sequences"] == sequences
    for name in ("mse", "mae", "ssim", "psnr", "ssim_uint8"):
        np.testing.assert_allclose(by_two["per_frame"][name], by_one["per_frame"][name], rtol=1e-6)
    for name, scores in by_one["baselines"].items():
        assert by_two["baselines"][name] == pytest.approx(scores, rel=1e-12)
    assert by_two["scores"]["observed"] == by_one["scores"]["observed"]
    for name, scores in by_one["scores"]["forecasts"].items():
        for score, values in (scores["at"]["9"] | {"mae": scores["mae"]}).items():
            found = by_two["scores"]["forecasts"][name]
            found = (found["at"]["9"] | found)[score]
            np.testing.assert_allclose(
                np.array(found, float),
                np.array(values, float),
                rtol=1e-6,
                err_msg=f"{name} {score}",
            )


def test_what_rank_0_refuses_ends_both(measured):
    """In a line each."""
    folder, result = measured
    missing = folder / "nothing" / "5.json"
    (line,) = result.stderr.splitlines()
    problem = f"test.py: {missing}: cannot be written (json): No such file or directory"
    assert line.startswith(f"{problem} (rank ")
    assert [re.findall("^test.py: .*$", log, re.M) for log in logs_of(folder)] == [[problem]] * 2
