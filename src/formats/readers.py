"""Files of a long record, read in pieces, so that they may be larger than the memory.

NetCDF and Zarr are read by xarray, which is optional. cf_xarray finds the axes by the CF
conventions: by attributes, else by the usual names.
"""

import fnmatch
import glob
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.errors import InputError
from src.formats.arrays import is_archive, read_file
from src.formats.grid import Axis, Grid
from src.runtime.files import is_hidden, natural_order

ARRAYS = (".npy", ".npz")
NETCDF = (".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5")
ZARR = ".zarr"
ZARR_FILES = (".zgroup", ".zattrs", ".zarray", "zarr.json")
# Variables up to this size are kept in memory: many small reads of a compressed file are slow.
SMALL_BYTES = 1 << 26
# Exceptions that xarray and its engines raise on damaged files, found by fuzzing.
UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    IndexError,
    MemoryError,
)


@dataclass(frozen=True)
class AxisNames:
    """Names of the variable and axes to read in a file; None: find them by its attributes."""

    variable: str | None = None
    time: str | None = None
    latitude: str | None = None
    longitude: str | None = None


def files_of(path):
    """The files of a record, sorted by name, with 2.nc before 10.nc; hidden ones are skipped.


    Args:
        path: a file, a folder of files, a Zarr store, or a pattern such as "radar/*.nc".

    Raises:
        InputError: there are no files, or files of several kinds.
    """
    place = Path(path)
    if place.is_dir() and not is_zarr(place):
        found = [p for p in place.iterdir() if _kind(p) and not is_hidden(p)]
        wanted = ", ".join((*ARRAYS, *NETCDF, ZARR))
        if not found:
            raise InputError(f"{path}: holds no file of a record ({wanted})")
    elif place.exists():
        return [place]
    else:
        found = [Path(p) for p in glob.glob(str(path))]
        if not found:
            raise InputError(f"{path}: not found")
    kinds = sorted({str(_kind(p)) for p in found})
    if len(kinds) > 1:
        raise InputError(f"{path}: holds files of several kinds, {' and '.join(kinds)}: keep one")
    return sorted(found, key=natural_order)


def would_read(source, path):
    """Whether a file, were it written, would be part of what is read from a source.

    Args:
        source: a file, a folder of files or pictures, a Zarr store, or a pattern.
        path: the file, which need not be there.
    """
    place, file = Path(source), Path(path)
    if place.is_dir() and is_zarr(place):
        return file.resolve().is_relative_to(place.resolve())
    if place.is_dir():
        is_read = file.suffix.lower() in (*ARRAYS, *NETCDF, ".png")
        return is_read and file.resolve().parent == place.resolve()
    if place.exists():
        return file.resolve() == place.resolve()
    return any(
        len(full(file).parts) == len(full(place).parts)
        and all(map(fnmatch.fnmatch, full(file).parts, full(place).parts))
        for full in (Path.absolute, Path.resolve)
    )


def is_zarr(path):
    """Whether a folder is a Zarr store."""
    return path.suffix == ZARR or any((path / name).exists() for name in ZARR_FILES)


def is_array(path):
    """Whether NumPy reads a file, not xarray."""
    return Path(path).suffix.lower() not in NETCDF and not Path(path).is_dir()


def open_reader(path, names):
    """The `ArrayReader` or `XarrayReader` of a file; raises `InputError` if it cannot be read."""
    return ArrayReader(path) if is_array(path) else XarrayReader(path, names)


def _kind(path):
    if path.is_dir():
        return "Zarr" if is_zarr(path) else None
    suffix = path.suffix.lower()
    return "NetCDF" if suffix in NETCDF else "NumPy" if suffix in ARRAYS else None


class ArrayReader:
    """Frames of a .npy or .npz file, (T, H, W) or (T, C, H, W), which has no times.

    A .npy file is mapped anew for each piece, so that earlier pieces no longer count as memory of
    this process. An .npz file cannot be mapped and is read whole.
    """

    times = None
    has_names = False

    def __init__(self, path):
        array = read_file(path)
        if array.ndim not in (3, 4) or 0 in array.shape:
            raise InputError(
                f"{path}: has the shape {array.shape}; a record is (T, H, W) or (T, C, H, W)"
            )
        self.path = path
        self.shape = array.shape if array.ndim == 4 else (len(array), 1, *array.shape[1:])
        self.dtype = array.dtype
        self.grid = Grid()
        self.array = array if is_archive(path) else None

    def read(self, start, stop):
        """Reads frames start to stop - 1, (n, C, H, W)."""
        array = read_file(self.path) if self.array is None else self.array
        return np.array(array[start:stop]).reshape(-1, *self.shape[1:])


class XarrayReader:
    """Frames of one variable of a NetCDF file or a Zarr store, decoded: missing values are NaN.

    Args:
        path: the file.
        names: the `AxisNames` to look for in it.

    Raises:
        InputError: xarray is missing, the file cannot be read, or the variable has no time axis.
    """

    has_names = True

    def __init__(self, path, names):
        self.path = path
        self.process = self.array = self.whole = None
        with self._open() as dataset:
            self._describe(dataset.cf.guess_coord_axis(), names)
            if dataset[self.variable].nbytes <= SMALL_BYTES:
                self.array = dataset[self.variable]
                self.whole = self.read(0, self.shape[0])
        self.process = self.array = None

    def _describe(self, dataset, names):
        """Sets the variable, its shape, type, times and grid from a Dataset of xarray."""
        path = self.path
        self.variable = _variable_of(dataset, names.variable, path)
        array = dataset[self.variable]
        if array.dtype.kind not in "iuf":
            raise InputError(f"{path}: {self.variable} holds {array.dtype}; numbers are needed")
        axes = _Axes(array, names, path)
        self.dims, self.squeezed = axes.dims, axes.squeezed
        sizes = [array.sizes[dim] if dim else 1 for dim in self.dims]
        self.shape, self.dtype = tuple(sizes), array.dtype
        if 0 in self.shape:
            raise InputError(f"{path}: {self.variable} has no frames: its shape is {self.shape}")
        self.times = axes.times()
        self.grid = axes.grid(self.variable)

    def read(self, start, stop):
        """Reads frames start to stop - 1, (n, C, H, W)."""
        if self.whole is not None:
            return self.whole[start:stop].copy()
        if self.process != os.getpid():
            # HDF5 does not survive a fork: each worker process opens the file itself.
            self.array = self._open()[self.variable]
        time = self.dims[0]
        piece = self.array.isel({time: slice(start, stop), **self.squeezed})
        try:
            values = piece.transpose(*[dim for dim in self.dims if dim]).values
        except UNREADABLE as error:
            raise _unreadable(self.path, error) from None
        return np.ascontiguousarray(values).reshape(-1, *self.shape[1:])

    def _open(self):
        """Opens the file as a Dataset whose values are read only when needed."""
        xarray = _import_xarray(self.path)
        self.process = os.getpid()
        path = Path(self.path)
        if not path.exists():
            raise InputError(f"{path}: not found")
        options = {"engine": "zarr", "consolidated": False} if path.is_dir() else {}
        try:
            return xarray.open_dataset(path, cache=False, decode_timedelta=False, **options)
        except UNREADABLE as error:
            raise _unreadable(path, error) from None
        except ImportError as error:
            raise InputError(f"{path}: {str(error).splitlines()[0]}") from None


def _import_xarray(path):
    try:
        import cf_xarray  # noqa: F401
        import xarray
    except ImportError as error:
        raise InputError(
            f"{path}: NetCDF and Zarr need xarray, which is not installed ({error.name}): "
            "pip install xarray cf_xarray netcdf4 zarr"
        ) from None
    return xarray


def _unreadable(path, error):
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"{path}: cannot be read: {reason}")


def _variable_of(dataset, name, path):
    """The name of the variable to read: the given one, else the only one with three or more
    dimensions.
    """
    if name in dataset.data_vars:
        return name
    available = ", ".join(map(str, dataset.data_vars)) or "none"
    if name is not None:
        raise InputError(f"{path}: has no variable {name!r}; there are: {available}")
    large = [str(key) for key, value in dataset.data_vars.items() if value.ndim > 2]
    if len(large) != 1:
        found = "no variable" if not large else f"several variables, {', '.join(large)},"
        raise InputError(
            f"{path}: has {found} with three or more dimensions; there are: {available}",
            variable="name one with --variable",
        )
    return large[0]


class _Axes:
    """The roles of an array's dimensions: by the given names, else by the CF conventions."""

    def __init__(self, array, names, path):
        self.array = array
        self.path = path
        self.names = names
        self.time = self._one("time", "T", names.time)
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
            name = self._one(role, letter, getattr(self.names, role))
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
        attributes = {}
        if times is not None:
            encoding = {k: v for k, v in times.encoding.items() if k in ("units", "calendar")}
            attributes = dict(times.attrs) | encoding
        dims = tuple(dim and str(dim) for dim in self.dims)
        units = array.attrs.get("units")
        return Grid(
            str(variable), dims, units, dict(array.attrs), coordinates, str(self.time), attributes
        )
