"""Files of a long record, read in pieces, so that they may be larger than the memory.

NetCDF and Zarr are read by `netcdf`, arrays of NumPy here.
"""

import fnmatch
import glob
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from src.errors import InputError
from src.formats.arrays import RECORD, in_order, is_archive, read_file
from src.formats.cf.grid import Grid
from src.formats.cf.missing import without_nodata
from src.formats.netcdf import XarrayReader
from src.runtime.files import is_hidden, natural_order
from src.runtime.memory import KEPT
from src.runtime.progress import progress

ARRAYS = (".npy", ".npz")
NETCDF = (".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5")
ZARR = ".zarr"
ZARR_FILES = (".zgroup", ".zattrs", ".zarray", "zarr.json")
# How files begin, by kind.
BEGINNINGS = {
    b"\x93NUMPY": "NumPy",
    b"PK\x03\x04": "NumPy",
    b"CDF\x01": "NetCDF",
    b"CDF\x02": "NetCDF",
    b"CDF\x05": "NetCDF",
    b"\x89HDF\r\n\x1a\n": "NetCDF",
}
# How files begin that people have beside those, and what makes them readable.
FOREIGN = {
    b"GRIB": "is GRIB: convert it, with cdo -f nc4 copy or grib_to_netcdf for example",
    b"\x0e\x03\x13\x01": "is HDF4: convert it, with h4toh5 for example",
    b"\x1f\x8b": "is compressed by gzip: unpack it",
    b"BZh": "is compressed by bzip2: unpack it",
}
# Files that are not whole, or copies.
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".bak", ".old", ".orig", ".swp")
# Progress is shown for this number of files on.
SHOWN_FILES = 500


def files_of(path):
    """The files of a record, sorted by name, with 2.nc before 10.nc; hidden ones are skipped.

    In a folder without files of a known suffix these are the files whose content is of a record.

    Args:
        path: a file, a folder of files, a Zarr store, or a pattern such as "radar/*.nc".

    Raises:
        InputError: there are no files, or files of several kinds.
    """
    place = Path(path)
    if place.is_dir() and not is_zarr(place):
        found = _files_in(place)
    elif place.exists():
        return [place]
    else:
        found = [Path(p) for p in glob.glob(str(path))]
        if not found:
            raise InputError(f"{path}: not found")
    kinds = sorted({str(kind_of(p)) for p in found})
    if len(kinds) > 1:
        raise InputError(f"{path}: holds files of several kinds, {' and '.join(kinds)}: keep one")
    return sorted(found, key=natural_order)


def _files_in(folder):
    """The files of a record in a folder."""
    files = [p for p in folder.iterdir() if not is_hidden(p)]
    known = [p for p in files if _kind_by_name(p)]
    known = known or [p for p in files if _is_whole(p) and kind_of(p)]
    if not known:
        wanted = ", ".join((*ARRAYS, *NETCDF, ZARR))
        raise InputError(f"{folder}: holds no file of a record ({wanted})")
    return known


def holds_record(path):
    """Whether a path is a folder that would be read as a record."""
    folder = Path(path)
    try:
        return folder.is_dir() and (is_zarr(folder) or bool(_files_in(folder)))
    except InputError:
        return False


def _is_whole(path):
    return path.suffix.lower() not in UNFINISHED and not path.name.endswith("~")


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
    return kind_of(path) not in ("NetCDF", "Zarr") and not Path(path).is_dir()


def kind_of(path):
    """What a file is, "NumPy", "NetCDF" or "Zarr", by its content, else by its name; or None.

    Raises:
        InputError: it is of a kind that has to be converted.
    """
    path = Path(path)
    if not path.is_file():
        return _kind_by_name(path)
    try:
        with path.open("rb") as file:
            beginning = file.read(8)
    except OSError:
        return _kind_by_name(path)
    for content, remedy in FOREIGN.items():
        if beginning.startswith(content):
            raise InputError(f"{path}: {remedy}; NetCDF, HDF5, Zarr, .npy and .npz are read")
    found = next((k for c, k in BEGINNINGS.items() if beginning.startswith(c)), None)
    if beginning.startswith(b"PK") and not _kind_by_name(path) and not _holds_arrays(path):
        return None
    return found or _kind_by_name(path)


def _holds_arrays(path):
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _kind_by_name(path):
    if path.is_dir():
        return "Zarr" if is_zarr(path) else None
    suffix = path.suffix.lower()
    return "NetCDF" if suffix in NETCDF else "NumPy" if suffix in ARRAYS else None


def open_readers(path, options):
    """The readers of the files of a record, in the order of the files' names.

    Raises:
        InputError: there are no files, or one cannot be read.
    """
    files, readers = files_of(path), []
    are_arrays = is_array(files[0])
    hidden = len(files) < SHOWN_FILES
    with progress(len(files), f"open {path}", hidden=hidden, unit="files") as bar:
        for file in files:
            like = readers[-1] if readers else None
            reader = ArrayReader(file, options) if are_arrays else XarrayReader(file, options, like)
            readers.append(reader)
            bar.update()
    return readers


class ArrayReader:
    """Frames of a .npy or .npz file, (T, H, W) or (T, C, H, W) unless `axes` is given, which has no
    times; or one frame, (H, W), whose time its name says.

    A .npy file is mapped anew for each piece, so that earlier pieces no longer count as memory of
    this process. An .npz file cannot be mapped and is read whole.
    """

    has_names = False
    notes, changes = (), ()
    added = None

    def __init__(self, path, options):
        array = read_file(path)
        self.path, self.key = path, object()
        self.axes, self.nodata, self.times = options.axes, options.nodata, None
        shape = array.shape
        if options.time_from_name:
            self.times = np.array([options.time_in_name(path)])
            shape = (1, *shape) if array.ndim == 2 else shape
            if shape[0] != 1:
                raise InputError(
                    f"{path}: has the shape {shape}, and a file's name says the time of one frame, "
                    "(H, W) or (1, H, W) (time_from_name)"
                )
        if self.axes is None and (len(shape) not in (3, 4) or 0 in shape):
            raise InputError(
                f"{path}: has the shape {shape}; a record is (T, H, W) or (T, C, H, W)",
                time_from_name="of files of one frame, (H, W), each, --time_from_name takes the "
                "times from their names",
            )
        array = self._in_order(array)
        self.shape = array.shape
        self.stored_dtype = array.dtype
        self.dtype = without_nodata(array, self.nodata).dtype
        self.grid = Grid()
        self.mapped = not is_archive(path)

    def read(self, start, stop):
        """Reads frames start to stop - 1, (n, C, H, W)."""
        if self.mapped:
            array = read_file(self.path)
        else:
            array = KEPT.get(self.key, partial(read_file, self.path))
        return without_nodata(np.array(self._in_order(array)[start:stop]), self.nodata)[:]

    def stored(self, value):
        """The number that is stored for a value: itself."""
        return value

    def _in_order(self, array):
        """An array as the file holds it, as (T, C, H, W)."""
        if self.times is not None and array.ndim == 2:
            array = array[None]
        return in_order(array, self.path, RECORD, self.axes)
