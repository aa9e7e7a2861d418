"""Composites in files that follow the CF conventions already, read by xarray, which is optional."""

import numpy as np

from src.errors import InputError
from src.formats.containers import UNREADABLE
from src.radar.frames import AMOUNT, RATE, REFLECTIVITY, Frame, RadarGrid

# By the units of a variable, without blanks: what it is, and the factor that makes it mm/h or mm.
UNITS = {
    "mm/h": (RATE, 1),
    "mm/hr": (RATE, 1),
    "mmh-1": (RATE, 1),
    "mmhr-1": (RATE, 1),
    "mmhour-1": (RATE, 1),
    "mm/day": (RATE, 1 / 24),
    "mmday-1": (RATE, 1 / 24),
    "kgm-2h-1": (RATE, 1),
    "kgm-2s-1": (RATE, 3600),
    "mms-1": (RATE, 3600),
    "mm/s": (RATE, 3600),
    "ms-1": (RATE, 3.6e6),
    "m/s": (RATE, 3.6e6),
    "mm": (AMOUNT, 1),
    "kgm-2": (AMOUNT, 1),
    "m": (AMOUNT, 1000),
    "dbz": (REFLECTIVITY, 1),
}
HORIZONTAL = (("Y", "latitude"), ("X", "longitude"))
METRES = {"m": 1, "metre": 1, "meter": 1, "metres": 1, "meters": 1, "km": 1000, "kilometre": 1000}


class CfFile:
    """A NetCDF file or a Zarr store with one or more composites along a time axis.

    Args:
        path: the file.
        variable: name of the variable, or None: the only one with a row and a column axis.

    Raises:
        InputError: the file is damaged, xarray is not installed, or the file does not say what it
            holds.
    """

    def __init__(self, path, variable=None):
        self.path, self.name, self.dataset = path, variable, None
        array = self._open()
        self.unit, self.factor = _meaning(array, path)
        self.rows, self.columns = (_along(array, *names) for names in HORIZONTAL)
        self.time = _time(array)
        known = {self.rows, self.columns, *(() if self.time is None else self.time.dims)}
        others = {dim: size for dim, size in array.sizes.items() if dim not in known}
        if any(size > 1 for size in others.values()):
            raise InputError(
                f"{path}: {array.name} has the axes {', '.join(array.dims)}; a composite has rows, "
                "columns and a time"
            )
        self.fixed = dict.fromkeys(others, 0)
        self.times, self.minutes = self._read_times(array)
        self.grid = self._read_grid(array)
        self.institution = self.dataset.attrs.get("institution")
        self.close()

    def read(self, k=0):
        """The `Frame` at time k of the file."""
        array = self._open().isel(self.fixed)
        if self.time is not None and self.time.dims:
            array = array.isel({self.time.dims[0]: k})
        try:
            values = array.transpose(self.rows, self.columns).values.astype(np.float64)
        except UNREADABLE as error:
            raise _damaged(self.path, error) from None
        values = values[:: self.row_step, :: self.column_step] * self.factor
        return Frame(values, self.unit, self.grid, self.minutes, institution=self.institution)

    def close(self):
        """Closes the file until it is read again."""
        if self.dataset is not None:
            self.dataset.close()
        self.dataset = None

    def _open(self):
        """The variable, of the open file."""
        if self.dataset is None:
            try:
                import cf_xarray  # noqa: F401
                import pyproj  # noqa: F401
                import xarray
            except ImportError as error:
                raise InputError(
                    f"{self.path}: NetCDF and Zarr need xarray, which is not installed "
                    f"({error.name}): pip install xarray cf_xarray pyproj netcdf4 zarr"
                ) from None
            store = {"engine": "zarr", "consolidated": False} if self.path.is_dir() else {}
            try:
                self.dataset = xarray.open_dataset(
                    self.path, cache=False, decode_coords="all", decode_timedelta=False, **store
                ).cf.guess_coord_axis()
            except UNREADABLE as error:
                raise _damaged(self.path, error) from None
        self.name = self.name or _only_variable(self.dataset, self.path)
        known = _readable(self.dataset)
        if self.name not in known:
            raise InputError(
                f"{self.path}: has no variable {self.name!r} with rows and columns; there are: "
                f"{', '.join(known) or 'none'}"
            )
        return self.dataset[self.name]

    def _read_times(self, array):
        """The times, or None, and the interval of an accumulation in minutes, or None."""
        if self.time is None:
            return None, None
        times = np.atleast_1d(self.time.values)
        if times.dtype.kind != "M":
            raise InputError(f"{self.path}: {self.time.name} has no dates of the usual calendar")
        bounds = self.dataset.coords.get(self.time.encoding.get("bounds", ""))
        if bounds is None:
            return times.astype("datetime64[s]"), None
        minutes = np.ravel(np.diff(bounds.values) / np.timedelta64(1, "m"))
        return times.astype("datetime64[s]"), float(minutes[0]) if np.ptp(minutes) == 0 else None

    def _read_grid(self, array):
        """The `RadarGrid`; rows and columns are read in steps of -1 if they run the other way."""
        import pyproj

        name = array.encoding.get("grid_mapping")
        crs = pyproj.CRS.from_cf(self.dataset[name].attrs) if name in self.dataset else None
        x, y = (array[dim] for dim in (self.columns, self.rows))
        if crs is None and x.attrs.get("standard_name", x.name) in ("longitude", "lon"):
            crs = pyproj.CRS("EPSG:4326")
        degrees = crs is not None and crs.is_geographic
        units = str(x.attrs.get("units", "")).lower()
        if not degrees and units not in METRES:
            raise InputError(
                f"{self.path}: {x.name} has the units {units or 'none'}; metres, or longitudes in "
                "degrees, are needed"
            )
        scale = 1 if degrees else METRES[units]
        self.row_step = 1 if y.values[0] > y.values[-1] else -1
        self.column_step = 1 if x.values[-1] >= x.values[0] else -1
        x, y = x.values[:: self.column_step], y.values[:: self.row_step]
        return RadarGrid(crs, x.astype(np.float64) * scale, y.astype(np.float64) * scale)


def _damaged(path, error):
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"{path}: cannot be read: {reason}")


def _readable(dataset):
    """The names of the variables of numbers along rows and columns."""
    return [
        str(name)
        for name, array in dataset.data_vars.items()
        if array.dtype.kind in "iuf" and all(_along(array, *names) for names in HORIZONTAL)
    ]


def _only_variable(dataset, path):
    names = _readable(dataset)
    if len(names) != 1:
        found = "several variables" if names else "no variable"
        available = ", ".join(names or map(str, dataset.data_vars)) or "none"
        raise InputError(
            f"{path}: has {found} with rows and columns; there are: {available}",
            variable="name one with --variable",
        )
    return names[0]


def _meaning(array, path):
    units = str(array.attrs.get("units", ""))
    key = "".join(units.lower().replace("**", "").replace("^", "").split())
    if key not in UNITS:
        raise InputError(
            f"{path}: {array.name} has the units {units or 'none'}; a rain rate such as mm h-1, an "
            "amount such as mm, or dBZ is needed"
        )
    return UNITS[key]


def _along(array, axis, coordinate):
    """The name of an array's coordinate along the rows or the columns, or None."""
    found = (*array.cf.axes.get(axis, ()), *array.cf.coordinates.get(coordinate, ()))
    return next((name for name in found if array[name].dims == (name,)), None)


def _time(array):
    """The time coordinate, or None."""
    names = [name for name in array.cf.axes.get("T", ()) if array[name].ndim < 2]
    return array[names[0]] if names else None
