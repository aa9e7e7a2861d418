"""Metadata of a record's frames: names, coordinates, times, units."""

import re
from dataclasses import dataclass, field, replace

import numpy as np

from src.formats.cf.units import UnitsError, converted, is_known, same_name

# Coordinates of two files are the same if they differ by less than this fraction of a pixel.
SAME_PLACE = 0.05
# Spacings that differ by more than this fraction are different ones.
SAME_SPACING = 0.05
NUMBER = r"(?:[-+]?\d[\d.]*(?:e[-+]?\d+)?|nan|[-+]?inf)"
QUANTITY = re.compile(rf"(?P<name>\S+)(?P<values>(?: {NUMBER})+)(?: (?P<units>.+))?$")
WATER = re.compile(
    r"precip|(?<!ter)(?<!t)rain|snow|drizzle|evapo|runoff|water|lwe_|\b(tp|pr)\b", re.I
)
ROLES = ("rows", "columns")
# What CF's cell_methods say of a value and its interval; of these an amount and a rate, or a mean
# and a value at one time, are still the same thing.
CELL_METHODS = re.compile(r"((?:\w+:\s+)+)(\w+)")
PLAIN_METHODS = ("mean", "point", "sum")
KILOMETRES_PER_DEGREE = 111.2


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
        time_note: what was assumed to read the times, or None.
        levels: an `Axis` by name for each coordinate that says at which level, or the like, the
            values are: scalars, and those along the channels.
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
    time_note: str | None = None
    levels: dict = field(default_factory=dict)

    @property
    def standard_name(self):
        """The variable's standard name, or None."""
        name = self.attributes.get("standard_name")
        return name if is_known(name) else None

    @property
    def cell_method(self):
        """What the values are of their intervals of time, such as "maximum", or None."""
        time = {self.time_name, self.dims[0], "time"}
        found = CELL_METHODS.findall(str(self.attributes.get("cell_methods", "")))
        return next((method for names, method in found if time & set(names.split(": "))), None)

    @property
    def is_water(self):
        """Whether the variable is named as rain, snow or other water."""
        names = (self.variable, self.standard_name, self.attributes.get("long_name"))
        return bool(WATER.search(" ".join(str(name) for name in names)))

    def identity(self, spacing=True):
        """What the values are, as an `Identity`, with or without their spacing."""
        levels = tuple(sorted(_in_words(name, axis) for name, axis in self.levels.items()))
        found = self._spacing() if spacing else None
        return Identity(self.variable, self.standard_name, levels, found, self.cell_method)

    def _spacing(self):
        """The spacing of rows and of columns in words, as far as it is known."""
        found = []
        for role, dim in zip(ROLES, self.dims[2:], strict=True):
            along = {n: axis for n, axis in self.coordinates.items() if axis.dims == (dim,)}
            along = {n: a for n, a in along.items() if _is_number(a) and len(a.values) > 1}
            for name in sorted(along, key=lambda n: n != dim)[:1]:
                step = np.median(np.diff(along[name].values.astype(np.float64)))
                found.append(_in_words(role, Axis((), step, along[name].attributes)))
        return tuple(found) or self._spacing_of_mesh()

    def _spacing_of_mesh(self):
        """The spacing in kilometres where latitude and longitude have two dimensions."""
        mesh = {n: a for n, a in self.coordinates.items() if a.dims == tuple(self.dims[2:])}
        found = [
            [
                a.values.astype(np.float64)
                for n, a in mesh.items()
                if _is_number(a) and part in n.lower()
            ]
            for part in ("lat", "lon")
        ]
        if [len(each) for each in found] != [1, 1] or min(found[0][0].shape) < 2:
            return ()
        (latitude,), (longitude,) = found
        east = np.cos(np.radians(latitude))
        steps = [
            np.nanmedian(np.hypot(np.diff(latitude, axis=k), np.diff(longitude, axis=k) * part))
            for k, part in enumerate((east[1:], east[:, 1:]))
        ]
        lengths = [KILOMETRES_PER_DEGREE * step for step in steps]
        return tuple(f"{r} {x:.5g} km" for r, x in zip(ROLES, lengths, strict=True))

    def difference(self, other):
        """How another file's grid differs from this one, in words; "" if it does not.

        Units are left out, because they may be converted.
        """
        if other is self:
            return ""
        different = self.identity(False).difference(other.identity(False))
        if different:
            return different
        for name, axis in self.coordinates.items():
            other_axis = other.coordinates.get(name) or other.in_place_of(self, axis)
            if axis is other_axis:
                continue
            if other_axis is None:
                return f"no coordinate {name}"
            if not _same_places(axis, other_axis):
                return f"other values of {name}"
        return self._other_mapping(other)

    def _other_mapping(self, other):
        """How the numbers in another's grid mapping differ, in words; "" if they do not."""
        for name in self.referenced.keys() & other.referenced.keys():
            others = other.referenced[name].attributes
            for key, value in self.referenced[name].attributes.items():
                pair = [np.asarray(each) for each in (value, others.get(key, value))]
                are_numbers = all(each.dtype.kind in "iuf" for each in pair)
                if are_numbers and not _all_close(*pair):
                    return f"{name} with {key} {others[key]}, not {value}"
        return ""

    def shared_with(self, others):
        """This grid with those scalar coordinates alone that all other grids have too."""
        scalars = {
            name: axis
            for name, axis in self.scalars.items()
            if all(name in o.scalars and axis.equals(o.scalars[name]) for o in others)
        }
        return replace(self, scalars=scalars)

    def in_place_of(self, other, axis):
        """The coordinate along the dimensions that have the roles of those of another grid's."""
        dims = tuple(self.dims[other.dims.index(dim)] for dim in axis.dims if dim in other.dims)
        found = [each for each in self.coordinates.values() if each.dims == dims]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Identity:
    """What values are; None, or nothing: unknown.

    Args:
        variable: name of the variable.
        standard_name: its name in the CF table.
        levels: its levels in words, such as "pressure 500 hPa".
        spacing: the spacing of rows and of columns in words, such as "rows -0.25 degrees_north".
        cell_method: what the values are of their intervals of time, such as "maximum".
    """

    variable: str | None = None
    standard_name: str | None = None
    levels: tuple[str, ...] | None = None
    spacing: tuple[str, ...] | None = None
    cell_method: str | None = None

    def difference(self, other):
        """How another's variable, standard name, method or levels differ, in words; "" if not
        known to.
        """
        if not self._has_same_variable(other):
            return f"{other._named()}, not {self._named()}"
        methods = [each.cell_method for each in (other, self)]
        are_plain = all(method in PLAIN_METHODS for method in methods)
        if None not in methods and methods[0] != methods[1] and not are_plain:
            return "the {} over each interval of time, not the {}".format(*methods)
        pairs = _pairs(self.levels, other.levels)
        return next((f"{b}, not {a}" for a, b in pairs if not _agree(a, b, 1e-5)), "")

    def other_spacing(self, other):
        """How another's spacing differs, in words; "" if not known to."""
        pairs = _pairs(self.spacing, other.spacing)
        return next((f"{b}, not {a}" for a, b in pairs if not _agree(a, b, SAME_SPACING)), "")

    def _has_same_variable(self, other):
        if self.standard_name and other.standard_name:
            return same_name(self.standard_name, other.standard_name)
        names = {name.lower() for name in (self.variable, other.variable) if name}
        return len(names) < 2

    def _named(self):
        name = f" ({self.standard_name})" if self.standard_name else ""
        return f"the variable {self.variable}{name}"


def _all_close(first, other):
    return first.shape == other.shape and np.allclose(first, other, 1e-6, 1e-9, equal_nan=True)


def _pairs(first, other):
    """The texts of two identities that belong together: those of one name, else of one kind."""
    firsts, others = ({t.split()[0]: t for t in texts or ()} for texts in (first, other))
    common = [(firsts.pop(name), others.pop(name)) for name in list(firsts) if name in others]
    if len(firsts) == len(others) == 1:
        common += list(zip(firsts.values(), others.values(), strict=True))
    return common


def _agree(first, other, tolerance):
    """Whether two texts have the same values; True also if that is not known."""
    a, b = QUANTITY.match(first), QUANTITY.match(other)
    one, two = (np.array(match["values"].split(), np.float64) for match in (a, b))
    units = a["units"], b["units"]
    if units[0] != units[1] and all(map(is_known, units)):
        try:
            two = converted(two, units[1], units[0])
        except UnitsError as error:
            return not error.known or a["name"] in ROLES
    elif units[0] != units[1] and a["name"] != b["name"]:
        return True
    return one.shape == two.shape and np.allclose(one, two, tolerance, 0)


def _in_words(name, axis):
    values = " ".join(f"{x:.6g}" for x in np.ravel(axis.values).astype(np.float64))
    return f"{str(name).replace(' ', '_')} {values} {axis.attributes.get('units', '')}".strip()


def _is_number(axis):
    return axis.values.dtype.kind in "iuf"


def _same_places(axis, other):
    """Whether two coordinates agree, to a fraction of their spacing if they are numbers."""
    units = [each.attributes.get("units") for each in (axis, other)]
    if units[0] == units[1] and np.array_equal(axis.values, other.values):
        return True
    both_numbers = _is_number(axis) and _is_number(other)
    if axis.values.shape != other.values.shape or not both_numbers:
        return np.array_equal(axis.values, other.values)
    values = axis.values.astype(np.float64)
    others = other.values.astype(np.float64)
    if units[0] != units[1] and all(map(is_known, units)):
        try:
            others = converted(others, units[1], units[0])
        except UnitsError:
            return False
    if str(units[0]).startswith("degree"):
        others = others + 360 * np.round((values - others) / 360)
    steps = [np.abs(np.diff(values, axis=k)) for k in range(values.ndim)]
    steps = [float(np.median(step[step > 0])) for step in steps if (step > 0).any()]
    tolerances = (0.0, SAME_PLACE * min(steps)) if steps else (1e-6, 0.0)
    return np.allclose(values, others, *tolerances, equal_nan=True)
