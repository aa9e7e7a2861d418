"""Forecasts as NetCDF files, with the metadata of the record that they continue.

Conventions: CF, chapters 2.6 (provenance), 4.4 (time), 5 (coordinates), 5.6 (grid mappings) and
7.1 (bounds); https://cfconventions.org.
"""

import datetime
import json
import re
import shlex
import sys
from itertools import count as numbers_from

import mindspore as ms
import numpy as np

from src.errors import DiskError, InputError
from src.runtime.files import scratch_folder, write_atomically

PIECE_BYTES = 1 << 24
# Attributes that refer to variables which the forecast does not contain.
REFERENCES = ("grid_mapping", "ancillary_variables", "coordinates", "bounds")
REFERENCES += ("cell_measures", "formula_terms", "climatology")
# Attributes that describe the record's stored values, which the forecast does not have.
OF_STORED_VALUES = (
    *("_FillValue", "missing_value", "valid_min", "valid_max", "valid_range", "actual_range"),
    *("scale_factor", "add_offset", "_Unsigned", "flag_values", "flag_masks", "flag_meanings"),
)
SEQUENCE, LEAD = "sequence", "lead"
REFERENCE, PERIOD = "forecast_reference_time", "forecast_period"
# Attributes that HDF5 and NetCDF use themselves.
RESERVED = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS")
RESERVED += ("_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict", "_NCProperties")
# What xarray and NetCDF raise for names, attributes and values that a file cannot hold.
UNWRITABLE = (ValueError, TypeError, RuntimeError, AttributeError, KeyError, OverflowError)
# In microseconds, the longest first.
UNITS = {
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1000,
    "microseconds": 1,
}
# In microseconds: by how much rounding may move a time.
NOISE = 20
# A name as NetCDF's classic grammar has it: no slash, no space at its end.
LEGAL = re.compile(r"\w([^\x00-\x1f/\x7f]{,254}[^\x00-\x1f/\x7f ])?")


def write_netcdf(path, forecasts, source, input_frames, network):
    """Writes forecasts of a record with its coordinates, units and times.

    A single forecast has the dimensions of its record. Several have the dimensions sequence and
    lead instead of the time; their valid times are a coordinate along both.
    `forecast_reference_time` is the time of the last input frame, and `forecast_period` the time
    since then. Where the record has one of these names for something else, a number follows it.

    Args:
        path: the file.
        forecasts: (N, F, C, H, W), in the units of the source.
        source: the windows of the record, a dataset with `grid` and `times`.
        input_frames: number of input frames in a window.
        network: name of the network, for the file's attributes.

    Raises:
        DiskError: the file cannot be written.
    """
    data = _dataset(forecasts, source, input_frames, network)
    with scratch_folder() as scratch:
        file = scratch / "forecast.nc"
        try:
            _save(data, source.grid.variable, file)
        except (OSError, RuntimeError) as error:  # HDF5 raises RuntimeError
            raise DiskError(f"{path}: cannot be written: {error}") from None
        write_atomically(path, _pieces(file))


def check_netcdf(path, shape, source, input_frames, network):
    """Raises `InputError` unless NetCDF can hold what belongs to the forecasts of a source: times,
    names and attributes. A file with one frame is written to find out.

    Args:
        path: the file, for messages.
        shape: the forecasts' shape, (N, F, C, H, W).
        source, input_frames, network: as in `write_netcdf`.
    """
    variable, blank = source.grid.variable, np.broadcast_to(np.float32(np.nan), shape)
    try:
        data = _dataset(blank, source, input_frames, network)
        with scratch_folder() as scratch:
            frame = data.isel({dim: slice(1) for dim in data[variable].dims[:-2]})
            _save(frame, variable, scratch / "forecast.nc")
    except InputError:
        raise
    except UNWRITABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        names = ", ".join(map(repr, _illegal_names(source.grid)))
        raise InputError(
            f"{path}: NetCDF cannot hold the names and attributes of {variable}: {reason}"
            f"{names and ': ' + names}; change them in the record"
        ) from None


def _illegal_names(grid):
    """The names of variables, dimensions and attributes that NetCDF does not allow."""
    axes = grid.coordinates | grid.scalars | grid.referenced
    names = [grid.variable, *grid.attributes, *filter(None, grid.dims), *axes]
    names += [name for axis in axes.values() for name in (*axis.dims, *axis.attributes)]
    return [name for name in dict.fromkeys(names) if not LEGAL.fullmatch(name)]


def _save(data, variable, file):
    encoding = {name: {"_FillValue": None} for name in data.variables}
    encoding[variable] = {"_FillValue": np.float32(np.nan)}
    data.to_netcdf(file, encoding=encoding)


def _dataset(forecasts, source, input_frames, network):
    """The file as a Dataset of xarray, which is left nothing to encode: times are numbers, and
    auxiliary coordinates are variables that the attribute `coordinates` names.
    """
    import xarray

    grid = source.grid
    times, dims = _times(source, input_frames, *forecasts.shape[:2])
    dims = (*dims, *(dim for dim in grid.dims[1:] if dim))
    if grid.dims[1] is None:
        forecasts = forecasts[:, :, 0]
    values = forecasts[0] if len(forecasts) == 1 else forecasts
    coordinates = times | _fixed_coordinates(grid, forecasts.shape[2])
    referenced = {
        name: (axis.dims, axis.values, _lasting(axis.attributes))
        for name, axis in grid.referenced.items()
        if name not in coordinates
    }
    others = {n: _as_netcdf(*parts) for n, parts in (coordinates | referenced).items()}
    attributes = _attributes_of_values(grid, dims, coordinates, referenced)
    variables = {grid.variable: (dims, values, _plain(attributes)), **others}
    return xarray.Dataset(variables, attrs=_provenance(source, network))


def _attributes_of_values(grid, dims, coordinates, referenced):
    """The attributes of the forecast's variable; all that they refer to is in the file."""
    attributes = _named(grid.variable, _lasting(grid.attributes))
    auxiliary = [name for name in coordinates if name not in dims and " " not in name]
    if auxiliary:
        attributes["coordinates"] = " ".join(auxiliary)
    mapping = grid.attributes.get("grid_mapping")
    needed = {word.rstrip(":") for word in (mapping or "").split()}
    if needed and needed <= {*coordinates, *referenced}:
        attributes["grid_mapping"] = mapping
    standard_names = (parts[2].get("standard_name") for parts in coordinates.values())
    known = {*dims, *coordinates, "area", *standard_names}
    methods = re.sub(r"\(.*?\)", "", attributes.get("cell_methods", ""))
    if not known.issuperset(re.findall(r"(\w+):", methods)):
        del attributes["cell_methods"]
    return attributes


def _fixed_coordinates(grid, channels):
    """The coordinates that do not depend on time, by name: dimensions, values and attributes."""
    channel = grid.dims[1]
    found = {n: a for n, a in grid.coordinates.items() if set(a.dims) <= set(grid.dims[1:])}
    kept = {}
    for name, axis in (found | grid.scalars).items():
        if name == grid.time_name:
            continue
        attributes = _named(name, _lasting(axis.attributes))
        if axis.attributes.get("bounds") in grid.referenced:
            attributes["bounds"] = axis.attributes["bounds"]
        if not axis.dims and attributes.get("standard_name") in ("time", REFERENCE, PERIOD):
            # It is the record's, and the forecast has its own.
            attributes["long_name"] = f"{attributes.pop('standard_name')} of the record"
        kept[name] = axis.dims, axis.values, attributes
    if channel and channel not in kept:
        kept[channel] = (channel,), np.arange(channels), {"long_name": "channel, counted from 0"}
    names = {parts[2].get("standard_name") for parts in kept.values()}
    axes = {parts[2].get("axis") for parts in kept.values()}
    for letter, dim in zip("YX", grid.dims[2:], strict=True):
        # CF wants latitude and longitude beside rows and columns that are said to be others.
        if dim in kept and letter not in axes and {"latitude", "longitude"} <= names:
            kept[dim][2]["axis"] = letter
    return kept


def _times(source, input_frames, count, frames):
    """The coordinates of time by name, and the dimensions before those of a frame."""
    grid = source.grid
    sequence, lead, reference_name, period_name = _free_names(grid)
    dims, coordinates = (sequence, lead)[count == 1 :], {}
    if count > 1 or source.times(0) is None:
        steps = {"long_name": "lead time in frames", "units": "1"}
        coordinates[lead] = (lead,), np.arange(1, frames + 1), steps
    if source.times(0) is None:
        return coordinates, dims
    known = [source.times(n) for n in range(count)]
    valid = np.stack([_valid_times(times, input_frames, frames, source) for times in known])
    reference = np.stack([times[input_frames - 1] for times in known])
    valid, reference = _without_noise(valid, reference)
    period, unit = _periods(valid, reference, grid.time_attributes.get("units", ""))
    attributes = _lasting(grid.time_attributes)
    if valid.dtype.kind in "MO":
        (valid, reference), encoding = _numbers_of_times((valid, reference), attributes)
        attributes |= {"standard_name": "time", "axis": "T", **encoding}
    units = {k: v for k, v in attributes.items() if k in ("units", "calendar")}
    of_reference = {"long_name": "time of the last frame that was read", **units}
    if "units" in units:
        of_reference["standard_name"] = REFERENCE
    else:
        # Numbers of frames, for example: what has the standard name of a time has units.
        attributes = {k: v for k, v in attributes.items() if k not in ("standard_name", "axis")}
    if count == 1:
        dims, valid, reference, period = (grid.time_name,), valid[0], reference[0], period[0]
    coordinates[grid.time_name] = dims, valid, _named(grid.time_name, attributes)
    coordinates[reference_name] = dims[: count > 1], reference, of_reference
    if unit:
        is_common = count > 1 and (period == period[0]).all()
        names = {"standard_name": PERIOD, "long_name": "time since the last frame that was read"}
        parts = (dims[1:], period[0]) if is_common else (dims, period)
        coordinates[period_name] = *parts, {**names, "units": unit}
    return coordinates, dims


def _free_names(grid):
    """The names for sequence, lead, reference time and period that the record does not use."""
    axes = grid.coordinates | grid.scalars | grid.referenced
    taken = {grid.variable, grid.time_name, *grid.dims, *axes}
    taken.update(dim for axis in axes.values() for dim in axis.dims)
    names = []
    for name in (SEQUENCE, LEAD, REFERENCE, PERIOD):
        others = (f"{name}_{number}" for number in numbers_from(2))
        names.append(name if name not in taken else next(n for n in others if n not in taken))
    return names


def _without_noise(*series):
    """Arrays of dates, or of numbers as they are. Dates become datetime64 of microseconds, or
    remain cftime objects, and whole milliseconds if all of them nearly are: a time that a file
    has as a fraction of a day is off by some microseconds.
    """
    if series[0].dtype.kind not in "MO":
        return series
    if series[0].dtype.kind == "M":
        # Half a microsecond is added, since the conversion cuts off.
        half = np.timedelta64(500, "ns")
        series = [
            (times + half if times.dtype == "M8[ns]" else times).astype("M8[us]")
            for times in series
        ]
        parts = [times.astype(np.int64) for times in series]
        unit = np.timedelta64(1, "us")
    else:
        parts = [np.vectorize(lambda t: t.microsecond, otypes=[int])(times) for times in series]
        unit = datetime.timedelta(microseconds=1)
    off = [(part + 500) % 1000 - 500 for part in parts]
    if max(np.abs(part).max() for part in off) > NOISE:
        return series
    return [times - part * unit for times, part in zip(series, off, strict=True)]


def _periods(valid, reference, units):
    """The times from the reference times to the valid times, (N, F), and their unit, None if it is
    no unit of time.
    """
    periods = valid - reference[:, None]
    if valid.dtype.kind in "MO":
        return in_longest_unit(periods)
    return periods, units if units in UNITS else None


def in_longest_unit(durations):
    """Durations, timedelta64, as numbers of the longest unit in which all are whole numbers.

    Returns:
        The numbers, float64, and the name of the unit, one of `UNITS`.
    """
    microseconds = np.asarray(durations, "timedelta64[us]").astype(np.int64)
    name = next(name for name, size in UNITS.items() if not (microseconds % size).any())
    return microseconds / UNITS[name], name


def _numbers_of_times(series, attributes):
    """Arrays of times as whole numbers, float64, of the record's unit or a shorter one.

    Args:
        series: arrays of datetime64 or cftime objects.
        attributes: the record's "units" and "calendar".

    Returns:
        The arrays of numbers, and "units" and "calendar" as attributes.
    """
    import cftime

    series = [
        times.astype("datetime64[us]").astype(object) if times.dtype.kind == "M" else times
        for times in series
    ]
    first = series[0].flat[0]
    calendar = getattr(first, "calendar", "") or attributes.get("calendar", "standard")
    unit, _, since = attributes.get("units", "").partition(" since ")
    here = first.isoformat(" ")
    choices = [(unit, since)] if unit in UNITS else []
    # Of parts of a second float64 holds whole numbers only if they are not large.
    choices += [(name, since if size > 1000 else here) for name, size in UNITS.items()]
    choices += [(name, here) for name in UNITS]
    for unit, since in choices:
        units = f"{unit} since {since}"
        try:
            numbers = [np.asarray(cftime.date2num(t, units, calendar)) for t in series]
        except ValueError:
            continue
        if all(array.dtype.kind == "i" for array in numbers):
            found = [array.astype(np.float64) for array in numbers]
            return found, {"units": units, "calendar": calendar}
    raise ValueError(f"no units of time for {first}")


def _valid_times(times, input_frames, frames, source):
    """The times of the forecast frames, (frames,): the window's own, continued where it ends."""
    known = times[input_frames : input_frames + frames]
    if len(known) == frames:
        return known
    following = source.frequency.after(times[-1], frames - len(known))
    if times.dtype.kind == "M":
        # Microseconds reach further than nanoseconds, which end in 2262.
        return np.concatenate([known.astype("datetime64[us]"), following])
    return np.concatenate([known, following.astype(times.dtype)])


def _lasting(attributes):
    left_out = (*REFERENCES, *OF_STORED_VALUES, *RESERVED)
    return {name: value for name, value in attributes.items() if name not in left_out}


def _named(name, attributes):
    """Attributes that say what a variable is, if only by its name."""
    if "standard_name" in attributes or "long_name" in attributes:
        return dict(attributes)
    return {**attributes, "long_name": name}


def _as_netcdf(dims, values, attributes):
    """A variable's parts with types that CF knows; attributes of dates say what the numbers are."""
    values = np.asarray(values)
    if values.dtype.kind == "M" or (values.size and hasattr(values.flat[0], "calendar")):
        (values,), encoding = _numbers_of_times([values], attributes)
        attributes = {**attributes, **encoding}
    if values.dtype.kind in "iub" and values.dtype not in (np.int8, np.int16, np.int32):
        fits = values.size == 0 or np.abs(values.astype(np.float64)).max() < 1 << 31
        values = values.astype(np.int32 if fits else np.float64)
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    return dims, values, _plain(attributes)


def _plain(attributes):
    """Attributes of types that NetCDF has; a nested or a logical one, which Zarr has, as JSON."""
    return {
        name: value if _is_plain(value) else json.dumps(value, default=str)
        for name, value in attributes.items()
    }


def _is_plain(value):
    parts = value if isinstance(value, list | tuple) else [value]
    kinds = str, bytes, int, float, np.number, np.ndarray
    return all(isinstance(part, kinds) and not isinstance(part, bool) for part in parts)


def _provenance(source, network):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "Conventions": "CF-1.8",
        "title": f"Forecast of {source.grid.variable}",
        "source": f"ConvLSTM encoder-forecaster, {network}, by MindSpore {ms.__version__}",
        "references": "Shi et al. 2015, arXiv:1506.04214",
        "history": f"{now}: {shlex.join(map(str, sys.argv))}",
        "comment": f"continues {source.name}",
    }


def _pieces(file):
    with open(file, "rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece
