"""Composites in files that follow the CF conventions already, read as records are."""

import numpy as np

from src.errors import InputError
from src.formats.cf.axes import has_role, mapping_names
from src.formats.cf.times import decode_time
from src.formats.cf.units import RAIN_RATE, UnitsError, conversion, converted
from src.formats.containers import UNREADABLE, open_undecoded, unreadable
from src.formats.netcdf import XarrayReader, print_once
from src.formats.options import ReadOptions
from src.radar.frames import AMOUNT, RATE, REFLECTIVITY, Frame, RadarGrid
from src.radar.importers import import_optional

UNITS = {RATE: RAIN_RATE, AMOUNT: "mm", REFLECTIVITY: "dBZ"}


class CfFile:
    """A NetCDF file or a Zarr store with one or more composites along a time axis.

    Args:
        path: the file.
        variable: name of the variable, or None: the only one that may hold composites.
        time_from_name: a pattern as of strptime; if it is given, the file's name says its time.

    Raises:
        InputError: the file is damaged, xarray is not installed, or the file does not say what it
            holds, where and when.
    """

    def __init__(self, path, variable=None, time_from_name=None):
        self.path = path
        options = ReadOptions(variable=variable, time_from_name=time_from_name)
        self.reader = XarrayReader(path, options)
        grid = self.reader.grid
        if self.reader.shape[1] > 1:
            raise InputError(
                f"{path}: {grid.variable} has {self.reader.shape[1]} entries of {grid.dims[1]} at "
                "a time; a composite has one"
            )
        self.unit, self.convert = _meaning(grid, path)
        self.times = self._find_times()
        self.minutes, self.institution = self._find_about(options)
        self.grid, self.steps = _radar_grid(grid, path)
        for note in filter(None, (grid.time_note, *self.reader.notes)):
            print_once(f"{path.parent}: {note}")

    def read(self, k=0):
        """The `Frame` at time k of the file."""
        values = self.reader.read(k, k + 1)[0, 0].astype(np.float64)
        down, right = self.steps
        values = (self.convert(values) if self.convert else values)[::down, ::right]
        return Frame(values, self.unit, self.grid, self.minutes, institution=self.institution)

    def _find_times(self):
        times, name = self.reader.times, self.reader.grid.time_name
        if times is None or times.dtype.kind != "M":
            raise InputError(
                f"{self.path}: {name} has no dates of the usual calendar",
                time_from_name="--time_from_name says where the file's name has its time",
            )
        return times.astype("datetime64[s]")

    def _find_about(self, options):
        """The interval of an accumulation by the bounds of the times, and who publishes the file;
        None for what it does not say.
        """
        attributes = self.reader.grid.time_attributes
        name = attributes.get("bounds")
        with open_undecoded(self.path, options) as (_, dataset):
            institution = dataset.attrs.get("institution")
            bounds = dataset[name].values if name in dataset.variables else None
        if bounds is None:
            return None, institution
        try:
            ends = decode_time(name, bounds, attributes).values.reshape(-1, 2)
        except UNREADABLE as error:
            raise unreadable(f"{self.path}, {name}", error) from None
        minutes = np.unique(np.diff(ends) / np.timedelta64(1, "m"))
        return float(minutes[0]) if len(minutes) == 1 else None, institution


def _meaning(grid, path):
    """Of the values' units: rate, amount or reflectivity, and the conversion that is needed."""
    units = str(grid.units or "")
    for kind, wanted in UNITS.items():
        try:
            return kind, conversion(units, wanted, water=True)
        except UnitsError:
            continue
    raise InputError(
        f"{path}: {grid.variable} has the units {units or 'none'}; a rain rate such as mm h-1, an "
        "amount such as mm, or dBZ is needed"
    )


def _radar_grid(grid, path):
    """The `RadarGrid`, and the steps, 1 or -1, in which rows and columns are read."""
    pyproj = import_optional("pyproj", path)
    y, x = (_along(grid, dim, path) for dim in grid.dims[2:])
    names = mapping_names(grid.attributes.get("grid_mapping"))
    mapping = next((grid.referenced[name] for name in names if name in grid.referenced), None)
    crs = pyproj.CRS.from_cf(mapping.attributes) if mapping else None
    if crs is None and has_role(x.attributes, "longitude"):
        crs = pyproj.CRS("EPSG:4326")
    places = [axis.values.astype(np.float64) for axis in (y, x)]
    if crs is None or not crs.is_geographic:
        places = [_in_metres(axis, path) for axis in (y, x)]
    steps = 1 if places[0][0] > places[0][-1] else -1, 1 if places[1][-1] >= places[1][0] else -1
    y, x = (values[::step] for values, step in zip(places, steps, strict=True))
    return RadarGrid(crs, x, y), steps


def _along(grid, dim, path):
    """The coordinate along a dimension; of several the one of its name."""
    found = {n: a for n, a in grid.coordinates.items() if a.dims == (dim,)}
    if not found:
        raise InputError(
            f"{path}: {dim} has no coordinate; metres, or degrees of latitude and longitude, along "
            "rows and columns are needed"
        )
    return found.get(dim, next(iter(found.values())))


def _in_metres(axis, path):
    units = str(axis.attributes.get("units", ""))
    try:
        return converted(axis.values.astype(np.float64), units, "m")
    except UnitsError:
        raise InputError(
            f"{path}: {axis.dims[0]} has the units {units or 'none'}; metres, or longitudes in "
            "degrees, are needed"
        ) from None
