"""How a file of frames is to be read, where that is not left to the file."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class ReadOptions:
    """What to look for in a file, and how to take it; None: what the file itself says.

    Args:
        variable: name of the variable that holds the values.
        group: the group of a NetCDF file or Zarr store that holds the variable.
        time: name of the time axis.
        latitude: name of the latitude, or of the rows.
        longitude: name of the longitude, or of the columns.
        time_from_name: the pattern, as of strptime, by which a file's name says its time.
        nodata: values that stand for missing ones, as the file stores them.
        axes: the order of an array's axes, such as NTHW.
    """

    variable: str | None = None
    group: str | None = None
    time: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    time_from_name: str | None = None
    nodata: tuple[float, ...] | None = None
    axes: str | None = None

    @classmethod
    def of(cls, settings):
        """The options among the attributes of a `DataConfig`, or of another object."""
        return cls(**{f.name: getattr(settings, f.name) for f in dataclasses.fields(cls)})
