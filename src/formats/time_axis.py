"""Continuation of a series of times, by a fixed step or by months, which differ in length."""

import numpy as np


def times_after(times, count):
    """The times that follow a regular series.

    Args:
        times: (T,), at least two: datetime64, cftime objects, or numbers.
        count: number of times to return.

    Returns:
        (count,), of the same kind. A monthly series continues by months: after the middle of a
        month comes the middle of the next.
    """
    ahead = np.arange(1, count + 1)
    if times.dtype.kind == "M":
        times = times.astype("datetime64[us]")
    months = _month_step(times)
    if months:
        return np.array([_in_month(times[-1], months * k) for k in ahead], times.dtype)
    steps = np.diff(times)
    return times[-1] + np.sort(steps)[len(steps) // 2] * ahead


def _month_step(times):
    """The step in months; 0 if it is not a whole number of months, or all steps have one length."""
    if times.dtype.kind not in "MO":
        return 0
    numbers = np.array([_month_of(time) for time in times])
    steps = np.diff(numbers)
    even = len(set(np.diff(times).tolist())) == 1 and len(times) > 2
    return int(steps[0]) if steps[0] > 0 and (steps == steps[0]).all() and not even else 0


def _month_of(time):
    """The number of months since year 0."""
    if isinstance(time, np.datetime64):
        return int(time.astype("datetime64[M]").astype(int)) + 12 * 1970
    return 12 * time.year + time.month - 1


def _in_month(time, months):
    """The time some months later, at the same fraction of its month."""
    number = _month_of(time)
    begin, end = (_begin_of_month(time, number + k) for k in (0, 1))
    later, last = (_begin_of_month(time, number + months + k) for k in (0, 1))
    return later + (last - later) * ((time - begin) / (end - begin))


def _begin_of_month(like, number):
    year, month = divmod(number, 12)
    if isinstance(like, np.datetime64):
        return np.datetime64(f"{year:04d}-{month + 1:02d}-01", "us")
    return type(like)(year, month + 1, 1)
