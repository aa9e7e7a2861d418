"""Times as files have them: units and calendars that are read, and what is said of the others."""

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr

from src.data.record import Record
from src.errors import InputError
from src.formats.cf.times import as_numbers
from src.formats.options import ReadOptions

FRAMES = 12


def write(path, times, units=None, calendar=None, fmt="f8"):
    """Writes a record of 4x5 pixels with times as they are, undecoded; frame t is full of t."""
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", len(times)), ("y", 4), ("x", 5)):
            file.createDimension(name, size)
        time = file.createVariable("time", fmt, ("time",))
        attributes = {"standard_name": "time", "units": units, "calendar": calendar}
        time.setncatts({k: v for k, v in attributes.items() if v})
        time[:] = times
        rain = file.createVariable("rain", "f4", ("time", "y", "x"))
        rain[:] = np.broadcast_to(np.arange(len(times))[:, None, None], (len(times), 4, 5))
    return path


def opened(path):
    return Record(path, ReadOptions())


def ends(record):
    """The first and the last time, as text."""
    return [str(record.times[k])[:16].replace(" ", "T") for k in (0, -1)]


MONTHS = np.arange(FRAMES)
IN_MONTHS = "months since 1960-01-01"


@pytest.mark.parametrize(
    ("times", "units", "calendar", "rule", "first_and_last"),
    [
        (MONTHS, IN_MONTHS, "360_day", "MS", ["1960-01-01T00:00", "1960-12-01T00:00"]),
        (MONTHS + 0.5, IN_MONTHS, "360", "MC", ["1960-01-16T00:00", "1960-12-16T00:00"]),
        (MONTHS, IN_MONTHS, "standard", "MS", ["1960-01-01T00:00", "1960-12-01T00:00"]),
        (MONTHS, IN_MONTHS, None, "MS", ["1960-01-01T00:00", "1960-12-01T00:00"]),
        (MONTHS + 0.5, IN_MONTHS, "noleap", "MC", ["1960-01-16T12:00", "1960-12-16T12:00"]),
        (MONTHS, "month since 1960-01-15", "julian", "M15",
         ["1960-01-15T00:00", "1960-12-15T00:00"]),
        (MONTHS, "years since 1960-07-01", "standard", "12MS",
         ["1960-07-01T00:00", "1971-07-01T00:00"]),
        (20000101.25 + np.arange(FRAMES), "day as %Y%m%d.%f", "proleptic_gregorian", "D",
         ["2000-01-01T06:00", "2000-01-12T06:00"]),
        ([20000229, 20000301, 20000302], "day as %Y%m%d.%f", None, "D",
         ["2000-02-29T00:00", "2000-03-02T00:00"]),
        ([20000229, 20000230, 20000301], "day as %Y%m%d.%f", "360_day", "D",
         ["2000-02-29T00:00", "2000-03-01T00:00"]),
        ([200011, 200012, 200101], "month as %Y%m.%f", "standard", "MS",
         ["2000-11-01T00:00", "2001-01-01T00:00"]),
        (MONTHS, "days since 2300-01-01", "standard", "D",
         ["2300-01-01T00:00", "2300-01-12T00:00"]),
        (MONTHS, "hours since 2001-01-01", "365", "h", ["2001-01-01T00:00", "2001-01-01T11:00"]),
    ],
)  # fmt: skip
def test_units_and_calendars(tmp_path, times, units, calendar, rule, first_and_last):
    """Months are those of the calendar; what xarray itself reads it reads alike."""
    record = opened(write(tmp_path / "r.nc", times, units, calendar))
    assert ends(record) == first_and_last
    assert str(record.steps.frequency) == rule


def test_what_is_assumed_is_noted(tmp_path):
    record = opened(write(tmp_path / "a.nc", MONTHS, IN_MONTHS, "standard"))
    assert record.notes() == f"{IN_MONTHS} are read as months of the calendar"
    record = opened(write(tmp_path / "b.nc", MONTHS + 0.5, IN_MONTHS, "360"))
    assert record.notes() == "calendar 360 is read as 360_day"
    record = opened(write(tmp_path / "c.nc", MONTHS, IN_MONTHS, "360_day"))
    assert record.notes() == ""


@pytest.mark.parametrize(
    ("times", "units", "calendar", "message"),
    [
        (MONTHS + 0.3, IN_MONTHS, "standard",
         r"months of the calendar standard differ in length, .* cdo setreftime,1960-01-01,"),
        (MONTHS + 0.5, "months since 1960-01-15", "noleap", "months of the calendar noleap"),
        ([20000228, 20000229, 20000230], "day as %Y%m%d.%f", "standard",
         "20000230 is no date of the calendar standard"),
        ([200011.5, 200012.5, 200101.5], "month as %Y%m.%f", "standard",
         "200011.5 is not a whole month"),
        (MONTHS, "hour as %H", None, "units, 'hour as %H', are not known; 'day as %Y%m%d.%f' are"),
        (MONTHS, "days since 2001-01-01", "lunar", "unable to decode time units .* 'lunar'"),
        ([20010131, 20010201, 20010202], None, None,
         "numbers that look like dates, 20010131 for example: state them as 'hours since' a date"),
        ([200111, 200112, 200201], "1", None, "numbers that look like dates, 200111 for example"),
        ([2001013122, 2001013123, 2001020100], None, None, "look like dates, 2001013122 for ex"),
        ([0, 1, np.nan, 3], "days since 2001-01-01", None, "time has missing times"),
        ([0, 1, np.nan, 3], None, None, "time has missing times"),
        ([0, 1, np.nan, 3], "days since 2001-01-01", "noleap", "time has missing times"),
        ([0, 1, 3, 7, 15, 31], "hours since 2001-01-01", None,
         "times follow no rule: steps are from 3600 s to 57600 s, .* bring the frames to one step"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, times, units, calendar, message):
    with pytest.raises(InputError, match=message):
        opened(write(tmp_path / "r.nc", times, units, calendar))


def test_times_that_are_none(tmp_path):
    """Text, and times in some files only."""
    values = (("time", "y", "x"), np.zeros((3, 4, 5), np.float32))
    text = ("time", ["2001-01-01", "2001-01-02", "2001-01-03"], {"standard_name": "time"})
    xr.Dataset({"rain": values}, {"time": text}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="a.nc: time holds text; times are numbers with units"):
        opened(tmp_path)
    xr.Dataset({"rain": values}).to_netcdf(tmp_path / "a.nc")
    write(tmp_path / "b.nc", [3, 4, 5], "days since 2001-01-01")
    with pytest.raises(InputError, match="a.nc: has no times, and other files of the record have"):
        opened(tmp_path)


@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian"])
def test_files_before_and_after_2262(tmp_path, calendar):
    """One series of months across the end of what nanoseconds can hold."""
    begin = cftime.date2num(cftime.datetime(2262, 3, 30), "days since 2001-01-01")
    write(
        tmp_path / "1.nc", begin - FRAMES + np.arange(FRAMES), "days since 2001-01-01", "standard"
    )
    write(tmp_path / "2.nc", begin + np.arange(FRAMES), "days since 2001-01-01", calendar)
    write(tmp_path / "3.nc", begin + 12 + MONTHS, "days since 2001-01-01", calendar)
    record = opened(tmp_path)
    assert ends(record) == ["2262-03-18T00:00", "2262-04-22T00:00"]
    assert (str(record.steps.frequency), record.notes()) == ("D", "")
    assert len(record.windows(range(36), 20, 1)) == 17


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "julian", "standard", "all_leap"])
def test_dates_as_numbers(calendar):
    """Seconds apart as cftime counts them, leap days and the calendar's reform included."""
    dates = xr.date_range("1582-09-10T05:07:03", periods=999, freq="7h", calendar=calendar,
        use_cftime=True).values  # fmt: skip
    expected = cftime.date2num(dates, "seconds since 1970-01-01", calendar)
    np.testing.assert_array_equal(np.diff(as_numbers(dates)), np.diff(expected))
    np.testing.assert_array_equal(np.diff(as_numbers(dates)), 25200)


def test_packed_months(tmp_path):
    """Numbers in hundredths, which are unpacked before they are taken for months."""
    path = write(tmp_path / "r.nc", 50 + 100 * MONTHS, IN_MONTHS, "standard", "i2")
    with netCDF4.Dataset(path, "a") as file:
        file["time"].scale_factor = 0.01
    assert ends(opened(path)) == ["1960-01-16T12:00", "1960-12-16T12:00"]


def test_files_of_two_calendars(tmp_path):
    write(tmp_path / "1.nc", MONTHS, "days since 2001-01-01", "noleap")
    for units, calendar, message in (
        (
            "days since 2002-01-01",
            "360_day",
            "2.nc: has the calendar 360_day, and 1.nc the calendar",
        ),
        (
            "days since 2002-01-01",
            None,
            "has the calendar standard, and 1.nc the calendar noleap: ",
        ),
        (None, None, "2.nc: has times without dates, and 1.nc the calendar noleap"),
    ):
        write(tmp_path / "2.nc", MONTHS, units, calendar)
        with pytest.raises(InputError, match=message):
            opened(tmp_path)


@pytest.mark.parametrize("units", ["days since 1960-01-01", "hours since 2001-02-03T04:05:06"])
@pytest.mark.parametrize("fmt", ["i4", "i8", "f4", "f8"])
def test_other_times_are_those_of_xarray(tmp_path, units, fmt):
    path = write(tmp_path / "r.nc", np.arange(40, 52), units, fmt=fmt)
    with xr.open_dataset(path) as dataset:
        times = opened(path).times
        np.testing.assert_array_equal(times, dataset.time.values)
        assert times.dtype == dataset.time.dtype
