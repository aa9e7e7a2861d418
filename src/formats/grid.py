"""What a source says of its frames beside their values: names, coordinates, times, units."""

from dataclasses import dataclass, field

import numpy as np

# A step in time that is longer than this many usual ones is a gap, and months differ by less.
GAP = 1.5


@dataclass(frozen=True)
class Axis:
    """A coordinate: its values along one or more dimensions, and its attributes."""

    dims: tuple[str, ...]
    values: np.ndarray
    attributes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """The description that every kind of record has; empty where its files say nothing.

    Args:
        variable: name of the values.
        dims: names of the dimensions of (T, C, H, W); C's is None where the files have no such.
        units: of the values, or None.
        attributes: of the variable.
        coordinates: `Axis` by name, of all that do not change with time.
        time_name: name of the coordinate of the times.
        time_attributes: with "units" and "calendar", as the files write the times.
    """

    variable: str = "values"
    dims: tuple[str | None, ...] = ("time", None, "y", "x")
    units: str | None = None
    attributes: dict = field(default_factory=dict)
    coordinates: dict = field(default_factory=dict)
    time_name: str = "time"
    time_attributes: dict = field(default_factory=dict)

    def difference(self, other):
        """What makes another grid another one, in words; "" where nothing does."""
        if self.units != other.units:
            return f"units {other.units}, not {self.units}"
        for name, axis in self.coordinates.items():
            theirs = other.coordinates.get(name)
            if theirs is None or not np.array_equal(axis.values, theirs.values):
                return f"another {name}"
        return ""


def time_order(numbers):
    """The order of frames in time, without duplicates, and where windows must not cross.

    Args:
        numbers: (T,), the times of the frames as numbers, in any order.

    Returns:
        The indices of the frames that are kept, in order; the segment that each belongs to, an
        ascending number; and how many duplicates were left out and gaps found. A frame whose time
        is there already is left out, and no segment goes on across its place.
    """
    order = np.argsort(numbers, kind="stable")
    steps = np.diff(numbers[order])
    first = np.concatenate(([True], steps > 0))
    kept = order[first]
    before_duplicate = np.concatenate((~first[1:], [False]))[first]
    steps = np.diff(numbers[kept])
    gaps = steps > GAP * np.median(steps) if len(steps) else np.zeros(0, bool)
    # A duplicate is a place to doubt: the segment ends with the frame whose time comes twice.
    breaks = gaps | before_duplicate[:-1]
    segments = np.concatenate(([0], np.cumsum(breaks)))
    return kept, segments, len(order) - len(kept), int(gaps.sum())
