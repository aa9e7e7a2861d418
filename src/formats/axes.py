"""The roles of an array's dimensions: time, channels, rows and columns.

cf_xarray finds them by the CF conventions: by attributes, else by the usual names.
"""

import re

from src.errors import InputError
from src.formats.grid import Axis, Grid

# As CF spells them, 4.1 and 4.2.
LATITUDE_UNITS = ("degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN")
LONGITUDE_UNITS = ("degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE")
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

    def grid(self, variable, dataset):
        """The `Grid` of a variable.

        Args:
            variable: its name.
            dataset: the Dataset of xarray that holds it as the file has it, and what its attributes
                refer to.
        """
        fixed = self._fixed_coordinates(dataset)
        names = [name for c in fixed.values() if (name := _attribute(c, "bounds"))]
        names += mapping_names(_attribute(self.array, "grid_mapping"))
        referenced = {
            name: self._axis(dataset[name]) for name in names if name in dataset.variables
        }
        times = self.array[self.time] if self.time in self.array.coords else None
        attributes, note = {}, None
        if times is not None:
            note = times.encoding.get("assumed")
            encoding = {k: v for k, v in times.encoding.items() if k in ("units", "calendar")}
            attributes = dict(times.attrs) | encoding
        axes = {str(name): self._axis(c) for name, c in fixed.items()}
        for name, axis in axes.items():
            if "axis" not in dataset[name].attrs:
                # Guessed by a name such as x, which need not be of a projection.
                axis.attributes.pop("axis", None)
        return Grid(
            variable=str(variable),
            dims=tuple(dim and str(dim) for dim in self.dims),
            units=self.array.attrs.get("units"),
            attributes=_attributes(self.array),
            coordinates={name: axis for name, axis in axes.items() if axis.dims},
            scalars={name: axis for name, axis in axes.items() if not axis.dims},
            referenced=referenced,
            time_name=str(self.time),
            time_attributes=attributes,
            time_note=note,
            levels=self._levels(),
        )

    def _fixed_coordinates(self, dataset):
        """The variables, by name, of all coordinates that do not change with time.

        Latitude and longitude are coordinates even where no attribute says so.
        """
        found = dict(self.array.coords)
        for name, variable in dataset.variables.items():
            if _is_of_globe(variable.attrs) and set(variable.dims) <= set(self.array.dims):
                found.setdefault(name, dataset[name])
        found.pop(self.time, None)
        return {name: c for name, c in found.items() if self._is_fixed(c)}

    def _is_fixed(self, coordinate):
        """Whether a coordinate has the same values at all times, as far as three of them show."""
        time = self.dims[0]
        if time not in coordinate.dims:
            return True
        if coordinate.ndim == 1:
            return False
        count = coordinate.sizes[time]
        first, *others = (
            Axis((), coordinate.isel({time: k}).values) for k in {0, count // 2, count - 1}
        )
        return all(map(first.equals, others))

    def _axis(self, variable):
        """The `Axis` of a variable at the first time, without the dimensions of size 1."""
        sizes = {self.dims[0]: 0, **self.squeezed}
        first = variable.isel({dim: k for dim, k in sizes.items() if dim in variable.dims})
        return Axis(tuple(map(str, first.dims)), first.values, _attributes(variable))

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


def mapping_names(text):
    """The names of variables in a `grid_mapping`: "crs", or "crs: x y other: lat lon"."""
    words = (text or "").split()
    return [word[:-1] for word in words if word.endswith(":")] or words[:1]


def _attribute(variable, name):
    """An attribute, which xarray may have moved to the encoding."""
    return variable.attrs.get(name, variable.encoding.get(name))


def _attributes(variable):
    """All attributes, with those that refer to other variables and that xarray decodes."""
    moved = {name: _attribute(variable, name) for name in ("bounds", "grid_mapping")}
    return dict(variable.attrs) | {name: value for name, value in moved.items() if value}


def _is_of_globe(attributes):
    """Whether attributes are of a latitude or a longitude."""
    of_name = attributes.get("standard_name") in ("latitude", "longitude")
    return of_name or attributes.get("units") in (*LATITUDE_UNITS, *LONGITUDE_UNITS)
