"""One variable of a NetCDF file or a Zarr store, read in pieces by xarray, which is optional."""

import os
import warnings
from pathlib import Path

import numpy as np

from src.errors import InputError
from src.formats.axes import Axes
from src.formats.missing import Decoder, remove_zero_fills, without_nan
from src.formats.times import decode_cf

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


class XarrayReader:
    """Frames of one variable of a NetCDF file or a Zarr store, decoded: missing values are NaN.

    Args:
        path: the file.
        options: the `ReadOptions` of the file.

    Raises:
        InputError: xarray is missing, the file cannot be read, or the variable has no time axis.
    """

    has_names = True

    def __init__(self, path, options):
        self.path = path
        self.process = self.array = self.whole = None
        with self._open() as stored:
            dataset = _decoded(stored, path)
            self._describe(dataset, options)
            self.array = stored[self.variable]
            self.decoder = Decoder(self.array, options.nodata, not Path(path).is_dir())
            if dataset[self.variable].nbytes <= SMALL_BYTES:
                self.whole = self.read(0, self.shape[0])
        self.process = self.array = None

    def _describe(self, dataset, options):
        """Sets the variable, its shape, type, times and grid from a Dataset of xarray."""
        path = self.path
        self.variable = _variable_of(dataset, options.variable, path)
        array = dataset.cf.guess_coord_axis()[self.variable]
        if array.dtype.kind not in "iuf":
            raise InputError(f"{path}: {self.variable} holds {array.dtype}; numbers are needed")
        axes = Axes(array, options, path)
        self.dims, self.squeezed = axes.dims, axes.squeezed
        sizes = [array.sizes[dim] if dim else 1 for dim in self.dims]
        self.shape, self.dtype = tuple(sizes), array.dtype
        if 0 in self.shape:
            raise InputError(f"{path}: {self.variable} has no frames: its shape is {self.shape}")
        self.times = axes.times()
        self.grid = axes.grid(self.variable, dataset)

    def read(self, start, stop):
        """Reads frames start to stop - 1, (n, C, H, W)."""
        if self.whole is not None:
            return without_nan(self.whole[start:stop].copy(), self.dtype)
        if self.process != os.getpid():
            # HDF5 does not survive a fork: each worker process opens the file itself.
            self.array = self._open()[self.variable]
        time = self.dims[0]
        piece = self.array.isel({time: slice(start, stop), **self.squeezed})
        try:
            values = piece.transpose(*[dim for dim in self.dims if dim]).values
            return self.decoder(np.ascontiguousarray(values).reshape(-1, *self.shape[1:]))
        except UNREADABLE as error:
            raise _unreadable(self.path, error) from None

    @property
    def stored_dtype(self):
        """The type in which the file stores the values."""
        return self.decoder.dtype

    @property
    def notes(self):
        """What is assumed about missing values, in words."""
        return self.decoder.notes + [
            f"the fill_value 0 of {name} is zarr's own default, so 0 is a value; if it stands for "
            "missing ones, give --nodata 0"
            for name in self.zero
            if name == self.variable
        ]

    @property
    def changes(self):
        """What is read otherwise than before version 0.3.0, among the frames read so far."""
        zero = [f"0 in {name} is a value" for name in self.zero]
        return zero + sorted(self.decoder.applied)

    def stored(self, value):
        """The number that is stored for a value."""
        return self.decoder.stored(value)

    def _open(self):
        """Opens the file as a Dataset of stored values, which are read only when needed."""
        xarray = _import_xarray(self.path)
        self.process = os.getpid()
        path = Path(self.path)
        if not path.exists():
            raise InputError(f"{path}: not found")
        options = {"engine": "zarr", "consolidated": False} if path.is_dir() else {}
        try:
            dataset = xarray.open_dataset(path, cache=False, decode_cf=False, **options)
        except UNREADABLE as error:
            raise _unreadable(path, error) from None
        except ImportError as error:
            raise InputError(f"{path}: {str(error).splitlines()[0]}") from None
        self.zero = remove_zero_fills(dataset, path.is_dir())
        return dataset


def _import_xarray(path):
    try:
        import cf_xarray  # noqa: F401
        import netCDF4  # noqa: F401
        import xarray
    except ImportError as error:
        raise InputError(
            f"{path}: NetCDF and Zarr need xarray, which is not installed ({error.name}): "
            "pip install xarray cf_xarray cf-units netcdf4 zarr"
        ) from None
    return xarray


def _decoded(dataset, path):
    """A Dataset of stored values, decoded by the CF conventions when they are read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has multiple fill values")
        try:
            return decode_cf(dataset)
        except UNREADABLE as error:
            raise _unreadable(path, error) from None


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
