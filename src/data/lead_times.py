"""Lead times in the units of a record: minutes, hours, days or months."""

from dataclasses import dataclass

import numpy as np

from src.formats.writers import UNITS, in_longest_unit

# The shortest step that may be a month.
MONTH = np.timedelta64(28, "D")


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
    """The `LeadStep` of a dataset, or None if its record does not say how long a step is."""
    if source.times(0) is None:
        return None
    times = source.record_times()
    if len(times) < 2:
        return None
    if times.dtype.kind not in "MO":
        unit, steps = source.grid.time_attributes.get("units"), np.diff(times)
        return LeadStep(_plain(np.median(steps)), unit) if unit in UNITS else None
    steps = np.asarray(np.diff(times), "timedelta64[us]")
    step = np.sort(steps)[len(steps) // 2]
    if step >= MONTH:
        months = _months(times)
        if months:
            return LeadStep(months, "months")
    (size,), unit = in_longest_unit([step])
    return LeadStep(_plain(size), unit)


def _months(times):
    """The step in months of times whose steps are months; else 0."""
    if times.dtype.kind == "M":
        days, months = (times.astype(f"datetime64[{unit}]").astype(int) for unit in "DM")
        days = days - times.astype("datetime64[M]").astype("datetime64[D]").astype(int)
    else:
        days = np.array([time.day for time in times])
        months = np.array([12 * time.year + time.month for time in times])
    step = np.diff(months).min()
    return int(step) if (np.diff(months) % step == 0).all() and np.ptp(days) <= 3 else 0


def _plain(size):
    return int(size) if size == int(size) else float(size)
