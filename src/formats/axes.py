"""The roles of an array's dimensions: time, channels, rows and columns.

cf_xarray finds them by the CF conventions: by attributes, else by the usual names.
"""

import re

from src.errors import InputError
from src.formats.grid import Axis, Grid

# Coordinates that are no level: of place and of time.
PLACE = re.compile(r"degrees?_?(n|e|north|east)$|.* since ", re.I)
PERIODS = re.compile(r"(s|secs?|seconds?|min(ute)?s?|h|hrs?|hours?|d|days?|months?|years?)$", re.I)
# Names of levels that may have no units.
LEVELS = re.compile(
    r"(p?lev(els?)?|pressure(_level)?|height|altitude|depth|number|realization)$", re.I
)


class Axes:
    """The roles of an array's dimensions: by the given names, else by the CF conventions."""

    def __init__(self, array, options, path):
        self.array = array
        self.path = path
        self.options = options
        self.time = self._one("time", "T", options.time)
        time = self._dims_of(self.time) if self.time else ()
        if len(time) != 1:
            raise InputError(
                f"{path}: {array.name} has no time axis; its dimensions are "
                f"{', '.join(map(str, array.dims))}",
                time="name it with --time",
            )
        space = self._space(time[0])
        others = [dim for dim in array.dims if dim not in (*time, *space)]
        channels = [dim for dim in others if array.sizes[dim] > 1]
        if len(channels) > 1:
            raise InputError(
                f"{path}: {array.name} has the dimensions {', '.join(map(str, array.dims))}; "
                "besides time, latitude and longitude there may be one, for channels"
            )
        self.dims = (time[0], channels[0] if channels else None, *space)
        self.squeezed = {dim: 0 for dim in others if dim not in channels}

    def _one(self, role, letter, given):
        """The name of the coordinate or dimension that has a role, or None."""
        array = self.array
        if given is not None:
            if given in array.dims or given in array.coords:
                return given
            available = ", ".join(map(str, dict.fromkeys([*array.coords, *array.dims])))
            raise InputError(
                f"{self.path}: {array.name} has no {role} {given!r}; there are: {available}"
            )
        found = array.cf.coordinates.get(role, []) + array.cf.axes.get(letter, [])
        found = sorted((n for n in found if array[n].ndim), key=lambda n: n not in array.dims)
        return next(iter(found), role if role in array.dims else None)

    def _dims_of(self, name):
        return self.array[name].dims if name in self.array.coords else (name,)

    def _space(self, time):
        """The dimensions of rows and columns: latitude's and longitude's, else the last two."""
        found = []
        for role, letter in (("latitude", "Y"), ("longitude", "X")):
            name = self._one(role, letter, getattr(self.options, role))
            found += [self._dims_of(name) if name else ()]
        latitude, longitude = ([dim for dim in dims if dim != time] for dims in found)
        if len(latitude) == len(longitude) == 1 and latitude != longitude:
            return latitude[0], longitude[0]
        if len(latitude) == 2:
            return tuple(latitude)
        rest = [dim for dim in self.array.dims if dim != time]
        if len(rest) < 2:
            raise InputError(
                f"{self.path}: {self.array.name} has no rows and columns; its dimensions are "
                f"{', '.join(map(str, self.array.dims))}"
            )
        return tuple(rest[-2:])

    def times(self):
        """The times as the file has them, (T,), or None if it has none."""
        if self.time not in self.array.coords:
            return None
        return self.array[self.time].values

    def grid(self, variable):
        """The `Grid` of a variable."""
        array, time = self.array, self.dims[0]
        coordinates = {
            str(name): Axis(tuple(map(str, c.dims)), c.values, dict(c.attrs))
            for name, c in array.coords.items()
            if time not in c.dims and c.ndim
        }
        times = array[self.time] if self.time in array.coords else None
        attributes, note = {}, None
        if times is not None:
            note = times.encoding.get("assumed")
            encoding = {k: v for k, v in times.encoding.items() if k in ("units", "calendar")}
            attributes = dict(times.attrs) | encoding
        dims = tuple(dim and str(dim) for dim in self.dims)
        units = array.attrs.get("units")
        return Grid(
            str(variable),
            dims,
            units,
            dict(array.attrs),
            coordinates,
            str(self.time),
            attributes,
            note,
            self._levels(),
        )

    def _levels(self):
        """The coordinates that say at which level, or the like, the values are, by name."""
        array, channels = self.array, self.dims[1]
        vertical = array.cf.axes.get("Z", []) + array.cf.coordinates.get("vertical", [])
        found = {}
        for name, c in array.coords.items():
            units = str(c.attrs.get("units", "")).strip()
            has_place = set(c.dims) & set(self.dims) - {channels}
            if has_place or c.ndim > 1 or c.dtype.kind not in "iuf" or PLACE.match(units):
                continue
            has_units = units not in ("", "1") and not PERIODS.match(units)
            if has_units or channels in c.dims or name in vertical or LEVELS.match(str(name)):
                found[str(name)] = Axis(tuple(map(str, c.dims)), c.values, dict(c.attrs))
        return found
