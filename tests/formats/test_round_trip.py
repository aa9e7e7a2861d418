"""Records as people have them, to forecast.nc and back: times, values, masks and coordinates.

Hypothesis draws how a record is stored. It is read, cut into windows, and "forecast" by a network
that repeats its last inputs; xarray and netCDF4-python read what was written. More records than the
suite draws, and others each time: ROUND_TRIPS=400 python -m pytest -n 0 <this file>
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cftime
import netCDF4
import numpy as np
import xarray as xr
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from src.data.normalizer import Normalizer
from src.data.record import Record, Windows
from src.formats.options import ReadOptions
from src.formats.writers import check_netcdf, write_netcdf

STEPS, READS, FORECASTS = 7, 3, 2
EXAMPLES = int(os.environ.get("ROUND_TRIPS", 60))
CALENDARS = ("standard", "proleptic_gregorian", "noleap", "360_day", "julian")
# Of xarray.date_range, which has them for all calendars.
FREQUENCIES = ("5min", "h", "6h", "D", "5D", "MS", "3MS", "YS")
UNITS = ("seconds since 1970-01-01", "hours since 1990-01-01 06:00:00", "days since 1850-01-01")


@dataclass(frozen=True)
class Packing:
    """How values are stored: value = stored * scale + offset, of numbers from low to high."""

    dtype: str
    low: int
    high: int
    scale: float = 1.0
    offset: float = 0.0

    @property
    def attributes(self):
        """Those by which readers unpack the values."""
        packed = self.scale != 1
        return {"scale_factor": self.scale, "add_offset": self.offset} if packed else {}


PACKINGS = {
    "float32": Packing("f4", -100, 100),
    "float64": Packing("f8", -100, 100),
    "int16": Packing("i2", -3000, 3000, 0.25, 273.0),
    "bytes": Packing("i1", -100, 100, 0.5, 64.0),
    "int32": Packing("i4", -100, 100),
}


# What stands for a missing value in the file, and the attributes and flags that say so.
def _no_rule(packing):
    return None, {}, {}


def _fill_value(packing):
    value = np.dtype(packing.dtype).type(packing.low - 9)
    return value, {"_FillValue": value}, {}


def _missing_value(packing):
    value = np.dtype(packing.dtype).type(packing.high + 7)
    return value, {"missing_value": value}, {}


def _not_a_number(packing):
    value = np.nan if packing.dtype[0] == "f" else np.dtype(packing.dtype).type(packing.low - 1)
    return value, {"_FillValue": value}, {}


def _valid_range(packing):
    kind = np.dtype(packing.dtype).type
    return kind(packing.high + 1), {"valid_range": np.array([packing.low, packing.high], kind)}, {}


def _valid_min(packing):
    kind = np.dtype(packing.dtype).type
    return kind(packing.low - 1), {"valid_min": kind(packing.low)}, {}


def _default_fill(packing):
    if packing.dtype == "i1":
        # Bytes have no default: all of them are values.
        return _fill_value(packing)
    return np.dtype(packing.dtype).type(netCDF4.default_fillvals[packing.dtype]), {}, {}


def _nodata(packing):
    value = np.dtype(packing.dtype).type(packing.low - 20)
    return value, {}, {"nodata": (float(value),)}


RULES = {
    "none": _no_rule,
    "_FillValue": _fill_value,
    "missing_value": _missing_value,
    "NaN": _not_a_number,
    "valid_range": _valid_range,
    "valid_min": _valid_min,
    "default fill": _default_fill,
    "nodata": _nodata,
}


# How the frames lie in files: each writes them, and returns the path and flags to read them by.
def _netcdf(data, path, **options):
    encoding = {name: {} if "_FillValue" in v.attrs else {"_FillValue": None} for name, v in
        data.variables.items()}  # fmt: skip
    data.to_netcdf(path, encoding=encoding, **options)


def _one_file(data, folder):
    _netcdf(data, folder / "record.nc")
    return folder / "record.nc", {}


def _classic(data, folder):
    _netcdf(data, folder / "record.nc", format="NETCDF3_64BIT")
    return folder / "record.nc", {}


def _several(data, folder):
    for number, frames in enumerate(np.array_split(np.arange(STEPS), 3)):
        # The later ones first: the order is that of times, not of names.
        _netcdf(data.isel(time=frames), folder / f"part{9 - number}.nc")
    return folder, {}


def _frame_a_file(data, folder):
    for number in range(STEPS):
        _netcdf(data.isel(time=[number]), folder / f"{number}.nc")
    return folder / "*.nc", {}


def _scalar_times(data, folder):
    for number in range(STEPS):
        _netcdf(data.isel(time=number), folder / f"{number}.nc")
    return folder, {}


def _group(data, folder):
    _netcdf(data, folder / "record.nc", group="Grid")
    return folder / "record.nc", {}


def _zarr(data, folder):
    data.to_zarr(folder / "record.zarr", consolidated=False, zarr_format=2)
    return folder / "record.zarr", {}


def _zarr_3(data, folder):
    data.to_zarr(folder / "record.zarr", consolidated=False, zarr_format=3)
    return folder / "record.zarr", {}


LAYOUTS = {
    "one file": _one_file,
    "classic": _classic,
    "several": _several,
    "a frame a file": _frame_a_file,
    "scalar times": _scalar_times,
    "group": _group,
    "zarr": _zarr,
    "zarr 3": _zarr_3,
}


@dataclass(frozen=True)
class Case:
    """A record: how it is stored, and how many windows of it are forecast."""

    calendar: str
    frequency: str
    start: tuple
    units: str
    packing: str
    rule: str
    layout: str
    dims: tuple
    rows: str
    single: bool
    seed: int


def choices(names):
    """A strategy for the keys of a table."""
    return st.sampled_from(list(names))


CASES = st.builds(
    Case,
    calendar=choices(CALENDARS),
    frequency=choices(FREQUENCIES),
    start=st.tuples(
        st.integers(1990, 2030), st.integers(1, 12), st.integers(1, 28), st.sampled_from([0, 6, 23])
    ),
    units=choices(UNITS),
    packing=choices(PACKINGS),
    rule=choices(RULES),
    layout=choices(LAYOUTS),
    dims=st.sampled_from([("time", "y", "x"), ("time", "band", "y", "x")]).flatmap(st.permutations),
    rows=st.sampled_from(["lat", "y"]),
    single=st.booleans(),
    seed=st.integers(0, 99),
)


def times_of(case):
    """The times of the record's frames and of those that follow, cftime objects."""
    start = cftime.datetime(*case.start, calendar=case.calendar)
    return xr.date_range(
        start,
        periods=STEPS + FORECASTS,
        freq=case.frequency,
        calendar=case.calendar,
        use_cftime=True,
    ).values


def record_of(case):
    """The record as it is stored, a Dataset that is not decoded; its values, (T, C, H, W), NaN
    where they are missing; and the flags to read it by.
    """
    rng, packing = np.random.default_rng(case.seed), PACKINGS[case.packing]
    shape = STEPS, 2 if "band" in case.dims else 1, 3, 4
    stored = rng.integers(packing.low, packing.high + 1, shape).astype(packing.dtype)
    values = stored.astype(np.float64) * packing.scale + packing.offset
    # Zarr has no default for what is missing.
    rule = "_FillValue" if (case.rule, case.layout[:4]) == ("default fill", "zarr") else case.rule
    code, attributes, flags = RULES[rule](packing)
    if code is not None:
        missing = rng.random(shape) < 0.2
        stored[missing], values[missing] = code, np.nan
    order = [d for d in ("time", "band", "y", "x") if d in case.dims]
    array = xr.DataArray(stored if "band" in order else stored[:, 0], dims=order)
    array.attrs = {
        "units": "K",
        "long_name": "what is measured",
        **packing.attributes,
        **attributes,
    }
    numbers = cftime.date2num(times_of(case)[:STEPS], case.units, case.calendar)
    of_time = {"units": case.units, "calendar": case.calendar, "standard_name": "time"}
    data = array.transpose(*case.dims).to_dataset(name="t2m")
    data = data.assign_coords(coordinates_of(case))
    data["t2m"].attrs |= {"coordinates": "height", "grid_mapping": "crs"}
    data["time"] = "time", np.asarray(numbers, np.float64), of_time
    return data, values, flags


def coordinates_of(case):
    """Rows and columns with bounds, a height and a grid mapping."""
    names = ("latitude", "longitude") if case.rows == "lat" else ("projection_y_coordinate",
        "projection_x_coordinate")  # fmt: skip
    units = ("degrees_north", "degrees_east") if case.rows == "lat" else ("m", "m")
    y, x = 50.5 - np.arange(3.0), np.arange(4.0) / 4
    of_y = {"standard_name": names[0], "units": units[0], "bounds": "y_bnds"}
    return {
        "y": ("y", y, of_y),
        "x": ("x", x, {"standard_name": names[1], "units": units[1]}),
        "y_bnds": (("y", "nv"), np.stack([y - 0.5, y + 0.5], 1)),
        "height": ((), 2.0, {"units": "m", "standard_name": "height"}),
        "crs": ((), np.int32(0), {"grid_mapping_name": "latitude_longitude"}),
    }


def forecast(case, folder):
    """Writes a record and its forecast; returns the forecast's values and number of windows."""
    data, values, flags = record_of(case)
    path, more = LAYOUTS[case.layout](data.reset_coords(), folder)
    record = Record(path, ReadOptions("t2m", **flags, **more))
    starts = [STEPS - READS] if case.single else range(STEPS - READS - FORECASTS + 1)
    frames = READS if case.single else READS + FORECASTS
    source = Windows(record, np.array(starts), frames, Normalizer((0.0, 1.0)), "a record")
    inputs = source[range(len(source))][:, :READS]
    repeated = inputs[:, READS - FORECASTS :].astype(np.float32)
    check_netcdf(folder / "forecast.nc", repeated.shape, source, READS, "the identity")
    write_netcdf(folder / "forecast.nc", repeated, source, READS, "the identity")
    expected = [values[start + READS - FORECASTS : start + READS] for start in starts]
    return np.stack(expected), list(starts)


def check_times(valid, reference, period, case, starts):
    """Times as cftime objects, and periods in seconds, against those of the calendar."""
    times = times_of(case)
    for n, start in enumerate(starts):
        last = start + READS - 1
        assert abs((reference[n] - times[last]).total_seconds()) < 1e-3
        for k in range(FORECASTS):
            expected = times[last + 1 + k]
            assert abs((valid[n, k] - expected).total_seconds()) < 1e-3, (valid[n, k], expected)
            seconds = (expected - times[last]).total_seconds()
            assert abs(period[n, k] - seconds) < 1e-3


def as_windows(array, case):
    """An array of the forecast with the axis of windows in front, also if there is only one."""
    return array[None] if case.single else array


def periods(values, units, shape):
    """Forecast periods in seconds, (N, F)."""
    seconds = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}[units]
    return np.broadcast_to(np.asarray(values) * seconds, shape)


def check_with_xarray(path, case, expected, starts):
    coder = xr.coders.CFDatetimeCoder(use_cftime=True)
    with xr.open_dataset(
        path, decode_coords="all", decode_times=coder, decode_timedelta=False
    ) as new:
        values = new["t2m"].values.reshape(expected.shape)
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        valid, reference = as_windows(new["time"].values, case), new.forecast_reference_time.values
        period = periods(new.forecast_period, new.forecast_period.units, expected.shape[:2])
        check_times(valid, np.atleast_1d(reference), period, case, starts)
        for name, (dims, coordinate, *_) in coordinates_of(case).items():
            assert new[name].dims == tuple(dims if isinstance(dims, tuple) else (dims,))
            np.testing.assert_array_equal(new[name], coordinate)
        assert set(new.data_vars) == {"t2m"}


def check_with_netcdf4(path, case, expected, starts):
    with netCDF4.Dataset(path) as file:
        variable = file["t2m"]
        mask = np.ma.getmaskarray(variable[:]).reshape(expected.shape)
        np.testing.assert_array_equal(mask, np.isnan(expected))
        values = variable[:].filled(np.nan).reshape(expected.shape)
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        units, calendar = file["time"].units, file["time"].calendar
        valid = as_windows(cftime.num2date(file["time"][:].filled(), units, calendar), case)
        of_reference = file["forecast_reference_time"]
        reference = np.atleast_1d(
            cftime.num2date(of_reference[:], of_reference.units, of_reference.calendar)
        )
        of_period = file["forecast_period"]
        period = periods(of_period[:], of_period.units, expected.shape[:2])
        check_times(valid, reference, period, case, starts)
        check_references(file)
        band = ("band",) if "band" in case.dims else ()
        dims = ("time",) if case.single else ("sequence", "lead")
        assert variable.dimensions == (*dims, *band, "y", "x")


def check_references(file):
    """All that attributes name is in the file, and no attribute is of the record's packing."""
    for name, variable in file.variables.items():
        for attribute in ("coordinates", "bounds", "grid_mapping"):
            named = getattr(variable, attribute, "").split()
            assert set(named) <= set(file.variables)
        packing = {"scale_factor", "add_offset", "missing_value", "valid_range", "valid_min"}
        assert not packing & set(variable.ncattrs())
        assert ("_FillValue" in variable.ncattrs()) == (name == "t2m")


@settings(
    max_examples=EXAMPLES,
    derandomize="ROUND_TRIPS" not in os.environ,
    deadline=None,
    database=None,
    # A case is shown as it was drawn: to simplify one takes minutes.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(CASES)
def test_round_trip(case):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        expected, starts = forecast(case, folder)
        note(str(case))
        check_with_xarray(folder / "forecast.nc", case, expected, starts)
        check_with_netcdf4(folder / "forecast.nc", case, expected, starts)
