"""What all kinds of sequences have in common."""

import copy

import numpy as np


class Dataset:
    """Sequences: `len(dataset)` in an epoch, `dataset[indices]` as (B, T, C, H, W).

    A subclass has `shape`, (T, C, H, W) of a sequence; `normalizer`, the `Normalizer` of its
    values; and `name`, what to call it in messages. What it yields is a function of `epoch` and the
    indices alone. `grid` is the `Grid` of its frames, if its files have one.
    """

    epoch = 0
    grid = None

    @property
    def value_range(self):
        """The two values that become 0 and 1."""
        return self.normalizer.value_range

    def at_epoch(self, epoch):
        """The same sequences in another epoch."""
        other = copy.copy(self)
        other.epoch = epoch
        return other

    def times(self, index):
        """The times of a sequence's frames, (T,), as its files have them; None where they do not.

        They are datetime64, calendar objects with a month, or numbers.
        """
        return None


class First(Dataset):
    """The first `limit` sequences of a dataset."""

    def __init__(self, source, limit):
        self.source = source
        self.limit = limit
        self.name = source.name
        self.shape = source.shape
        self.normalizer = source.normalizer
        self.grid = source.grid

    def __len__(self):
        return min(self.limit, len(self.source))

    def __getitem__(self, indices):
        """As the dataset's own."""
        return self.source.at_epoch(self.epoch)[indices]

    def times(self, index):
        """As the dataset's own."""
        return self.source.times(index)

    def record_times(self):
        """As the dataset's own."""
        return self.source.record_times()


def times_of(source, indices):
    """The times of all frames of sequences, (B, T), or None."""
    times = [source.times(n) for n in indices]
    return None if times[0] is None else np.stack(times)
