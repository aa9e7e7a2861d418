"""Kills a training again and again, resumes it, and compares its end with one that ran through.

python tests/crash_test.py --kills 100 --seed 0 --workers 2

Each life of the training ends by SIGKILL: at any moment of its life, start-up included, a little
after its first new step, or inside a save. In the end all weights, moments and the training state,
and metrics.csv but for its times, have to be those of the run that nobody killed.
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from src import checkpoint, run_folder  # noqa: E402
from src.runtime.files import unfinished_name  # noqa: E402

TINY = [
    *("--preset", "small", "--image_size", "32", "32", "--input_frames", "2"),
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
# Short beside a save, inside of which a kill has to fall.
POLL_SECONDS = 0.005


def start(folder, kills, workers, resume):
    """Starts a training, or goes on with it, in a process of its own."""
    epochs = 2 + kills * 2
    options = ["--epochs", str(epochs), "--num_parallel_workers", str(workers)]
    state = folder / run_folder.LAST
    fresh = (
        [] if resume and any(run_folder.resumable_checkpoints(folder)) else [*TINY, "--overwrite"]
    )
    again = [] if fresh else ["--resume"]
    log = open(folder.with_suffix(".log"), "a")  # noqa: SIM115
    command = [sys.executable, ROOT / "train.py", *fresh, *again, *options, "--train_path", folder]
    return subprocess.Popen(list(map(str, command)), stdout=log, stderr=log), state


def wait_for(process, condition):
    """Whether a condition came true before the process ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if condition():
            return True
        time.sleep(POLL_SECONDS)
    return False


def written_at(path):
    """When a file was written; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def live_and_die(folder, kills, workers, how, rng):
    """One life; returns whether it was killed, and whether that was inside a save."""
    process, last = start(folder, kills, workers, resume=True)
    before = written_at(last)
    unfinished = unfinished_name(folder / run_folder.NEXT)
    if how != "start":
        wait_for(process, lambda: written_at(last) not in (None, before))
    pause = time.monotonic() + rng.uniform(0, 5 if how == "start" else 0.2)
    wait_for(process, lambda: time.monotonic() > pause)
    if how == "save":
        wait_for(process, unfinished.exists)
    process.kill()
    killed = process.wait() == -9
    return killed, killed and unfinished.exists()


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
    """Runs the test in a folder; returns kills, kills inside a save, and what differs."""
    rng = random.Random(seed)
    reference, folder = scratch / "reference", scratch / "killed"
    process, _ = start(reference, kills, workers, resume=False)
    if process.wait():
        return 0, 0, [f"the reference run failed: {reference.with_suffix('.log').read_text()}"]
    done = inside = 0
    while done < kills:
        how = rng.choices(("start", "soon", "save"), (2, 4, 4))[0]
        killed, saving = live_and_die(folder, kills, workers, how, rng)
        if not killed:
            return done, inside, [f"a run ended by itself: {tail(folder)}"]
        done, inside = done + killed, inside + saving
        print(f"kill {done} of {kills}, {inside} inside a save", flush=True)
    process, _ = start(folder, kills, workers, resume=True)
    if process.wait():
        return done, inside, [f"the last resume failed: {tail(folder)}"]
    return done, inside, list(differences(folder, reference))


def tail(folder):
    """The last lines of a run's log."""
    return " / ".join(folder.with_suffix(".log").read_text().splitlines()[-3:])


def main():
    """Parses the arguments, runs the test, says how it ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that make sequences")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        done, inside, different = crash_test(args.kills, args.seed, args.workers, Path(scratch))
    verdict = "different: " + ", ".join(different[:5]) if different else "identical"
    print(f"crash test: {done} kills, {inside} inside a save, {verdict}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
