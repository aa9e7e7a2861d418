"""The interface of all kinds of sequences, and the time from one frame to the next."""

import copy
from dataclasses import dataclass

import numpy as np

from src.formats.cf.frequency import Months, Step
from src.formats.writers import UNITS, in_longest_unit


class Dataset:
    """Base of all datasets: `len(dataset)` is an epoch's size, `dataset[indices]` (B, T, C, H, W).

    The sequences depend only on `epoch` and the indices. A subclass sets `shape`, (T, C, H, W) of
    a sequence; `normalizer`, the `Normalizer` of its values; `name`, its name in messages; `grid`,
    the `Grid` of its frames, if its files have one; `frequency`, the rule of their times; and
    `added`, the largest constant in the data's units that unpacking or a conversion adds to a
    value, which says how far it is rounded: None for values that stand in their file as they are.
    """

    epoch = 0
    added = None
    grid = None
    frequency = None

    @property
    def value_range(self):
        """(low, high), the data values that are scaled to 0 and 1."""
        return self.normalizer.value_range

    def at_epoch(self, epoch):
        """A copy of the dataset at another epoch."""
        other = copy.copy(self)
        other.epoch = epoch
        return other

    def times(self, index):
        """The times of a sequence's frames, (T,): datetime64, cftime objects or numbers, as in its
        files; None if they have no times.
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
        self.frequency = source.frequency
        self.added = source.added

    def __len__(self):
        return min(self.limit, len(self.source))

    def __getitem__(self, indices):
        """The sequences of the wrapped dataset."""
        return self.source.at_epoch(self.epoch)[indices]

    def times(self, index):
        """The times of a sequence of the wrapped dataset."""
        return self.source.times(index)


def times_of(source, indices):
    """The times of all frames of several sequences, (B, T), or None if they have no times."""
    times = [source.times(n) for n in indices]
    return None if times[0] is None else np.stack(times)


@dataclass(frozen=True)
class LeadStep:
    """The time from one frame to the next, as it is shown.

    Args:
        size: a number of units.
        unit: "minutes", "hours", "days" or "months", for example.
    """

    size: float
    unit: str

    def lead(self, frames):
        """The lead time after some frames, a number or an array."""
        return self.size * frames


def lead_step(source):
    """The `LeadStep` of a dataset, or None if its record does not say how long a step is, or if
    steps differ, as those of 10-day periods.
    """
    rule = source.frequency
    if isinstance(rule, Months):
        return LeadStep(rule.stride, "months") if len(rule.places) == 1 else None
    if not isinstance(rule, Step):
        return None
    if rule.dated:
        (size,), unit = in_longest_unit([np.timedelta64(round(rule.length * 1e6), "us")])
    else:
        size, unit = rule.length, source.grid.time_attributes.get("units")
    return LeadStep(int(size) if size == int(size) else size, unit) if unit in UNITS else None
