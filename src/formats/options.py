"""How a file of frames is to be read, where that is not left to the file."""

import dataclasses
import datetime
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.errors import InputError

# What the directives of strptime match in the name of a file.
DIRECTIVES = {
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%m": r"\d{2}",
    "%d": r"\d{2}",
    "%j": r"\d{3}",
    "%H": r"\d{2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%f": r"\d{1,6}",
    "%b": r"[^\W\d_]{3}",
    "%B": r"[^\W\d_]{3,}",
    "%%": "%",
}


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
        values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    def time_in_name(self, path):
        """The time that a file's name says, a datetime64, by the pattern `time_from_name`.

        The pattern is that of a part of the name; digits beside that part do not belong to it.

        Raises:
            InputError: the name does not have the pattern, has it twice, or holds no such time.
        """
        name, pattern = Path(path).name, self.time_from_name
        parts = re.split(r"(%.)", pattern)
        unknown = next((part for part in parts[1::2] if part not in DIRECTIVES), None)
        if unknown or not {"%Y", "%y"} & set(parts):
            raise InputError(
                f"time_from_name is {pattern!r}: it has {unknown or 'no year'}; it is made of "
                f"{' '.join(DIRECTIVES)} and plain text, with a year"
            )
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = [DIRECTIVES[part] for part in parts[1::2]]
        found = set(re.findall(rf"(?<!\d){''.join(parts)}(?!\d)", name))
        if len(found) != 1:
            what = "several times" if found else "no time"
            raise InputError(
                f"{path}: its name has {what} of the pattern {pattern!r} (time_from_name); digits "
                "before and after it belong to the pattern too"
            )
        try:
            time = datetime.datetime.strptime(found.pop(), pattern)
        except ValueError as error:
            raise InputError(f"{path}: time_from_name {pattern!r}: {error}") from None
        return np.datetime64(time, "us")
