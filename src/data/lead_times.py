"""Lead times in the units of a record: minutes, hours, days or months."""

from dataclasses import dataclass

import numpy as np

from src.formats.cf.frequency import Months, Step
from src.formats.writers import UNITS, in_longest_unit


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
