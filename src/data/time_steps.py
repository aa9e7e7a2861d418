"""The time steps of a record: which rule they follow, and which frames are in a row by it."""

from dataclasses import dataclass

import numpy as np

from src.errors import InputError
from src.formats.cf import frequency
from src.formats.cf.times import as_numbers, is_dated, time_order


@dataclass(frozen=True)
class TimeSteps:
    """The frames of a record in order of time.

    Args:
        order: the numbers of the frames in order of time, without duplicates.
        segments: the number of the segment that each of them belongs to, ascending. Within one all
            steps are the record's.
        frequency: the rule of the times; None if there are none, or a single one.
        gaps, short_steps, duplicates: the numbers of steps that are too long, of those that are too
            short, and of frames that were dropped.
        long_steps: the number of steps longer than 1.5 median ones, as fingerprints count gaps.
    """

    order: np.ndarray
    segments: np.ndarray
    frequency: object = None
    gaps: int = 0
    short_steps: int = 0
    duplicates: int = 0
    long_steps: int = 0

    def counts(self):
        """How many steps and frames are unusual, in words; "" if none are."""
        counts = {"gaps": self.gaps, "short steps": self.short_steps, "duplicates": self.duplicates}
        found = [f"{n} {name if n > 1 else name[:-1]}" for name, n in counts.items() if n]
        return f"{' and '.join(found)} in time" if found else ""


def time_steps(times, known, path):
    """The `TimeSteps` of the frames at some times.

    Args:
        times: (T,), in any order.
        known: the frequency that a network was trained with, as a text, or None.
        path: the record, for messages.

    Raises:
        InputError: the times follow no rule, or another one than is known.
    """
    numbers = as_numbers(times)
    order, has_duplicate, long_steps = time_order(numbers)
    times, steps = times[order], np.diff(numbers[order])
    rule = _rule_of(times, steps, known and frequency.parse(known), path)
    duplicates = len(numbers) - len(order)
    if not len(steps):
        return TimeSteps(order, np.zeros(1, int), rule, duplicates=duplicates)
    regular = rule.regular(times)
    usual = np.median(steps[regular] if regular.any() else steps)
    gaps = int((~regular & (steps > usual)).sum())
    # It is unknown which of two frames at the same time is right, so the segment ends there.
    segments = np.concatenate(([0], np.cumsum(~regular | has_duplicate[:-1])))
    short = int((~regular).sum()) - gaps
    return TimeSteps(order, segments, rule, gaps, short, duplicates, long_steps)


def _rule_of(times, steps, known, path):
    """The rule of a series of times: the known one where most follow it, else their own."""
    if known and (not len(steps) or known.regular(times).mean() > 0.5):
        return known
    found = frequency.find(times)
    if found is None and len(steps) and not known:
        unit = " s" if is_dated(times) else ""
        raise InputError(
            f"{path}: its times follow no rule: steps are from {steps.min():g}{unit} to "
            f"{steps.max():g}{unit}, and no step is that of most frames; bring the frames to "
            "one step, or leave the time coordinate out, and they count as evenly spaced"
        )
    if found and known and not known.is_like(found):
        raise InputError(
            f"{path}: its step is {found}, and the network was trained with {known}: its forecast "
            "would be of other lead times",
            any_step="--any_step goes on with the file's own",
        )
    return found or known
