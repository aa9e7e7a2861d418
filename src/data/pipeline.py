"""Sequences -> MindSpore dataset.

What flows first is only (epoch, batch) numbers; the sequences are made by as many workers as asked
for, and keep their own type until the batch is complete.
"""

import os

import mindspore.dataset as ds
import numpy as np

from src.data.workers import Workers


class BatchNumbers:
    """Yields (epoch, batch) from a first batch to an epoch's last; each pass is the next epoch."""

    def __init__(self, batches, first_epoch, first_batch):
        self.batches = batches
        self.epoch = first_epoch
        self.first_batch = first_batch

    def __len__(self):
        return self.batches - self.first_batch

    def __iter__(self):
        epoch = self.epoch
        self.epoch += 1
        for batch in range(self.first_batch, self.batches):
            yield (np.array([epoch, batch]),)


class BatchMaker:
    """Makes batch b of epoch e: inputs and targets, (B, T, C, H, W), float32 in [0, 1]; where some
    of them is no data, the mask of all frames too.
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
        # Contiguous both: of a view MindSpore copies element by element, 50 times slower.
        batch = [
            normalizer.normalize(inputs),
            normalizer.normalize(targets, clip=False if self.exact else None),
        ]
        return (*batch, normalizer.mask(frames)) if normalizer.has_mask else tuple(batch)


def make_dataset(
    source, batch_size, input_frames, *, keep_all=False, first_epoch=0, first_batch=0, num_shards=1,
    shard_id=0, num_parallel_workers=1,
):  # fmt: skip
    """A dataset with the columns inputs and targets, (B, T, C, H, W), float32 in [0, 1]; of a
    source whose normalizer has a mask that too, (B, inputs and targets, C, H, W), 0 or 1.

    Args:
        source: has `frames(indices, epoch)`, an `normalizer` and a length.
        batch_size: sequences in a batch, of each shard.
        input_frames: frames in `inputs`; the others are `targets`.
        keep_all: to measure: a last batch that is not full is filled up with copies of the last
            sequence, which the reader has to drop, and no target is clipped; otherwise the
            sequences that fill no batch are left out.
        first_epoch: the epoch that the first pass over the dataset yields.
        first_batch: the batch that every pass begins with; an epoch's rest takes one pass.
        num_shards, shard_id: number of equal shares of each epoch, and which one this is.
        num_parallel_workers: processes that make sequences; 1 makes them in a thread of this one.
            MindSpore allows no more than there are cores, so more become as many.
    """
    workers = min(num_parallel_workers, os.cpu_count() or 1)
    make = BatchMaker(source, batch_size, input_frames, num_shards, shard_id, keep_all)
    per_step = batch_size * num_shards
    batches = -(-len(source) // per_step) if keep_all else len(source) // per_step
    numbers = ds.GeneratorDataset(
        BatchNumbers(batches, first_epoch, first_batch), ["number"], shuffle=False
    )
    return numbers.map(
        Workers(make, make.shapes(), workers) if workers > 1 else make,
        input_columns=["number"],
        output_columns=["inputs", "targets"] + ["mask"] * source.normalizer.has_mask,
        num_parallel_workers=workers,
    )
