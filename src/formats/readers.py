"""Files of a long record, read in pieces, so that they may be larger than the memory.

NetCDF and Zarr are read by `netcdf`, arrays of NumPy here.
"""

import fnmatch
import glob
from pathlib import Path

import numpy as np

from src.errors import InputError
from src.formats.arrays import RECORD, in_order, is_archive, read_file
from src.formats.grid import Grid
from src.formats.missing import without_nodata
from src.formats.netcdf import XarrayReader
from src.runtime.files import is_hidden, natural_order

ARRAYS = (".npy", ".npz")
NETCDF = (".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5")
ZARR = ".zarr"
ZARR_FILES = (".zgroup", ".zattrs", ".zarray", "zarr.json")


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


def open_reader(path, options):
    """The `ArrayReader` or `XarrayReader` of a file; raises `InputError` if it cannot be read."""
    return ArrayReader(path, options) if is_array(path) else XarrayReader(path, options)


def _kind(path):
    if path.is_dir():
        return "Zarr" if is_zarr(path) else None
    suffix = path.suffix.lower()
    return "NetCDF" if suffix in NETCDF else "NumPy" if suffix in ARRAYS else None


class ArrayReader:
    """Frames of a .npy or .npz file, (T, H, W) or (T, C, H, W) unless `axes` is given; it has no
    times.

    A .npy file is mapped anew for each piece, so that earlier pieces no longer count as memory of
    this process. An .npz file cannot be mapped and is read whole.
    """

    times = None
    has_names = False
    notes, changes = (), ()

    def __init__(self, path, options):
        array = read_file(path)
        if options.axes is None and (array.ndim not in (3, 4) or 0 in array.shape):
            raise InputError(
                f"{path}: has the shape {array.shape}; a record is (T, H, W) or (T, C, H, W)"
            )
        self.path, self.axes, self.nodata = path, options.axes, options.nodata
        array = in_order(array, path, RECORD, self.axes)
        self.shape = array.shape
        self.stored_dtype = array.dtype
        self.dtype = without_nodata(array, self.nodata).dtype
        self.grid = Grid()
        self.array = array if is_archive(path) else None

    def read(self, start, stop):
        """Reads frames start to stop - 1, (n, C, H, W)."""
        array = self.array
        if array is None:
            array = in_order(read_file(self.path), self.path, RECORD, self.axes)
        return without_nodata(np.array(array[start:stop]), self.nodata)[:]

    def stored(self, value):
        """The number that is stored for a value: itself."""
        return value
