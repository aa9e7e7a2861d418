"""Metadata of a record's frames: names, coordinates, times, units."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Axis:
    """A coordinate: its values along one or more dimensions, with its attributes."""

    dims: tuple[str, ...]
    values: np.ndarray
    attributes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """The metadata of a record; the defaults are for files that have none.

    Args:
        variable: name of the variable that holds the values.
        dims: names of the dimensions (T, C, H, W); C's is None if the files have no such dimension.
        units: units of the values, or None.
        attributes: attributes of the variable.
        coordinates: an `Axis` by name for each coordinate that does not depend on time.
        time_name: name of the time coordinate.
        time_attributes: attributes of the time coordinate, with its "units" and "calendar".
        time_note: what was assumed to read the times, or None.
    """

    variable: str = "values"
    dims: tuple[str | None, ...] = ("time", None, "y", "x")
    units: str | None = None
    attributes: dict = field(default_factory=dict)
    coordinates: dict = field(default_factory=dict)
    time_name: str = "time"
    time_attributes: dict = field(default_factory=dict)
    time_note: str | None = None

    def difference(self, other):
        """How another grid differs from this one, in words; "" if it does not."""
        if self.units != other.units:
            return f"units {other.units}, not {self.units}"
        for name, axis in self.coordinates.items():
            other_axis = other.coordinates.get(name)
            if other_axis is None or not np.array_equal(axis.values, other_axis.values):
                return f"other values of {name}"
        return ""
