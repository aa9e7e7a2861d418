"""Metadata of a record's frames: names, coordinates, times, units."""

from dataclasses import dataclass, field, replace

import numpy as np

# A time step longer than this many median steps is a gap; months differ in length by less.
GAP = 1.5


@dataclass(frozen=True)
class Axis:
    """A coordinate: its values along one or more dimensions, with its attributes."""

    dims: tuple[str, ...]
    values: np.ndarray
    attributes: dict = field(default_factory=dict)

    def equals(self, other):
        """Whether another axis has the same values, NaN included."""
        if self.values.shape != other.values.shape:
            return False
        same = (self.values == other.values) | (
            (self.values != self.values) & (other.values != other.values)
        )
        return bool(np.all(same))


@dataclass(frozen=True)
class Grid:
    """The metadata of a record; the defaults are for files that have none.

    Args:
        variable: name of the variable that holds the values.
        dims: names of the dimensions (T, C, H, W); C's is None if the files have no such dimension.
        units: units of the values, or None.
        attributes: attributes of the variable.
        coordinates: an `Axis` by name for each coordinate that does not change with time.
        scalars: an `Axis` without dimensions for each scalar coordinate, a height for example.
        referenced: an `Axis` by name for each variable that attributes of the variable and of its
            coordinates refer to: grid mappings and bounds.
        time_name: name of the time coordinate.
        time_attributes: attributes of the time coordinate, with its "units" and "calendar".
    """

    variable: str = "values"
    dims: tuple[str | None, ...] = ("time", None, "y", "x")
    units: str | None = None
    attributes: dict = field(default_factory=dict)
    coordinates: dict = field(default_factory=dict)
    scalars: dict = field(default_factory=dict)
    referenced: dict = field(default_factory=dict)
    time_name: str = "time"
    time_attributes: dict = field(default_factory=dict)

    def difference(self, other):
        """How another grid differs from this one, in words; "" if it does not."""
        if self.units != other.units:
            return f"units {other.units}, not {self.units}"
        for name, axis in self.coordinates.items():
            other_axis = other.coordinates.get(name)
            if other_axis is None or not np.array_equal(axis.values, other_axis.values):
                return f"other values of {name}"
        return ""

    def shared_with(self, others):
        """This grid with those scalar coordinates alone that all other grids have too."""
        scalars = {
            name: axis
            for name, axis in self.scalars.items()
            if all(name in o.scalars and axis.equals(o.scalars[name]) for o in others)
        }
        return replace(self, scalars=scalars)


def time_order(numbers):
    """Sorts frames by time, drops duplicates, and divides the rest into segments without gaps.

    Args:
        numbers: (T,), the times of the frames as numbers, in any order.

    Returns:
        The indices of the remaining frames in order of time; the number of the segment that each
        belongs to, ascending; the number of duplicates; and the number of gaps. Of frames at the
        same time only the first remains, and its segment ends with it.
    """
    order = np.argsort(numbers, kind="stable")
    steps = np.diff(numbers[order])
    first = np.concatenate(([True], steps > 0))
    remaining = order[first]
    has_duplicate = np.concatenate((~first[1:], [False]))[first]
    steps = np.diff(numbers[remaining])
    gaps = steps > GAP * np.median(steps) if len(steps) else np.zeros(0, bool)
    # It is unknown which of two frames at the same time is right, so the segment ends there.
    breaks = gaps | has_duplicate[:-1]
    segments = np.concatenate(([0], np.cumsum(breaks)))
    return remaining, segments, len(order) - len(remaining), int(gaps.sum())
