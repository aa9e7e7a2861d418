"""The dates at which the splits of a record begin, in the calendar of its times."""

import re

import numpy as np

from src.errors import InputError
from src.formats.cf.times import as_numbers, is_dated

DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d))?)?Z?)?")
NAMES = ("validate_from", "test_from")
UNITS = ("year", "month", "day", "hour", "minute", "second")


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
