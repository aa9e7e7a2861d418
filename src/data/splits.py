"""Training, validation and test: how sequences are divided at random, and a record by time."""

import re
from dataclasses import dataclass

import numpy as np

from src.errors import InputError
from src.formats.cf.times import as_numbers, is_dated

SPLITS = ("train", "validation", "test")
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d))?)?Z?)?")
NAMES = ("validate_from", "test_from")
UNITS = ("year", "month", "day", "hour", "minute", "second")


@dataclass(frozen=True)
class Split:
    """The random split of a file's sequences into training, validation and test."""

    held_out: float
    seed: int

    def sizes(self, count):
        """The number of sequences in each of `SPLITS`; validation and test have at least 1."""
        held_out = max(1, min(round(self.held_out * count), (count - 1) // 2))
        return count - 2 * held_out, held_out, held_out

    def indices(self, count, split):
        """The indices in the file of a split's sequences."""
        order = np.random.default_rng(self.seed).permutation(count)
        ends = np.cumsum(self.sizes(count))
        k = SPLITS.index(split)
        return order[ends[k] - self.sizes(count)[k] : ends[k]]


def split_by_time(steps, window, held_out):
    """The frames of each split, a dict of ranges, with a gap of one window between two splits.

    Args:
        steps: number of frames in the record.
        window: number of frames in a window.
        held_out: fraction of the frames for validation, and the same again for testing. Each split
            has at least one window.

    Raises:
        ValueError: the record is shorter than five windows.
    """
    if steps < 5 * window:
        raise ValueError(f"{steps} frames are fewer than five windows of {window}")
    held = min(max(window, round(held_out * steps)), (steps - 3 * window) // 2)
    test, validation = steps - held, steps - 2 * held - window
    splits = (0, validation - window), (validation, validation + held), (test, steps)
    return {name: range(*split) for name, split in zip(SPLITS, splits, strict=True)}


def check_dates(validate_from, test_from):
    """Raises `InputError` unless both dates are given, or none, and are in order."""
    texts = (validate_from, test_from)
    given = [name for name, text in zip(NAMES, texts, strict=True) if text is not None]
    if len(given) == 1:
        (other,) = set(NAMES) - set(given)
        raise InputError(f"{given[0]} is given without {other}: a record needs both or none")
    if given and not _parts(NAMES[0], validate_from) < _parts(NAMES[1], test_from):
        raise InputError(
            f"validate_from is {validate_from}, and test_from {test_from}: the validation split "
            "comes first in time"
        )


def split_from(record, dates, window):
    """The frames of each split, a dict of ranges: validation and test begin at two dates, with a
    gap of one window before each.

    Args:
        record: the `Record`.
        dates: validate_from and test_from, as texts.
        window: number of frames in a window.

    Raises:
        InputError: the times have no dates, or a date is outside of them or not in their calendar.
    """
    times, path = record.times, record.path
    if times is None or not is_dated(times):
        raise InputError(
            f"{path}: has no times with dates, and validate_from is {dates[0]}: leave it and "
            "test_from out; held_out then says how much is for validation and test"
        )
    numbers, begins = as_numbers(times), []
    for name, text in zip(NAMES, dates, strict=True):
        number = as_numbers(np.array([_date(name, text, times, path)]))[0]
        if not numbers[0] <= number <= numbers[-1]:
            raise InputError(
                f"{path}: {name} is {text}, outside of the record, which reaches from "
                f"{record.describe(range(len(times)))}"
            )
        begins.append(int(np.searchsorted(numbers, number)))
    validation, test = begins
    return {
        "train": range(max(0, validation - window)),
        "validation": range(validation, max(validation, test - window)),
        "test": range(test, len(times)),
    }


def _parts(name, text):
    """(year, month, day, hour, minute, second) of a date in ISO 8601."""
    match = DATE.fullmatch(text)
    if not match:
        raise InputError(
            f"{name} is {text!r}: it must be a date such as 2010-08-26 or 2010-08-26T06:30, in the "
            "time zone of the record"
        )
    return tuple(int(part or 0) for part in match.groups())


def _date(name, text, times, path):
    """A date of the kind that the times are of."""
    parts = _parts(name, text)
    try:
        if times.dtype.kind == "M":
            return np.datetime64("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts))
        return times[0].replace(**dict(zip(UNITS, parts, strict=True)), microsecond=0)
    except ValueError:
        calendar = "standard" if times.dtype.kind == "M" else times[0].calendar
        raise InputError(
            f"{path}: {name} is {text}, which is no date of the calendar {calendar}"
        ) from None
