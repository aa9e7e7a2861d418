"""Forecasts as NetCDF files, with the metadata of the record that they continue.

Conventions: CF, chapters 2.6 (provenance), 4.4 (time) and 5 (coordinates);
https://cfconventions.org.
"""

import datetime
import shlex
import sys

import mindspore as ms
import numpy as np

from src.errors import DiskError
from src.formats.time_axis import times_after
from src.runtime.files import scratch_folder, write_atomically

PIECE_BYTES = 1 << 24
# Attributes that refer to variables which the forecast does not contain.
REFERENCES = ("grid_mapping", "ancillary_variables", "coordinates", "bounds")
SEQUENCE, LEAD, REFERENCE = "sequence", "lead", "forecast_reference_time"


def write_netcdf(path, forecasts, source, input_frames, network):
    """Writes forecasts of a record with its coordinates, units and times.

    A single forecast has the dimensions of its record. Several have the dimensions sequence and
    lead instead of the time; their valid times are a coordinate along both.
    `forecast_reference_time` is the time of the last input frame.

    Args:
        path: the file.
        forecasts: (N, F, C, H, W), in the units of the source.
        source: the windows of the record, a dataset with `grid` and `times`.
        input_frames: number of input frames in a window.
        network: name of the network, for the file's attributes.

    Raises:
        DiskError: the file cannot be written.
    """
    import xarray

    grid, single = source.grid, len(forecasts) == 1
    channels, *rest = grid.dims[1:]
    dims = (SEQUENCE, LEAD, channels or "channel", *rest)
    data = xarray.Dataset(
        {grid.variable: (dims, forecasts, _without_references(grid.attributes))},
        _coordinates(grid, dims) | _times(source, input_frames, *forecasts.shape[:2]),
        _provenance(source, network),
    )
    if channels is None:
        data = data.isel(channel=0)
    if single:
        data = data.isel({SEQUENCE: 0})
        data = data.swap_dims({LEAD: grid.time_name}) if grid.time_name in data else data
        data = data.drop_vars(LEAD)
    encoding = {grid.variable: {"_FillValue": np.float32(np.nan)}}
    for name in {grid.time_name, REFERENCE} & set(data.coords):
        if data[name].dtype.kind in "MO":
            attributes = grid.time_attributes
            units = {k: attributes[k] for k in ("units", "calendar") if k in attributes}
            encoding[name] = units | {"dtype": "float64"}
    with scratch_folder() as scratch:
        file = scratch / "forecast.nc"
        try:
            data.to_netcdf(file, encoding=encoding)
        except (OSError, RuntimeError) as error:  # HDF5 raises RuntimeError
            raise DiskError(f"{path}: cannot be written: {error}") from None
        write_atomically(path, _pieces(file))


def _coordinates(grid, dims):
    return {
        name: (axis.dims, axis.values, _without_references(axis.attributes))
        for name, axis in grid.coordinates.items()
        if set(axis.dims) <= set(dims)
    }


def _times(source, input_frames, count, frames):
    """The time coordinates of the forecasts; only the lead if the record has no times."""
    lead = {"long_name": "lead time in frames"}
    coordinates = {LEAD: (LEAD, np.arange(1, frames + 1), lead)}
    if source.times(0) is None:
        return coordinates
    known = [source.times(n) for n in range(count)]
    valid = np.stack([_valid_times(times, input_frames, frames, source) for times in known])
    reference = np.stack([times[input_frames - 1] for times in known])
    if valid.dtype.kind == "M":
        valid, reference = valid.astype("datetime64[ns]"), reference.astype("datetime64[ns]")
    attributes = source.grid.time_attributes
    if valid.dtype.kind in "MO":
        attributes = {k: v for k, v in attributes.items() if k not in ("units", "calendar")}
    standard = {"standard_name": REFERENCE, "long_name": "time of the last frame that was read"}
    units = {k: v for k, v in attributes.items() if k == "units"}
    return coordinates | {
        source.grid.time_name: ((SEQUENCE, LEAD), valid, _without_references(attributes)),
        REFERENCE: (SEQUENCE, reference, standard | units),
    }


def _valid_times(times, input_frames, frames, source):
    """The times of the forecast frames, (frames,): the window's own, continued where it ends."""
    known = times[input_frames : input_frames + frames]
    if len(known) == frames:
        return known
    series = times if len(times) > 1 else source.record_times()
    return np.concatenate([known, times_after(series, frames - len(known)).astype(times.dtype)])


def _without_references(attributes):
    return {name: value for name, value in attributes.items() if name not in REFERENCES}


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
