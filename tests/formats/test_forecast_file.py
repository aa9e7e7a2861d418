"""forecast.nc: a whole CF file, with what the record says of its grid."""

import warnings

import cftime
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compliance_checker.base import BaseCheck
from compliance_checker.runner import CheckSuite

from src.data.normalizer import Normalizer
from src.data.record import Record, Windows
from src.errors import InputError
from src.formats.options import ReadOptions
from src.formats.writers import check_netcdf, write_netcdf

STEPS, ROWS, COLUMNS, READS, FORECASTS = 8, 4, 5, 2, 3
HOURS = pd.date_range("2001-02-28T18", periods=STEPS, freq="h")


def values(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def plain(times=HOURS, **attributes):
    """A record of rain on a grid in metres."""
    coordinates = {
        "time": ("time", times, {"standard_name": "time", "bounds": "time_bnds"}),
        "y": ("y", np.arange(ROWS) * 1e3, {"units": "m"}),
        "x": ("x", np.arange(COLUMNS) * 1e3, {"units": "m"}),
    }
    rain = ("time", "y", "x"), values(STEPS, ROWS, COLUMNS), attributes
    return xr.Dataset({"rain": rain}, coordinates)


def projected():
    """Rain on a polar grid, with latitude and longitude, a height, bounds and a grid mapping."""
    data = plain(
        units="mm h-1", grid_mapping="crs", long_name="rain rate", cell_methods="time: mean"
    )
    y, x = np.meshgrid(data.y, data.x, indexing="ij")
    bounds = np.stack([data.y - 500, data.y + 500], 1)
    data["y"].attrs |= {"standard_name": "projection_y_coordinate", "bounds": "y_bnds"}
    data["x"].attrs |= {"standard_name": "projection_x_coordinate"}
    crs = {
        "grid_mapping_name": "polar_stereographic",
        "straight_vertical_longitude_from_pole": 0.0,
        "latitude_of_projection_origin": 90.0,
        "standard_parallel": 60.0,
        "false_easting": 0.0,
        "false_northing": 0.0,
    }
    degrees = {"units": "degrees_north", "standard_name": "latitude"}
    return data.assign(
        crs=((), np.int32(7), crs), y_bnds=(("y", "bnds"), bounds.astype(float))
    ).assign_coords(
        lat=(("y", "x"), 60 + y / 1e5, degrees),
        lon=(("y", "x"), 8 + x / 1e5, {"units": "degrees_east", "standard_name": "longitude"}),
        height=((), 2.0, {"units": "m", "standard_name": "height", "positive": "up"}),
    )


def on_the_globe():
    """Temperature by latitude and longitude, in 64-bit integers, which CF does not know."""
    data = plain(units="K", standard_name="air_temperature").rename(y="lat", x="lon")
    return data.assign_coords(lat=np.arange(ROWS) + 50, lon=np.arange(COLUMNS))


def monthly(calendar):
    times = xr.date_range("2001-01-16", periods=2 * STEPS, freq="MS", calendar=calendar)[:STEPS]
    return plain(times, units="K", standard_name="air_temperature")


def bands():
    """Two channels without a coordinate of their own."""
    data = plain(units="1")
    return data.assign(rain=(("time", "band", "y", "x"), values(STEPS, 2, ROWS, COLUMNS)))


def windows(path, data, single):
    """The record's end as one window, or four windows, as a source."""
    if data is not None:
        data.to_netcdf(path)
    record = Record(path, ReadOptions())
    starts = [len(record) - READS] if single else [0, 1, 2, 3]
    frames = READS if single else READS + FORECASTS
    return Windows(record, np.array(starts), frames, Normalizer((0.0, 1.0)), "a record")


def forecast(folder, data, single=True):
    """Writes forecast.nc of a record; its values are numbers in a row."""
    source = windows(folder / "record.nc", data, single)
    shape = (len(source), FORECASTS, *source.shape[1:])
    check_netcdf(folder / "forecast.nc", shape, source, READS, "tiny.ckpt")
    write_netcdf(folder / "forecast.nc", values(*shape), source, READS, "tiny.ckpt")
    return folder / "forecast.nc"


@pytest.fixture(scope="module")
def errors_in():
    """A function that returns what the compliance checker calls errors in a file."""
    CheckSuite.load_all_available_checkers()

    def check(path):
        suite = CheckSuite()
        with warnings.catch_warnings(), suite.load_dataset(str(path)) as dataset:
            warnings.simplefilter("ignore")
            groups, failed = suite.run_all(dataset, ["cf:1.8"])["cf:1.8"]
        assert not failed
        wrong = [group for group in groups if group.value[0] != group.value[1]]
        return [text for group in wrong if group.weight == BaseCheck.HIGH for text in group.msgs]

    return check


RECORDS = {
    "plain": plain(units="mm h-1"),
    "without units": plain(),
    "projected": projected(),
    "globe": on_the_globe(),
    "numbers": plain(np.arange(float(STEPS))).rename(time="frame"),
    "months": monthly("standard"),
    "360_day": monthly("360_day"),
    "bands": bands(),
}


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("name", RECORDS)
def test_compliance(tmp_path, errors_in, name, single):
    assert errors_in(forecast(tmp_path, RECORDS[name], single)) == []


def test_what_belongs_to_a_projected_grid(tmp_path):
    """Grid mapping, latitude and longitude, height and bounds are the record's, and named."""
    data = projected()
    with xr.open_dataset(forecast(tmp_path, data), decode_coords="all") as new:
        assert new.rain.encoding["grid_mapping"] == "crs"
        assert new.crs.attrs == data.crs.attrs
        assert new.crs == 7
        assert set(new.coords) == {
            "time", "forecast_period", "forecast_reference_time", "y", "x", "lat", "lon", "height",
            "crs", "y_bnds",
        }  # fmt: skip
        for name in ("lat", "lon", "height", "y_bnds"):
            np.testing.assert_array_equal(new[name], data[name])
        assert new.y.encoding["bounds"] == "y_bnds"
        assert new.rain.cell_methods == "time: mean"
    with netCDF4.Dataset(tmp_path / "forecast.nc") as file:
        assert file["rain"].coordinates.split()[-3:] == ["lat", "lon", "height"]
        assert "bounds" not in file["time"].ncattrs()
        assert [n for n in file.variables if "_FillValue" in file[n].ncattrs()] == ["rain"]


def test_times_and_the_period_since_the_last_input(tmp_path):
    """The record ends at 01:00; four windows share the periods, months do not."""
    with xr.open_dataset(forecast(tmp_path, plain()), decode_timedelta=False) as new:
        np.testing.assert_array_equal(new.time, pd.date_range("2001-03-01T02", periods=3, freq="h"))
        assert new.forecast_reference_time == np.datetime64("2001-03-01T01", "ns")
        assert new.forecast_period.values.tolist() == [1, 2, 3]
        assert new.forecast_period.attrs["units"] == "hours"
        assert new.forecast_period.attrs["standard_name"] == "forecast_period"
        assert (new.time.attrs["standard_name"], new.time.attrs["axis"]) == ("time", "T")
        assert new.time.encoding["units"] == "hours since 2001-02-28 18:00:00"
        assert new.time.encoding["calendar"] == "proleptic_gregorian"
    with xr.open_dataset(forecast(tmp_path, plain(), single=False), decode_timedelta=False) as new:
        assert new.rain.dims == ("sequence", "lead", "y", "x")
        assert new.time.dims == ("sequence", "lead")
        np.testing.assert_array_equal(new.time[2], HOURS[4:7])
        np.testing.assert_array_equal(new.forecast_reference_time, HOURS[1:5])
        assert new.forecast_period.dims == ("lead",)
    path = forecast(tmp_path, monthly("noleap"), single=False)
    with xr.open_dataset(path, decode_timedelta=False) as new:
        assert new.time.values[0, 0] == cftime.DatetimeNoLeap(2001, 4, 1)
        assert new.forecast_period.dims == ("sequence", "lead")
        assert new.forecast_period.values[0].tolist() == [31, 61, 92]
        assert new.forecast_period.values[1].tolist() == [30, 61, 91]
        assert new.forecast_period.attrs["units"] == "days"


def test_five_minutes_in_days(tmp_path):
    """Whole numbers of a shorter unit, since a fraction of a day is read as another second."""
    times = pd.date_range("2001-01-01", periods=STEPS, freq="5min")
    data = plain(times)
    data.time.encoding["units"] = "days since 1850-01-01"
    data.time.encoding["dtype"] = float
    with xr.open_dataset(forecast(tmp_path, data)) as new:
        np.testing.assert_array_equal(new.time, times[-1] + pd.Timedelta("5min") * np.arange(1, 4))
    with netCDF4.Dataset(tmp_path / "forecast.nc") as file:
        assert file["time"].units == "minutes since 1850-01-01"
        assert file["time"][0].item() == 79418880 + 5 * STEPS


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("name", ["lead", "sequence", "forecast_period", "forecast_reference_time"])
@pytest.mark.parametrize("role", ["coordinate", "rows", "variable", "time"])
def test_names_that_the_record_has(tmp_path, errors_in, name, role, single):
    """The record's keep their names and values, ours get a number."""
    if role == "coordinate":
        data = plain().assign_coords({name: ((), 3.0, {"long_name": "of the record"})})
    else:
        data = plain().rename({{"rows": "y", "variable": "rain", "time": "time"}[role]: name})
    path = forecast(tmp_path, data, single)
    assert errors_in(path) == []
    with xr.open_dataset(path, decode_timedelta=False) as new:
        if role == "coordinate":
            assert (new[name].values, new[name].long_name) == (3, "of the record")
        elif role == "rows":
            np.testing.assert_array_equal(new[name], data[name])
        rain = new[name if role == "variable" else "rain"]
        assert rain.shape[-2:] == (ROWS, COLUMNS)
        np.testing.assert_array_equal(rain.values.ravel(), np.arange(rain.size))
        (period,) = new.cf.standard_names["forecast_period"]
        assert (period == name + "_2") == (name == "forecast_period")
        (reference,) = new.cf.standard_names["forecast_reference_time"]
        assert (reference == name + "_2") == (name == "forecast_reference_time")
        if not single:
            sequence, lead = rain.dims[:2]
            assert (sequence == "sequence_2") == (name == "sequence")
            assert (lead == "lead_2") == (name == "lead")


def test_the_record_has_a_reference_time_of_its_own(tmp_path):
    """It is kept as what it is, and only one has the standard name."""
    time = np.datetime64("2001-02-28T00", "ns")
    attributes = {"standard_name": "forecast_reference_time"}
    data = plain().assign_coords(forecast_reference_time=((), time, attributes))
    with xr.open_dataset(forecast(tmp_path, data)) as new:
        assert new.forecast_reference_time == time
        assert new.forecast_reference_time.long_name == "forecast_reference_time of the record"
        assert new.cf.standard_names["forecast_reference_time"] == ["forecast_reference_time_2"]
        assert new.forecast_reference_time_2 == HOURS[-1]


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("named", [True, False])
def test_latitude_and_longitude_that_depend_on_time(tmp_path, moves, named):
    """As WRF writes them: taken from the first time, if the grid does not move."""
    y, x = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    shift = np.arange(STEPS)[:, None, None] * moves
    data = plain(units="mm h-1").drop_vars(["x", "y"]).drop_attrs().rename(time="Time")
    where = {
        "XLAT": (("Time", "y", "x"), 50 + y + shift, {"units": "degree_north"}),
        "XLONG": (("Time", "y", "x"), 8 + x + shift, {"units": "degree_east"}),
    }
    data = data.assign_coords(where) if named else data.assign(where)
    options = ReadOptions("rain")
    data.to_netcdf(tmp_path / "record.nc")
    record = Record(tmp_path / "record.nc", options)
    source = Windows(record, np.array([6]), READS, Normalizer((0.0, 1.0)), "a record")
    write_netcdf(tmp_path / "forecast.nc", values(1, 3, 1, ROWS, COLUMNS), source, READS, "tiny")
    with xr.open_dataset(tmp_path / "forecast.nc") as new:
        assert ({"XLAT", "XLONG"} <= set(new.rain.coords)) != moves
        if not moves:
            np.testing.assert_array_equal(new.XLAT, 50 + y)
            np.testing.assert_array_equal(new.XLONG, 8 + x)
            assert new.XLAT.dims == ("y", "x")


def test_channels_have_labels(tmp_path):
    """The record's, numbers or words; else their numbers."""
    for labels, expected in ((None, [0, 1]), ([850, 500], [850, 500]), (["b", "g"], ["b", "g"])):
        data = bands() if labels is None else bands().assign_coords(band=labels)
        with xr.open_dataset(forecast(tmp_path, data)) as new:
            assert new.rain.dims == ("time", "band", "y", "x")
            assert new.band.values.tolist() == expected


def test_a_level_of_size_one(tmp_path):
    """What is not a channel becomes a scalar coordinate."""
    data = plain().expand_dims(level=[850.0]).transpose("time", "level", "y", "x")
    data.level.attrs = {"units": "hPa", "standard_name": "air_pressure", "positive": "down"}
    with xr.open_dataset(forecast(tmp_path, data)) as new:
        assert new.rain.dims == ("time", "y", "x")
        assert (new.level.values, new.level.units) == (850, "hPa")


def test_a_scalar_that_differs_between_files(tmp_path):
    """No file's number stands for all; what all have is kept."""
    for k, frames in enumerate((slice(4), slice(4, None))):
        data = plain().isel(time=frames).assign_coords(run=k, height=2.0)
        data.to_netcdf(tmp_path / f"record{k}.nc")
    record = Record(tmp_path / "record*.nc", ReadOptions())
    assert set(record.grid.scalars) == {"height"}


def test_attributes_of_zarr(tmp_path):
    """Logical and nested ones, which NetCDF lacks, become JSON; HDF5's own names are left out."""
    nested = {"tiles": [1, {"a": None}], "checked": True, "gain": 0.5, "levels": [1, 2]}
    nested |= {"NAME": "rain", "CLASS": "DIMENSION_SCALE"}
    data = plain(**nested)
    data.to_zarr(tmp_path / "record.zarr", consolidated=False)
    source = windows(tmp_path / "record.zarr", None, True)
    write_netcdf(tmp_path / "forecast.nc", values(1, 3, 1, ROWS, COLUMNS), source, READS, "tiny")
    with netCDF4.Dataset(tmp_path / "forecast.nc") as file:
        assert file["rain"].tiles == '[1, {"a": null}]'
        assert (file["rain"].checked, file["rain"].gain) == ("true", 0.5)
        assert file["rain"].levels.tolist() == [1, 2]
        assert "NAME" not in file["rain"].ncattrs()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rain rate": "mm/h", "a/b": 1}, "a/b"),
        ({"x" * 300: 1}, "x{300}"),
    ],
)
def test_what_cannot_be_written_is_known_before(tmp_path, change, reason):
    """Names that a Zarr store may have and NetCDF may not."""
    data = plain(**change)
    data.to_zarr(tmp_path / "record.zarr", consolidated=False)
    source = windows(tmp_path / "record.zarr", None, True)
    with pytest.raises(InputError, match=f"forecast.nc: NetCDF cannot hold .* of rain: .*{reason}"):
        check_netcdf(tmp_path / "forecast.nc", (1, 3, 1, ROWS, COLUMNS), source, READS, "tiny")
