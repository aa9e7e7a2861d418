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
    data = plain(units="mm h-1", grid_mapping="crs", long_name="rain rate", cell_methods="time: mean")
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
    "months": monthly("standard"),
    "360_day": monthly("360_day"),
    "bands": bands(),
}


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("name", RECORDS)
def test_compliance(tmp_path, errors_in, name, single):
    assert errors_in(forecast(tmp_path, RECORDS[name], single)) == []
