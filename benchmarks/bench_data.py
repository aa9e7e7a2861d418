"""Compares the speed of the MindSpore pipeline with that of a plain, frame-by-frame generator.

python benchmarks/bench_data.py [--json FILE]

Batches are of 32 sequences of 20 frames of 64x64 pixels with 2 digits, float32, as NumPy arrays.
The column `cores` says to how many cores the process is pinned. Each number is the median of
several runs of 30 batches, after a run that is not counted.
"""

import itertools
import os
from collections import deque

import common
import numpy as np

from src.config import cli
from src.config.presets import make_config
from src.data.moving_mnist import SPLITS
from src.data.pipeline import make_dataset
from src.data.sources import training_sources
from src.runtime import device
from tests.plain_generator import plain_sequence

BATCH, INPUT_FRAMES, FRAMES, DIGITS = 32, 10, 20, 2
BATCHES, REPEATS = 30, 7
SEED = 1


def plain_batches(source):
    """Yields inputs and targets, both (32, 10, 1, 64, 64), made sequence by sequence in a loop."""
    for start in itertools.count(0, BATCH):
        batch = [
            plain_sequence(source.digits, SEED, SPLITS["train"], 0, index, DIGITS, FRAMES)
            for index in range(start, start + BATCH)
        ]
        frames = np.stack(batch)[:, :, None].astype(np.float32) / np.float32(255)
        yield frames[:, :INPUT_FRAMES], frames[:, INPUT_FRAMES:]


def pipeline_batches(source, workers):
    """An iterator over the same batches, made by the pipeline."""
    dataset = make_dataset(source, BATCH, INPUT_FRAMES, num_parallel_workers=workers)
    return dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)


def sequences_per_second(batches):
    """The sequences per second of an iterator over batches, the median over runs of 30 batches."""
    run = common.median_seconds(
        lambda: deque(itertools.islice(batches, BATCHES), maxlen=0), REPEATS
    )
    return BATCH * BATCHES / run


def check_equal(source):
    """Raises `AssertionError` unless both generators make the same numbers."""
    batches = next(plain_batches(source)), next(pipeline_batches(source, 1))
    for plain, made in zip(*batches, strict=True):
        np.testing.assert_array_equal(plain, made)


def measure(source):
    """The rows of the table: sequences per second, and their ratio to the plain generator."""
    all_cores = os.sched_getaffinity(0)
    one_core = {min(all_cores)}
    cases = (
        ("plain loops", one_core, lambda: plain_batches(source)),
        ("pipeline, 1 worker", one_core, lambda: pipeline_batches(source, 1)),
        ("pipeline, 1 worker", all_cores, lambda: pipeline_batches(source, 1)),
        ("pipeline, 2 workers", all_cores, lambda: pipeline_batches(source, 2)),
    )
    rows = []
    for name, cores, make_batches in cases:
        # Threads and processes that the pipeline starts are pinned to the same cores.
        os.sched_setaffinity(0, cores)
        rate = sequences_per_second(make_batches())
        rows.append({"generator": name, "cores": len(cores), "sequences/s": rate})
    os.sched_setaffinity(0, all_cores)
    return [row | {"ratio": row["sequences/s"] / rows[0]["sequences/s"]} for row in rows]


def main(args):
    """Measures and prints one table."""
    common.check_json(args.json)
    device.set_up("CPU")
    print(common.describe_cpu())
    sequences = BATCH * BATCHES * (REPEATS + 1)
    source, _ = training_sources(make_config("small", {"epoch_size": sequences, "seed": SEED}))
    check_equal(source)
    rows = measure(source)
    common.print_table(rows)
    if args.json:
        common.write_json(args.json, rows)


if __name__ == "__main__":
    cli.run(main, common.parser(__doc__).parse_args)
