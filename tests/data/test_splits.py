"""The splits of a record by dates: which frames they hold, in any calendar, and what is refused."""

import numpy as np
import pytest
import xarray as xr

from src.config.presets import make_config
from src.config.schema import Config
from src.data.sources import evaluation_source, mean_image_source, training_sources
from src.errors import InputError
from src.tools.new_run import new_config, resolve_dataset

FRAMES = {"input_frames": 3, "forecast_frames": 2}
DATES = {"validate_from": "2001-02-24", "test_from": "2001-02-28T00:00Z"}


def write(path, count=60, calendar="standard", freq="D", start="2001-02-01"):
    """A record in which the frame of day t is full of the number t."""
    frames = np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 8, 12))
    times = xr.date_range(start, periods=count, freq=freq, calendar=calendar,
        use_cftime=calendar != "standard")  # fmt: skip
    xr.Dataset({"rain": (("time", "y", "x"), frames, {"units": "mm"})}, {"time": times}).to_netcdf(
        path
    )
    return path


def config_of(path, **options):
    options = {"dataset": str(path), "value_range": (0.0, 100.0), **FRAMES} | options
    return make_config("small", resolve_dataset({"batch_size": 1} | options)[0])


def days_of(source):
    """The days of the first and the last frame of a source's windows."""
    windows = source[range(len(source))][:, :, 0, 0, 0].astype(int)
    return int(windows.min()), int(windows.max())


def test_validation_and_test_begin_at_the_dates(tmp_path):
    """Day 0 is 1 February: validation begins with day 23, test with the first one after 42.5."""
    config = config_of(write(tmp_path / "r.nc"), held_out=0.4,
        validate_from="2001-02-24", test_from="2001-03-15 12:00")  # fmt: skip
    train, validation = training_sources(config)
    assert days_of(train) == (0, 22 - 5)
    assert days_of(validation) == (23, 42 - 5)
    assert days_of(evaluation_source(config)) == (43, 59)
    assert days_of(mean_image_source(config)) == (0, 17)
    assert "validation split (11 windows of 5 frames, 2001-02-24T00:00 to" in validation.name
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(("calendar", "first"), [("360_day", 30), ("noleap", 28), ("julian", 29)])
def test_the_dates_are_of_the_record_s_calendar(tmp_path, calendar, first):
    """1 March 2004 is 30, 28 or 29 days after 1 February; the 30th is a date in one calendar."""
    path = write(tmp_path / "r.nc", calendar=calendar, start="2004-02-01")
    dates = {"validate_from": "2004-03-01", "test_from": "2004-03-20"}
    assert days_of(training_sources(config_of(path, **dates))[1])[0] == first
    dates["validate_from"] = "2004-02-30"
    if calendar == "360_day":
        assert days_of(training_sources(config_of(path, **dates))[1])[0] == 29
    else:
        with pytest.raises(InputError, match=f"02-30, which is no date of the calendar {calendar}"):
            config_of(path, **dates)


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ({"validate_from": "2001-01-31"},
         "r.nc: validate_from is 2001-01-31, outside of the record, which reaches from 2001-02-01"),
        ({"test_from": "2001-04-02"}, "test_from is 2001-04-02, outside of the record"),
        ({"validate_from": "2001-03-01"}, "2001-03-01, and test_from 2001-02-28T00:00Z: the valid"),
        ({"validate_from": "2001-02-28"}, "the validation split comes first in time"),
        ({"validate_from": "24.2.2001"}, "validate_from is '24.2.2001': it must be a date such as"),
        ({"test_from": "2001-02-28T06:00+01:00"}, "test_from is .* in the time zone of the record"),
        ({"validate_from": "2001-02-29", "test_from": "2001-03-20"},
         "2001-02-29, which is no date of the calendar standard"),
        ({"test_from": None}, "validate_from is given without test_from"),
        ({"validate_from": None}, "test_from is given without validate_from"),
        ({"validate_from": "2001-02-03", "test_from": "2001-03-20"},
         "its train split, which is empty, has no 5 frames in a row .* a gap of 5 frames before"),
        ({"validate_from": "2001-02-10"} , "its train split, 2001-02-01T00:00 to .*-04T00:00, has"),
        ({"validate_from": "2001-02-20", "test_from": "2001-02-28"}, "its validation split, 2001"),
        ({"validate_from": "2001-02-25"}, "its validation split, which is empty, has no"),
        ({"validate_from": "2001-02-20", "test_from": "2001-03-31"}, "its test split, 2001-03-31"),
    ],
)  # fmt: skip
def test_dates_that_do_not_do(tmp_path, dates, message):
    with pytest.raises(InputError, match=message):
        config_of(write(tmp_path / "r.nc"), **DATES | dates)


def test_where_there_are_no_dates(tmp_path):
    """Records without times, whole sequences, moving digits."""
    np.save(tmp_path / "r.npy", np.zeros((60, 8, 12), np.float32))
    np.save(tmp_path / "s.npy", np.zeros((9, 5, 1, 8, 12), np.float32))
    with pytest.raises(InputError, match=r"r.npy: has no times with dates, and validate_from is 2"):
        config_of(tmp_path / "r.npy", **DATES)
    with pytest.raises(InputError, match=r"s.npy: holds whole sequences, which are split at rand"):
        config_of(tmp_path / "s.npy", **DATES)
    with pytest.raises(InputError, match="validate_from is 2001-02-24: it can be set only with --"):
        make_config("small", DATES)


def test_a_grown_record_is_measured_from_the_same_date_on(tmp_path):
    """The test split of 60 days, from day 43 on, and 20 days more."""
    dates = {"validate_from": "2001-02-24", "test_from": "2001-03-16"}
    config = config_of(write(tmp_path / "r.nc"), **dates)
    grown = str(write(tmp_path / "grown.nc", 80))
    assert days_of(evaluation_source(config, dataset=grown)) == (43, 79)


def test_held_out_beside_dates_is_refused(tmp_path):
    """Of two rules for the splits neither is left out in silence; inherited dates count too."""
    dates = {"validate_from": "2001-02-24", "test_from": "2001-03-16"}
    flags = {"preset": "small", "recipe": None, "config": None, "value_range": (0.0, 100.0)}
    flags |= {"dataset": str(write(tmp_path / "r.nc")), "batch_size": 1, **FRAMES}
    config, _ = new_config(flags | dates, "CPU")
    assert config.data.test_from == "2001-03-16"
    with pytest.raises(InputError, match="held_out is given, and validate_from 2001-02-24 says wh"):
        new_config(flags | dates | {"held_out": 0.1}, "CPU")
    del flags["dataset"], flags["preset"]
    again, _ = new_config(flags | {"preset": None}, "CPU", saved=config)
    assert again.data == config.data
    with pytest.raises(InputError, match="leave --held_out out"):
        new_config(flags | {"preset": None, "held_out": 0.1}, "CPU", saved=config)
