"""MindSpore datasets that yield batches of sequences.

The pipeline starts with (epoch, batch) numbers, from each of which a worker makes a batch.
"""

import os

import mindspore.dataset as ds
import numpy as np


class BatchNumbers:
    """Yields (epoch, batch) from `first_batch` to an epoch's last; each pass is the next epoch."""

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
    first_epoch=0,
    first_batch=0,
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
        first_epoch: the epoch of the first pass over the dataset.
        first_batch: the batch at which every pass starts, to finish an epoch that was stopped.
        num_shards, shard_id: number of equal shards of each epoch, and the number of this one.
        num_parallel_workers: processes that make sequences; 1: a thread of this process makes them.
            MindSpore allows at most one per core, so a larger number is reduced to that.
    """
    workers = min(num_parallel_workers, os.cpu_count() or 1)
    per_step = batch_size * num_shards
    batches = -(-len(source) // per_step) if keep_all else len(source) // per_step
    numbers = ds.GeneratorDataset(
        BatchNumbers(batches, first_epoch, first_batch), ["number"], shuffle=False
    )
    return numbers.map(
        BatchMaker(source, batch_size, input_frames, num_shards, shard_id, keep_all),
        input_columns=["number"],
        output_columns=["inputs", "targets"] + ["mask"] * source.normalizer.has_mask,
        num_parallel_workers=workers,
        python_multiprocessing=workers > 1,
    )
