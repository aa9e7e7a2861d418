"""Published files of radar composites: which there are, what format they have, and their times."""

import glob
import gzip
import zlib
from pathlib import Path

import numpy as np

from src.errors import InputError
from src.formats.options import ReadOptions
from src.formats.readers import is_zarr
from src.radar.cf_files import CfFile
from src.radar.importers import KINDS, PublishedFile, import_optional, is_gzip
from src.runtime.files import is_hidden_within, natural_order

CF = "cf"
FORMATS = (*KINDS, CF)
# Suffixes of files about composites, which lie in a folder beside them.
ABOUT = (".csv", ".htm", ".html", ".json", ".md", ".md5", ".pdf", ".sha256", ".txt", ".xml", ".yml")
# Beginnings of files that are known and not read, and what to do about them.
REFUSED = {
    b"GRIB": "is GRIB: convert it to NetCDF, for example by cfgrib and xarray",
    b"II*\0": "is a GeoTIFF: its values have no meaning without the service's table; convert it to "
    "NetCDF with units",
    b"MM\0*": "is a GeoTIFF: its values have no meaning without the service's table; convert it to "
    "NetCDF with units",
    b"BUFR": "is BUFR: take the service's HDF5 or NetCDF",
    b"\x89PNG": "is a picture, not data",
    b"\xff\xd8\xff": "is a picture, not data",
    b"PK\x03\x04": "is an archive: unpack it",
    b"BZh": "is compressed by bzip2: unpack it",
    b"\xfd7zXZ": "is compressed by xz: unpack it",
}


def find_files(source):
    """The files in a folder and in those below it, or those that a pattern matches, sorted by name.

    Of a folder, texts about the composites are left out; a line names them.

    Raises:
        InputError: there are none.
    """
    folder = Path(source)
    if is_zarr(folder) or folder.is_file():
        return [folder]
    if folder.is_dir():
        paths = [path for path in folder.rglob("*") if path.is_file()]
        hidden = [path for path in paths if is_hidden_within(path, folder)]
        paths = sorted(set(paths) - set(hidden), key=natural_order)
        texts = [path for path in paths if path.suffix.lower() in ABOUT]
        if texts:
            print(f"left out, as no composites: {', '.join(map(str, texts))}")
        paths = [path for path in paths if path not in texts]
    else:
        found = sorted(map(Path, glob.glob(source, recursive=True)), key=natural_order)
        paths = [path for each in found for path in find_files(each)]
    if not paths:
        raise InputError(f"{source}: has no files: name a folder, a file or a pattern in quotes")
    return paths


def open_file(path, kind=None, quantity=None, variable=None, time_from_name=None):
    """Opens a published file, a `PublishedFile` or `CfFile`.

    Args:
        path: the file.
        kind: one of `FORMATS`, or None: found out by the file's content.
        quantity: which of the quantities in an ODIM file to read, or None: the only one.
        variable: which variable of a CF file to read, or None: the only one.
        time_from_name: a pattern as of strptime; if it is given, the file's name says its time.

    Raises:
        InputError: the file cannot be read, or its time is unknown.
    """
    kind = kind or find_format(path)
    for name, value, meant in (("quantity", quantity, "odim"), ("variable", variable, CF)):
        if value and kind != meant:
            raise InputError(
                f"{path}: has the format {kind}, and {name} {value} is for {meant}: leave it out"
            )
    if kind == CF:
        return CfFile(path, variable, time_from_name)
    file = PublishedFile(path, kind, quantity)
    if time_from_name:
        time = ReadOptions(time_from_name=time_from_name).time_in_name(path)
        file.times = np.array([time.astype("datetime64[s]")])
    if file.times is None:
        raise InputError(
            f"{path}: neither the file nor its name in its published form says the time",
            time_from_name="--time_from_name says where the name has it",
        )
    return file


def find_format(path):
    """Finds out the format of a file by its content, one of `FORMATS`.

    Raises:
        InputError: it is none of them.
    """
    if path.is_dir():
        return CF
    try:
        zipped = is_gzip(path)
        with (gzip.open if zipped else open)(path, "rb") as file:
            head = file.read(512)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if zipped and not head.startswith(b"P5"):
        raise InputError(f"{path}: is compressed by gzip, which only PGM may be: unpack it")
    for magic, kind in KNOWN.items():
        if head.startswith(magic):
            return kind if isinstance(kind, str) else kind(path)
    raise InputError(f"{path}: {_what_else(head)}")


def _what_else(head):
    """What a file is that cannot be read, by its first bytes."""
    for magic, answer in REFUSED.items():
        if head.startswith(magic):
            return answer
    if head[257:262] == b"ustar":
        return "is an archive: unpack it"
    return ("has no format that is known" if head else "is empty") + (
        ": HDF5 of KNMI or ODIM, GIF of MeteoSwiss, PGM of FMI, NetCDF of the Bureau of "
        "Meteorology, and NetCDF or Zarr by the CF conventions can be read"
    )


def _format_of_hdf5(path):
    try:
        with import_optional("h5py", path).File(path, "r") as file:
            names = set(file)
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if {"image1", "geographic"} <= names:
        return "knmi"
    if {"what", "where"} <= names:
        return "odim"
    return _format_of_names(names)


def _format_of_netcdf(path):
    try:
        with import_optional("netCDF4", path).Dataset(path) as file:
            return _format_of_names(set(file.variables))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _format_of_names(names):
    return "bom" if {"precipitation", "proj", "valid_time"} <= names else CF


# Beginnings of files that can be read, and their format or what finds it out.
KNOWN = {
    b"\x89HDF": _format_of_hdf5,
    b"CDF": _format_of_netcdf,
    b"GIF8": "meteoswiss",
    b"P5": "fmi",
}
