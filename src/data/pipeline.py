"""Sequences -> MindSpore dataset.

What flows first is only (epoch, batch) numbers; the sequences are made by as many workers as asked
for, and keep their own type until the batch is complete.
"""

import os

import mindspore.dataset as ds
import numpy as np


class BatchNumbers:
    """Yields the (epoch, batch) of some steps; every pass over them is the same.

    MindSpore begins passes that nobody sees: in sink mode one to learn the types, another one to
    learn the shapes.
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
    source, batch_size, input_frames, *, keep_all=False, steps=None, num_shards=1, shard_id=0,
    num_parallel_workers=1,
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
        steps: a range of the steps of a training, which one pass takes: with n batches an epoch,
            step k is batch k % n of epoch k // n. Default: epoch 0.
        num_shards, shard_id: number of equal shares of each epoch, and which one this is.
        num_parallel_workers: processes that make sequences; 1 makes them in a thread of this one.
            MindSpore allows no more than there are cores, so more become as many.
    """
    workers = min(num_parallel_workers, os.cpu_count() or 1)
    per_step = batch_size * num_shards
    batches = -(-len(source) // per_step) if keep_all else len(source) // per_step
    steps = range(batches) if steps is None else steps
    numbers = ds.GeneratorDataset(BatchNumbers(batches, steps), ["number"], shuffle=False)
    return numbers.map(
        BatchMaker(source, batch_size, input_frames, num_shards, shard_id, keep_all),
        input_columns=["number"],
        output_columns=["inputs", "targets"] + ["mask"] * source.normalizer.has_mask,
        num_parallel_workers=workers,
        python_multiprocessing=workers > 1,
    )
