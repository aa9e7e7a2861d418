"""Published composites of one frame a file, read by the importers of pysteps, which is optional.

Pulkkinen et al. 2019, "Pysteps: an open-source Python library for probabilistic precipitation
nowcasting" (Geosci. Model Dev. 12). An importer knows how a service packs values and places its
grid. The time and the interval of an accumulation it leaves out or takes for granted: these are
read here, from the same file.
"""

import contextlib
import gzip
import importlib
import io
import re
import warnings
import zlib
from datetime import datetime
from typing import NamedTuple

import numpy as np

from src.errors import InputError
from src.formats.cf.units import MARSHALL_PALMER
from src.formats.containers import UNREADABLE
from src.radar.frames import AMOUNT, RATE, Frame, RadarGrid

DAMAGED = (*UNREADABLE, EOFError, zlib.error, NameError)
INSTALL = 'pip install "numpy<2" pysteps opencv-python-headless h5py netcdf4'
# How MeteoSwiss names a file: product, time as year, day of the year, hour and minute, interval.
SWISS = re.compile(r"(AQC|CPC|RZC|AZC)(?:(\d{9})[A-Z0-9]{0,2})?(?:_(\d{5}))?")
SWISS_UNITS = {"AQC": AMOUNT, "CPC": AMOUNT, "AZC": AMOUNT, "RZC": RATE}
# How KNMI's files say what they hold and how it is packed, and as what the importer takes them:
# factor, offset and the value outside the composite.
KNMI_FORMULA = re.compile(r"GEO\s*=\s*([-+.\deE]+)\s*\*\s*PV\s*\+\s*([-+.\deE]+)")
KNMI_UNITS = {"MM": "ACRR", "DBZ": "DBZH"}
KNMI_PACKING = {"ACRR": (0.01, 0.0, 65535), "DBZH": (0.5, -32.0, 255)}
# An ellipsoid with a shorter axis in metres is one in kilometres.
SHORTEST_AXIS = 1e5


class Header(NamedTuple):
    """What is known of a file before its values are read.

    Args:
        time: a datetime64, or None.
        minutes: the interval of an accumulation, or None.
        arguments: those of the importer.
        packing: factor and offset that correct the importer's values.
        institution: who publishes the file, where the importer does not know.
        south_first: whether the first row is the southern one, where the importer does not know.
    """

    time: object = None
    minutes: float | None = None
    arguments: dict = {}
    packing: tuple[float, float] = (1.0, 0.0)
    institution: str | None = None
    south_first: bool = False


class PublishedFile:
    """A file with one composite.

    Args:
        path: the file.
        kind: its format, a key of `KINDS`.
        quantity: which of the quantities in it to read, or None: the only one.

    Raises:
        InputError: the file is damaged, or pysteps is not installed.
    """

    def __init__(self, path, kind, quantity=None):
        self.path, self.kind = path, kind
        read_header, self.importer = KINDS[kind]
        self.header = _guarded(path, lambda: read_header(path, quantity))
        self.times = None if self.header.time is None else np.array([self.header.time])
        self.minutes = self.header.minutes

    def read(self, k=0):
        """The file's `Frame`; there is only k = 0."""
        return _guarded(self.path, self._read)

    def _read(self):
        importer = getattr(import_pysteps(f"{self.path}:").io.importers, self.importer)
        source = str(self.path)
        if self.kind in ("knmi", "odim"):
            source = _with_plain_text(self.path)
        with warnings.catch_warnings():
            # An importer takes the minimum of a frame in which nothing may be known.
            warnings.simplefilter("ignore")
            values, _, metadata = importer(source, **self.header.arguments)
        values = np.ma.filled(values, np.nan)
        factor, offset = self.header.packing
        values = values * factor + offset if self.header.packing != (1, 0) else values
        grid = _grid(metadata, values.shape)
        if metadata["yorigin"] == "lower" or self.header.south_first:
            values = values[::-1]
        if "unit" not in metadata:
            raise ValueError("it does not say its unit")
        zr = metadata.get("zr_a"), metadata.get("zr_b")
        return Frame(
            values,
            metadata["unit"],
            grid,
            self.minutes,
            MARSHALL_PALMER if None in zr else zr,
            self.header.institution or metadata["institution"],
        )


def import_pysteps(purpose):
    """The module pysteps, without the line that it prints.

    Args:
        purpose: what needs it, for the message.

    Raises:
        InputError: it, or something that it needs, is not installed.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import pysteps
    except ImportError as error:
        raise InputError(
            f"{purpose} needs pysteps, which is not installed ({error.name}): {INSTALL}"
        ) from None
    return pysteps


def import_optional(name, path):
    """The module of a name, which a file needs.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"{path}: needs {name}, which is not installed: {INSTALL}") from None


def _guarded(path, read):
    """What a function returns that reads a file; raises `InputError` if the file is damaged."""
    try:
        return read()
    except InputError:
        raise
    except DAMAGED as error:
        reason = str(error).strip("'\"") or type(error).__name__
        raise InputError(f"{path}: cannot be read: {reason.splitlines()[0]}") from None


def _knmi_header(path, quantity):
    with import_optional("h5py", path).File(path, "r") as file:
        overview, image = file["overview"].attrs, file["image1"]
        start, end = (
            datetime.strptime(_text(overview[f"product_datetime_{name}"]), "%d-%b-%Y;%H:%M:%S.%f")
            for name in ("start", "end")
        )
        parameter = _text(image.attrs["image_geo_parameter"])
        quantity = KNMI_UNITS.get(parameter.partition("[")[2].strip("] ").upper())
        calibration = image["calibration"].attrs
        formula = _text(calibration["calibration_formulas"])
        outside = int(np.ravel(calibration["calibration_out_of_image"])[0])
    if quantity is None:
        raise ValueError(
            f"image1 holds {parameter}; accumulated precipitation in [MM] or reflectivity in [DBZ] "
            "can be read"
        )
    packing = KNMI_FORMULA.match(formula)
    factor, offset, expected = KNMI_PACKING[quantity]
    if not packing or outside != expected:
        raise ValueError(
            f"image1 is packed by {formula!r} with {outside} outside the composite; "
            f"GEO=A*PV+B with {expected} can be read"
        )
    ratio = float(packing[1]) / factor
    minutes = (end - start).total_seconds() / 60
    return Header(
        np.datetime64(end, "s"),
        minutes if quantity == "ACRR" else None,
        {"qty": quantity},
        (ratio, float(packing[2]) - ratio * offset),
    )


def _odim_header(path, quantity):
    with import_optional("h5py", path).File(path, "r") as file:
        what = file["what"].attrs
        kind = _text(what.get("object", "COMP"))
        if kind not in ("COMP", "IMAGE"):
            raise ValueError(f"it is an ODIM {kind}; a composite, COMP or IMAGE, can be read")
        groups = list(_odim_quantities(file))
        names, found = [name for name, _ in groups], dict(groups)
        known = [name for name in found if name in ("RATE", "ACRR", "DBZH")]
        quantity = quantity or (known[0] if len(known) == 1 else None)
        if quantity not in known:
            raise InputError(
                f"{path}: has the quantities {', '.join(found) or 'none'}; one of RATE, ACRR and "
                "DBZH can be read",
                quantity="--quantity names it",
            )
        if names.count(quantity) > 1:
            raise ValueError(
                f"it has {quantity} {names.count(quantity)} times, of several heights or intervals "
                "for example, and pysteps reads the last one: take files with one"
            )
        time = _odim_time(what["date"], what["time"])
        minutes, source = None, _text(what["source"]) if "source" in what else None
        if quantity == "ACRR":
            about = found[quantity]
            start, time = (
                _odim_time(about[f"{end}date"], about[f"{end}time"]) for end in ("start", "end")
            )
            minutes = (time - start) / np.timedelta64(60, "s")
    return Header(time, minutes, {"qty": quantity}, institution=source)


def _odim_quantities(file):
    """Yields the name of each quantity in a file, and the attributes that say its interval."""
    for name, dataset in file.items():
        if not name.startswith("dataset"):
            continue
        common = dict(dataset["what"].attrs) if "what" in dataset else {}
        for key, data in dataset.items():
            if key.startswith("data"):
                about = common | (dict(data["what"].attrs) if "what" in data else {})
                if "quantity" in about:
                    yield _text(about["quantity"]), about


def _odim_time(date, time):
    return np.datetime64(datetime.strptime(_text(date) + _text(time), "%Y%m%d%H%M%S"), "s")


def _swiss_header(path, quantity):
    name = SWISS.match(path.name)
    if not name:
        raise InputError(
            f"{path}: MeteoSwiss says the product of a GIF in its name, as AQC162481020F_00005.801"
            ".gif does; this name begins with none of AQC, CPC, RZC and AZC"
        )
    product, time, minutes = name.groups()
    time = time and np.datetime64(datetime.strptime(time, "%y%j%H%M"), "s")
    unit = SWISS_UNITS[product]
    interval = float(minutes) if minutes and unit == AMOUNT else None
    arguments = {"product": product, "unit": unit, "accutime": interval}
    return Header(time, interval, arguments)


def _fmi_header(path, quantity):
    zipped = is_gzip(path)
    with (gzip.open if zipped else open)(path, "rb") as file:
        first = file.read(1 << 12).decode("latin-1")
    parameter = re.search(r"^#\s*param\s+(\S+)", first, re.MULTILINE)
    if parameter and not parameter[1].endswith("Reflectivity"):
        raise ValueError(f"it holds {parameter[1]}; CorrectedReflectivity, in dBZ, can be read")
    time = re.search(r"^#\s*obstime\s+(\d{12})", first, re.MULTILINE)
    time = time and np.datetime64(datetime.strptime(time[1], "%Y%m%d%H%M"), "s")
    return Header(time, arguments={"gzipped": zipped})


def _bom_header(path, quantity):
    netCDF4 = import_optional("netCDF4", path)  # noqa: N806
    with netCDF4.Dataset(path) as file:
        times = {}
        for name in ("start_time", "valid_time"):
            if name in file.variables:
                variable = file.variables[name]
                calendar = getattr(variable, "calendar", "standard")
                date = netCDF4.num2date(
                    np.ravel(variable[:])[0],
                    variable.units,
                    calendar,
                    only_use_cftime_datetimes=False,
                    only_use_python_datetimes=True,
                )
                times[name] = np.datetime64(date.replace(tzinfo=None), "s")
        rows = file.variables["y"][:]
    minutes = None
    if len(times) == 2:
        minutes = (times["valid_time"] - times["start_time"]) / np.timedelta64(60, "s")
    return Header(times.get("valid_time"), minutes, south_first=bool(rows[-1] > rows[0]))


KINDS = {
    "knmi": (_knmi_header, "import_knmi_hdf5"),
    "odim": (_odim_header, "import_odim_hdf5"),
    "meteoswiss": (_swiss_header, "import_mch_gif"),
    "fmi": (_fmi_header, "import_fmi_pgm"),
    "bom": (_bom_header, "import_bom_rf3"),
}


def is_gzip(path):
    """Whether a file is compressed by gzip."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _text(value):
    """An attribute of HDF5 as text."""
    value = np.ravel(value)[0]
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _with_plain_text(path):
    """An HDF5 file in memory with texts of fixed length: pysteps decodes these only."""
    h5py, copy = import_optional("h5py", path), io.BytesIO(path.read_bytes())

    def rewrite(_, node):
        for key, value in node.attrs.items():
            if isinstance(value, str):
                node.attrs[key] = np.bytes_(value.encode("latin-1", "replace"))

    with h5py.File(copy, "r+") as file:
        rewrite("", file)
        file.visititems(rewrite)
    copy.seek(0)
    return copy


def _grid(metadata, shape):
    """The `RadarGrid` of an importer's metadata."""
    import pyproj

    if not metadata.get("projection"):
        raise ValueError("its projection is unknown")
    crs = pyproj.CRS(metadata["projection"])
    x, y = (
        _centres(*(float(metadata[f"{axis}{end}"]) for end in "12"), count, metadata, axis)
        for axis, count in (("x", shape[1]), ("y", shape[0]))
    )
    if metadata["cartesian_unit"] == "km":
        x, y = x * 1000, y * 1000
        if crs.ellipsoid.semi_major_metre < SHORTEST_AXIS:
            crs = pyproj.CRS(_in_metres(metadata["projection"]))
    return RadarGrid(crs, x, y[::-1])


def _centres(low, high, count, metadata, axis):
    """The centres of pixels between two borders, or between the centres of the outer ones."""
    step = metadata[f"{axis}pixelsize"]
    spanned = (high - low) / float(step) if step else count
    if abs(spanned - count) < 0.5:
        return low + (np.arange(count) + 0.5) * (high - low) / count
    if abs(spanned - count + 1) < 0.5:
        return np.linspace(low, high, count)
    raise ValueError(f"it has {count} pixels along {axis}, and its corners span {spanned:.6g}")


def _in_metres(projection):
    """A PROJ string in kilometres as one in metres."""

    def thousandfold(match):
        return f"{match[1]}{float(match[2]) * 1000!r}"

    return re.sub(r"(\+(?:a|b|x_0|y_0)=)([-+.\deE]+)", thousandfold, projection)
