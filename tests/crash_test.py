"""Kills a training again and again, resumes it, and compares its end with one that ran through.

python tests/crash_test.py --kills 100 --seed 0 --workers 2

Each life of the training ends by SIGKILL to its main process, or by SIGTERM to all of its
processes, as from `timeout`, Slurm or systemd: at any moment of its life, start-up included, a
little after its first new step, or inside a save. No process may outlive it. In the end all
weights, moments and the training state, and metrics.csv but for its times, have to be those of the
run that nobody killed.

--kills N     how many lives there are before the last one (default: 10)
--seed S      decides when and how each of them ends (default: 0)
--workers W   processes that make sequences (default: 1: none but the main process)
"""

import argparse
import contextlib
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from src import checkpoint, run_folder  # noqa: E402
from src.runtime.files import unfinished_name  # noqa: E402
from tests.saved_runs.make import ONE_STAGE, start_checkpoint  # noqa: E402

TINY = [
    *("--image_size", "32", "32", "--input_frames", "2"),
    *(
        "--forecast_frames",
        "2",
        "--batch_size",
        "2",
        "--eval_size",
        "2",
        "--lr_schedule",
        "plateau",
    ),
    *("--save_steps", "2", "--log_every", "3", "--epoch_size", "20", "--pictures", "0"),
    *("--curriculum", "2+1:0.4"),
]
TIMES = ("minutes", "sequences_per_second")
PATIENCE_SECONDS = 300
# How long a process may take to notice that its run is over.
LEFT_SECONDS = 5
# SIGKILL, SIGTERM while Python loads, SIGTERM before the training listens, stopped and saved.
ENDS = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM, 3)


def start(folder, kills, workers, resume):
    """Starts a training, or goes on with it, in a process of its own."""
    epochs = 2 + kills * 2
    options = ["--epochs", str(epochs), "--num_parallel_workers", str(workers)]
    state = folder / run_folder.LAST
    begun = resume and any(run_folder.resumable_checkpoints(folder))
    begin = ["--pretrained_model", folder.with_name("start.ckpt"), *TINY, "--overwrite"]
    log = open(folder.with_suffix(".log"), "a")  # noqa: SIM115
    command = [
        sys.executable,
        ROOT / "train.py",
        *(["--resume"] if begun else begin),
        *options,
        "--train_path",
        folder,
    ]
    streams = {"stdout": log, "stderr": log, "start_new_session": True}
    return subprocess.Popen(list(map(str, command)), **streams), state


def wait_for(process, condition):
    """Whether a condition came true before the process ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.001)
    return False


def written_at(path):
    """When a file was written; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def live_and_die(folder, kills, workers, how, to_group, rng):
    """One life; returns whether it was ended as it should, whether that was inside a save, and how
    many processes outlived it.
    """
    process, last = start(folder, kills, workers, resume=True)
    before = written_at(last)
    unfinished = unfinished_name(folder / run_folder.NEXT)
    if how != "start":
        wait_for(process, lambda: written_at(last) not in (None, before))
    pause = time.monotonic() + rng.uniform(0, 5 if how == "start" else 0.2)
    wait_for(process, lambda: time.monotonic() > pause)
    if how == "save":
        wait_for(process, unfinished.exists)
    if to_group:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.kill()
    killed = process.wait() in ENDS
    return killed, killed and unfinished.exists(), len(left_over(process))


def left_over(process):
    """The processes of the session of one that has ended, once they had time to end too."""
    end = time.monotonic() + LEFT_SECONDS
    while (left := processes_of(process.pid)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def processes_of(session):
    """The processes of a session that run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def differences(folder, reference):
    """What the two runs' ends do not have in common."""
    ours, theirs = (checkpoint.load(f / run_folder.LAST) for f in (folder, reference))
    for part in ("weights", "optimizer"):
        for name, array in getattr(theirs, part).items():
            if not np.array_equal(getattr(ours, part)[name], array):
                yield name
    for name, value in theirs.state.items():
        if name != "seconds" and ours.state[name] != value:
            yield f"state {name}"
    if rows_of(folder) != rows_of(reference):
        yield run_folder.METRICS


def rows_of(folder):
    """The rows of metrics.csv without their times."""
    text = (folder / run_folder.METRICS).read_text()
    rows = csv.DictReader(text.splitlines())
    return [{name: row[name] for name in row if name not in TIMES} for row in rows]


def crash_test(kills, seed, workers, scratch):
    """Runs the test in a folder; returns counts, of kills by what they were, and what was wrong."""
    rng, counts = random.Random(seed), Counter()
    reference, folder = scratch / "reference", scratch / "killed"
    start_checkpoint(scratch / "start.ckpt", ONE_STAGE)
    process, _ = start(reference, kills, workers, resume=False)
    if process.wait():
        return counts, [f"the reference run failed: {reference.with_suffix('.log').read_text()}"]
    while counts["kills"] < kills:
        how = rng.choices(("start", "soon", "save"), (2, 4, 4))[0]
        to_group = rng.random() < 0.3
        killed, saving, left = live_and_die(folder, kills, workers, how, to_group, rng)
        if not killed:
            return counts, [f"a run ended by itself: {tail(folder)}"]
        counts += Counter(kills=1, group=int(to_group), saving=int(saving), left=left)
        print(describe(counts), flush=True)
    process, _ = start(folder, kills, workers, resume=True)
    if process.wait():
        return counts, [f"the last resume failed: {tail(folder)}"]
    outlived = ["a process outlived its run"] if counts["left"] else []
    return counts, outlived + list(differences(folder, reference))


def describe(counts):
    """Counts in words."""
    return (
        f"{counts['kills']} kills, {counts['group']} of them SIGTERM to the group, "
        f"{counts['saving']} inside a save, {counts['left'] or 'no'} processes left"
    )


def tail(folder):
    """The last lines of a run's log."""
    return " / ".join(folder.with_suffix(".log").read_text().splitlines()[-3:])


def main():
    """Parses the arguments, runs the test, says how it ended."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("kills", 10), ("seed", 0), ("workers", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        counts, wrong = crash_test(args.kills, args.seed, args.workers, Path(scratch))
    verdict = "different: " + ", ".join(wrong[:5]) if wrong else "identical"
    print(f"crash test: {describe(counts)}, {verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
