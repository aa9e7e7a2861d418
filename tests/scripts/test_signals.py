"""Ctrl-C, SIGTERM, SIGHUP, a pipe that closes, a full disk: how scripts end then."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from src import checkpoint
from tests.crash_test import left_over
from tests.scripts.conftest import ROOT

CHECKPOINT = ROOT / "tests" / "saved_runs" / "within_epoch.ckpt"
MEASURE = ("test.py", "--pretrained_model", CHECKPOINT, "--limit", 2)
TRAIN = ("train.py", "--resume", CHECKPOINT, "--epochs", 9999)
# Listens as a training does, and says so; a second counts as five.
LISTENER = """
import time
from src.runtime.distributed import Ranks
from src.tools import callback
callback.GRACE_SECONDS = 1
stop = callback.StopSignals(Ranks())
stop.listen()
print("listens", flush=True)
while not stop.signal_received:
    time.sleep(0.01)
print("stops", flush=True)
time.sleep(60)
"""


def start(*command, **settings):
    """Starts a script in a session of its own."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, *map(str, command)]
    return subprocess.Popen(
        command, **streams | {"start_new_session": True, "cwd": ROOT} | settings
    )


def wait_until(condition, process, seconds=120):
    """Waits for something that a process will do."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def rows_in(folder):
    """How many rows metrics.csv has."""
    path = folder / "metrics.csv"
    return path.read_text().count("\n") - 1 if path.is_file() else 0


def loads(library, process):
    """Whether Python is loading a library."""
    with open(f"/proc/{process.pid}/maps") as maps:
        return library in maps.read()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_in_the_middle_of_a_forecast(tmp_path, name):
    """While MindSpore computes, one batch being written: one line, and an empty folder."""
    process = start(
        "predict.py", "--pretrained_model", CHECKPOINT, "--output", tmp_path, "--batch_size", 1
    )
    unfinished = tmp_path / ".forecast.npy.unfinished"
    size = 3 * 32 * 32 * 4
    wait_until(lambda: unfinished.exists() and unfinished.stat().st_size > size, process)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    assert errors.splitlines()[-1] == f"predict.py: ended by {name}"
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_in_the_middle_of_an_export(tmp_path):
    """While MindSpore compiles, whose temporary folder goes too."""
    scratch, output = tmp_path / "scratch", tmp_path / "output"
    scratch.mkdir()
    options = ["--pretrained_model", CHECKPOINT, "--file_name", output / "x.mindir"]
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    process = start(ROOT / "export.py", *options, cwd=tmp_path, env=environment)
    wait_until(lambda: any(scratch.iterdir()), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "export.py: ended by SIGINT\n")
    assert not any(scratch.iterdir())
    assert not any(output.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "scratch"]


@pytest.mark.parametrize(
    ("script", "library"),
    [("train.py", "mindspore"), ("test.py", "mindspore"), ("export.py", "numpy")],
)
def test_while_a_script_loads(script, library):
    process = start(script)
    wait_until(lambda: loads(library, process), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, f"{script}: ended by SIGINT\n")


def test_a_stop_that_arrives_twice_and_a_closed_terminal(tmp_path):
    """As `timeout` and Slurm send it, to the process and to all its processes, workers too; a
    terminal that closes sends SIGHUP. All of it is one stop, and no process is left.
    """
    process = start(*TRAIN, "--train_path", tmp_path, "--num_parallel_workers", 2)
    wait_until(lambda: rows_in(tmp_path) > 1, process)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "train.py: stopped, resumable: step" in errors.splitlines()[-1]
    assert checkpoint.load(tmp_path / "last.ckpt").state["step"] > 0
    assert left_over(process) == []


def test_nohup(tmp_path):
    """SIGHUP is not heard where it was ignored from the start."""
    process = start(
        *TRAIN, "--train_path", tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    wait_until(lambda: rows_in(tmp_path) > 1, process)
    process.send_signal(signal.SIGHUP)
    rows = rows_in(tmp_path)
    wait_until(lambda: rows_in(tmp_path) > rows + 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors


def test_a_second_ctrl_c_ends_at_once():
    """Not one that comes with the first; and then the line, no trace."""
    process = start("-c", LISTENER)
    assert process.stdout.readline() == "listens\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stops\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "-c: ended by SIGINT\n")
    assert time.monotonic() - begin < 5


def test_a_signal_while_msrun_starts(tmp_path):
    """Before there is a rank to hand it on to: the job ends, and leaves no process."""
    launch = ["scripts/launch.py", "--local_worker_num", 2, "--log_dir", tmp_path]
    process = start(*launch, "test.py", "--distribute", "--limit", 9)
    wait_until(lambda: list(tmp_path.rglob("msrun_0.log")), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert errors.splitlines()[-1] == "launch.py: ended by SIGTERM before the ranks ran"
    assert process.returncode == 143
    assert not (list(tmp_path.rglob("worker_*.log")) and left_over(process))


def test_results_are_written_though_nobody_reads_what_is_printed(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*MEASURE, "--json", tmp_path / "result.json", stdout=writing)
    os.close(writing)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
    assert json.loads((tmp_path / "result.json").read_text())["sequences"] == 2


def test_results_are_written_though_the_disk_under_stdout_is_full(tmp_path):
    with open("/dev/full", "w") as full:
        process = start(*MEASURE, "--json", tmp_path / "result.json", stdout=full)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 5, errors
    assert errors.splitlines()[-1] == (
        "test.py: stdout: cannot be written: No space left on device"
    )
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "result.json").read_text())["sequences"] == 2


def test_a_help_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        process = start("test.py", "--help", stdout=full)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 5
    assert errors == "test.py: stdout: cannot be written: No space left on device\n"


def test_what_an_encoding_lacks():
    """No value is that high: its scores are undefined, a dash."""
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    process = start(*MEASURE, "--thresholds", 300, env=environment)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "\\u2013: undefined" in output


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    """What libraries print goes to a number, which would be that of a file of the run."""
    script = f"cd {ROOT} && exec {sys.executable} " + " ".join(map(str, TRAIN))
    script += f" --train_path {tmp_path} --num_parallel_workers 2 <&- >&- 2>&-"
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    wait_until(lambda: rows_in(tmp_path) > 1, process)
    opened = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
    assert opened == ["/dev/null"] * 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3
    assert checkpoint.load(tmp_path / "last.ckpt").state["step"] > 0
    assert left_over(process) == []


@pytest.mark.parametrize("what", ["a pipe that closed", "a full disk"])
def test_a_training_goes_on_when_its_log_does_not(tmp_path, what):
    """To its end, which is saved."""
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "wb") as full:
        target = full if what == "a full disk" else writing
        options = ["--train_path", tmp_path, "--epochs", 9]
        process = start(*TRAIN, *options, stdout=target, stderr=target)
    os.close(writing)
    assert process.wait(120) == (5 if what == "a full disk" else 0)
    assert checkpoint.load(tmp_path / "last.ckpt").state["epoch"] == 9
