"""The roles of an array's dimensions: time, channels, rows and columns.

cf_xarray finds them by the CF conventions: by attributes, else by the usual names of coordinates.
Dimensions without a coordinate go by the usual names of dimensions.
"""

import re

from src.errors import InputError
from src.formats.cf.grid import Axis, Grid

# Coordinates that are no level: of place and of time.
PLACE = re.compile(r"degrees?_?(n|e|north|east)$|.* since ", re.I)
PERIODS = re.compile(r"(s|secs?|seconds?|min(ute)?s?|h|hrs?|hours?|d|days?|months?|years?)$", re.I)
# Names of levels that may have no units.
LEVELS = re.compile(
    r"(p?lev(els?)?|pressure(_level)?|height|altitude|depth|number|realization)$", re.I
)
# Names of dimensions, in lower case: of time, of rows and columns, and of what is seen at a place.
TIME = re.compile(r"t|times?|valid_?time|date_?time|dates?|time_?steps?|time_?counter|xtime")
ROWS = re.compile(
    r"(.*_)?[rgn]?lat(itude)?s?(_?\d+)?|n?y[ct]?(_?\d+|_?dim|_?pos)?|n?j|n?_?rows?|south_north"
    r"|northing|h|projection_y_coordinate"
)
COLUMNS = re.compile(
    r"(.*_)?[rgn]?lon(gitude)?s?(_?\d+)?|n?x[ct]?(_?\d+|_?dim|_?pos)?|n?i|n?_?col(umn)?s?|west_east"
    r"|easting|w|width|projection_x_coordinate"
)
CHANNELS = re.compile(
    r"(.*_)?(n?bands?|chan(nel)?s?|[op]?lev(el)?s?|z|depth|height|altitude|pressure|isobaric\w*"
    r"|bottom_top|sigma|wave_?lengths?|variables?|features?|species)(_?\d+)?"
)
MEMBERS = re.compile(r"number|(ens(emble)?_?)?members?|ensemble|realization")
# A second time of forecasts: since when, or how far ahead.
LEADS = re.compile(r"steps?|leads?|lead_?times?|forecast_\w+|reference_time|init(_?time)?|fhour")
LEAD_NAMES = ("forecast_period", "forecast_reference_time")
# The dimension by which ERA5 tells final values, 1, from preliminary ones, 5.
VERSIONS = "expver"


class Axes:
    """The roles of an array's dimensions: by the given names, else by the CF conventions.

    `dims` are the dimensions of time, channels, rows and columns, of which the first two may be
    None; `squeezed` those of one entry that have no role; `versions` one of which each frame has
    values at a single entry, or None.

    Args:
        array: the DataArray.
        options: the `ReadOptions` of the file.
        path: the file.
        frame_time: function that returns the time of the file's only frame, its name and a
            Variable of one value, or None if it is unknown.

    Raises:
        InputError: there is no time, or it remains open which dimension has which role.
    """

    def __init__(self, array, options, path, frame_time):
        self.array = array
        self.path = path
        self.options = options
        self.time = self._find_time(frame_time)
        time = [dim for dim in self._dims_of(self.time) if dim in array.dims] if self.time else []
        time = [dim for dim in time if array.sizes[dim] > 1] or time[:1]
        self.frame_time = None if time and not options.time_from_name else frame_time()
        if len(time) > 1 or (not time and self.frame_time is None):
            raise InputError(
                f"{path}: {array.name} has no time axis; its dimensions are {self._names()}",
                time="name it with --time",
                time_from_name="--time_from_name takes the time of a file's only frame from its "
                "name",
            )
        if options.time_from_name and time and array.sizes[time[0]] > 1:
            raise InputError(
                f"{path}: {array.name} has {array.sizes[time[0]]} frames, and a file's name says "
                "the time of one (time_from_name)"
            )
        space = self._space(time)
        others = [dim for dim in array.dims if dim not in (*time, *space)]
        long = [dim for dim in others if array.sizes[dim] > 1]
        self.versions = next((dim for dim in long if str(dim).lower() == VERSIONS), None)
        channels = [dim for dim in long if dim != self.versions]
        self._check_channels(time, channels)
        self.dims = (time[0] if time else None, channels[0] if channels else None, *space)
        self.squeezed = {dim: 0 for dim in others if dim not in long}

    def _names(self):
        return ", ".join(map(str, self.array.dims))

    def _find_time(self, frame_time):
        """The name of the coordinate or dimension of time, or None."""
        array, given = self.array, self.options.time
        known = given is None or given in array.dims or given in array.coords
        if not known and frame_time() is not None:
            return None
        found = self._one("time", "T", given)
        if found is not None:
            return found
        named = self._named(array.dims, TIME)
        return named[0] if len(named) == 1 else None

    def _is_named(self, dim, pattern):
        return pattern.fullmatch(str(dim).lower()) is not None

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
        """The dimensions of rows and columns: by latitude and longitude, by the dimensions' names,
        else those two that remain beside time and channels.
        """
        found = []
        for role, letter in (("latitude", "Y"), ("longitude", "X")):
            name = self._one(role, letter, getattr(self.options, role))
            found += [self._dims_of(name) if name else ()]
        latitude, longitude = ([dim for dim in dims if dim not in time] for dims in found)
        if len(latitude) == len(longitude) == 1 and latitude != longitude:
            return latitude[0], longitude[0]
        if len(latitude) == 2:
            return tuple(latitude)
        rest = [dim for dim in self.array.dims if dim not in time]
        if len(rest) < 2:
            raise InputError(
                f"{self.path}: {self.array.name} has no rows and columns; its dimensions are "
                f"{self._names()}"
            )
        return self._space_by_names(rest, latitude, longitude)

    def _space_by_names(self, rest, latitude, longitude):
        """Rows and columns among some dimensions, of which one at most is known."""
        rows = latitude if len(latitude) == 1 else self._named(rest, ROWS)
        columns = longitude if len(longitude) == 1 else self._named(rest, COLUMNS)
        if not rows and self._named(rest, re.compile("width")):
            rows = self._named(rest, re.compile("height"))
        if len(rest) > 2:
            rest = [d for d in rest if d in (*rows, *columns) or not self._is_beside(d)]
        if len(rest) > 2:
            rest = [d for d in rest if self.array.sizes[d] > 1 or d in (*rows, *columns)]
        if len(rows) == len(columns) == 1 and rows != columns:
            return rows[0], columns[0]
        if len(rest) == 2:
            known = rows[0] == rest[1] if len(rows) == 1 else columns == rest[:1]
            return tuple(rest[::-1] if known else rest)
        raise InputError(
            f"{self.path}: {self.array.name} has the dimensions {self._names()}, and neither "
            "attributes nor names say which are rows and columns",
            latitude="name them with --latitude and --longitude",
        )

    def _named(self, dims, pattern):
        return [dim for dim in dims if self._is_named(dim, pattern)]

    def _check_channels(self, time, channels):
        """Raises `InputError` unless the dimensions that remain can be those of channels."""
        array = self.array
        for dim in channels:
            if self._is_lead(dim):
                raise InputError(
                    f"{self.path}: {array.name} has two axes of time, {self.time} and {dim}: the "
                    "frames follow one of them, and of the other the file may have one entry",
                    time="name that of the frames with --time",
                )
            if not time and not self._is_beside(dim):
                raise InputError(
                    f"{self.path}: {array.name} has the dimensions {self._names()}, and it remains "
                    f"open what {dim} is: channels are called channel, band or level",
                    time="name it with --time if it is the time",
                )
        if len(channels) > 1:
            raise InputError(
                f"{self.path}: {array.name} has the dimensions {self._names()}; "
                "besides time, latitude and longitude there may be one, for channels: keep one "
                f"entry of {' or '.join(map(str, channels))}"
            )

    def _is_lead(self, dim):
        attributes = self.array[dim].attrs if dim in self.array.coords else {}
        name = attributes.get("standard_name")
        is_time = name == "time" or self._is_named(dim, TIME)
        return is_time or name in LEAD_NAMES or self._is_named(dim, LEADS)

    def _is_beside(self, dim):
        return self.is_channels(dim) or self._is_named(dim, MEMBERS)

    def is_channels(self, dim):
        """Whether a dimension's name or attributes say that it is one of channels or levels."""
        vertical = self.array.cf.axes.get("Z", []) + self.array.cf.coordinates.get("vertical", [])
        return dim in vertical or self._is_named(dim, CHANNELS)

    def times(self):
        """The times as the file has them, (T,), or None if it has none."""
        _, times = self._times()
        return None if times is None else times.values.reshape(-1)

    def _times(self):
        """Name and values of the time, the latter a Variable or None."""
        if self.frame_time is not None:
            return self.frame_time
        coordinates = self.array.coords
        return self.time, coordinates[self.time].variable if self.time in coordinates else None

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
        (name, times), attributes, note = self._times(), {}, None
        if times is not None:
            note = times.encoding.get("assumed")
            encoding = {k: v for k, v in times.encoding.items() if k in ("units", "calendar")}
            attributes = dict(times.attrs) | encoding
        axes = {str(n): self._axis(c) for n, c in fixed.items() if n != name}
        for each, axis in axes.items():
            if "axis" not in dataset[each].attrs:
                # Guessed by a name such as x, which need not be of a projection.
                axis.attributes.pop("axis", None)
        units = self.array.attrs.get("units")
        dims = [dim and str(dim) for dim in self.dims]
        dims[0] = dims[0] or str(name)
        return Grid(
            variable=str(variable),
            dims=tuple(dims),
            units=None if units is None else str(units),
            attributes=_attributes(self.array),
            coordinates={name: axis for name, axis in axes.items() if axis.dims},
            scalars={name: axis for name, axis in axes.items() if not axis.dims},
            referenced=referenced,
            time_name=str(name),
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
            is_place = has_role(variable.attrs, "latitude", "longitude")
            if is_place and set(variable.dims) <= set(self.array.dims):
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
        array, (time, channels, *_) = self.array, self.dims
        vertical = array.cf.axes.get("Z", []) + array.cf.coordinates.get("vertical", [])
        found = {}
        for name, c in array.coords.items():
            units = str(c.attrs.get("units", "")).strip()
            is_named = name in vertical or LEVELS.match(str(name))
            if is_named and c.dims == (time,) and (c.values == c.values[0]).all():
                c = c[0]
            has_place = set(c.dims) & set(self.dims) - {channels}
            if has_place or c.ndim > 1 or c.dtype.kind not in "iuf" or PLACE.match(units):
                continue
            has_units = units not in ("", "1") and not PERIODS.match(units)
            if has_units or channels in c.dims or is_named:
                found[str(name)] = Axis(tuple(map(str, c.dims)), c.values, dict(c.attrs))
        return found


def single_time(variables, path):
    """The name of the variable that says the time of a file's only frame, or None.

    Args:
        variables: variables of one value, by name.
        path: the file.

    Raises:
        InputError: there are several.
    """
    attributes = {name: variable.attrs for name, variable in variables.items()}
    names = [n for n, of in attributes.items() if of.get("standard_name") not in LEAD_NAMES]
    plain = [n for n in names if not LEADS.fullmatch(str(n).lower())]
    for found in (
        [n for n in names if attributes[n].get("standard_name") == "time"],
        [n for n in names if attributes[n].get("axis") == "T"],
        [n for n in names if TIME.fullmatch(str(n).lower())],
        [n for n in plain if " since " in str(attributes[n].get("units"))],
    ):
        if len(found) > 1:
            raise InputError(
                f"{path}: has several times of its frame: {', '.join(map(str, found))}",
                time="name one with --time",
            )
        if found:
            return found[0]
    return None


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


def has_role(attributes, *roles):
    """Whether attributes say that a variable is a coordinate of one of some roles, of cf_xarray."""
    from cf_xarray.criteria import coordinate_criteria

    return any(
        str(attributes.get(name)) in values
        for role in roles
        for name, values in coordinate_criteria[role].items()
    )
