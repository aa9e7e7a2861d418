"""MindSpore datasets that yield batches of sequences.

The pipeline starts with (epoch, batch) numbers, from each of which a worker makes a batch.
"""

import os

import mindspore.dataset as ds
import numpy as np

from src.runtime.workers import Workers


class BatchNumbers:
    """Yields the (epoch, batch) of some steps; every pass over them is the same.

    MindSpore starts passes whose batches nobody uses: in sink mode one to learn the types and one
    to learn the shapes.
    """

    def __init__(self, batches, steps):
        self.batches = batches
        self.steps = steps

    def __len__(self):
        return len(self.steps)

    def __iter__(self):
        for step in self.steps:
            yield (np.array(divmod(step, self.batches)),)


class BatchMaker:
    """Makes a batch from (epoch, batch): inputs and targets, (B, T, C, H, W), float32 in [0, 1],
    and the mask of all frames if the normalizer has one.
    """

    def __init__(self, source, batch_size, input_frames, num_shards, shard_id, exact=False):
        self.source = source
        self.batch_size = batch_size
        self.input_frames = input_frames
        self.num_shards = num_shards
        self.shard_id = shard_id
        self.exact = exact

    def shapes(self):
        """The shapes of what it makes."""
        frames, channels, *size = self.source.shape
        normalizer, inputs = self.source.normalizer, self.input_frames
        size = [n + more for n, more in zip(size, normalizer.padding, strict=True)]
        counts = (inputs, frames - inputs) + (frames,) * normalizer.has_mask
        return tuple((self.batch_size, count, channels, *size) for count in counts)

    def __call__(self, number):
        epoch, batch = number.tolist()
        start = (batch * self.num_shards + self.shard_id) * self.batch_size
        indices = np.minimum(np.arange(start, start + self.batch_size), len(self.source) - 1)
        frames, normalizer = self.source.at_epoch(epoch)[indices], self.source.normalizer
        inputs, targets = frames[:, : self.input_frames], frames[:, self.input_frames :]
        # Both are contiguous: MindSpore copies a view element by element, 50 times slower.
        batch = [
            normalizer.normalize(inputs),
            normalizer.normalize(targets, clip=False if self.exact else None),
        ]
        return (*batch, normalizer.mask(frames)) if normalizer.has_mask else tuple(batch)


def make_dataset(
    source,
    batch_size,
    input_frames,
    *,
    keep_all=False,
    steps=None,
    num_shards=1,
    shard_id=0,
    num_parallel_workers=1,
):
    """A MindSpore dataset with the columns `inputs` and `targets`, (B, T, C, H, W), float32, with
    the value range scaled to [0, 1].

    If the normalizer has a mask, a third column, `mask`, holds that of all frames, inputs and
    targets, 0 or 1.

    Args:
        source: a `Dataset`.
        batch_size: sequences in a batch, per shard.
        input_frames: frames in `inputs`; the others are `targets`.
        keep_all: for evaluation: targets are not clipped, and copies of the last sequence fill up
            the last batch; the caller drops them. Otherwise an incomplete batch is left out.
        steps: the steps of a training that one pass makes, a range: with n batches in an epoch,
            step k is batch k % n of epoch k // n. Default: those of epoch 0.
        num_shards, shard_id: number of equal shards of each epoch, and the number of this one.
        num_parallel_workers: processes that make sequences; 1: a thread of this process makes them.
            MindSpore allows at most one per core, so a larger number is reduced to that.
    """
    workers = min(num_parallel_workers, os.cpu_count() or 1)
    make = BatchMaker(source, batch_size, input_frames, num_shards, shard_id, keep_all)
    per_step = batch_size * num_shards
    batches = -(-len(source) // per_step) if keep_all else len(source) // per_step
    steps = range(batches) if steps is None else steps
    numbers = ds.GeneratorDataset(BatchNumbers(batches, steps), ["number"], shuffle=False)
    return numbers.map(
        Workers(make, make.shapes(), workers) if workers > 1 else make,
        input_columns=["number"],
        output_columns=["inputs", "targets"] + ["mask"] * source.normalizer.has_mask,
        num_parallel_workers=workers,
    )
