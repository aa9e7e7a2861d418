"""Time steps of a record: its windows, those of other files, and the times of its forecasts."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from src import checkpoint
from src.config.presets import make_config
from src.data.normalizer import Normalizer
from src.data.record import Record, RecordFile
from src.data.sources import evaluation_source, training_sources
from src.errors import InputError
from src.formats.options import ReadOptions
from src.formats.writers import write_netcdf
from src.tools.new_run import resolve_dataset

SAVED_RUNS = Path(__file__).resolve().parents[1] / "saved_runs"
# As version 0.2.0 computed it.
FINGERPRINT = 3591560379
FRAMES = {"input_frames": 3, "forecast_frames": 2}
MINUTE, DAY = np.timedelta64(1, "m"), np.timedelta64(1, "D")


def write(path, times, units="mm"):
    """A record of 8x12 pixels whose frame t is full of the number t."""
    times = pd.DatetimeIndex(times) if times[0].__class__ is np.datetime64 else times
    values = np.broadcast_to(np.float32(np.arange(len(times)))[:, None, None], (len(times), 8, 12))
    data = xr.Dataset({"rain": (("time", "y", "x"), values, {"units": units})}, {"time": times})
    data.to_netcdf(path)
    return path


def dates(step, count=60, start="2001-01-01"):
    return pd.date_range(start, periods=count, freq=step).values


def config_of(path, **options):
    options = {"dataset": str(path), "value_range": (0.0, 100.0), **FRAMES} | options
    return make_config("small", resolve_dataset({"batch_size": 1} | options)[0])


def test_windows_span_no_short_step(tmp_path):
    """A scan repeated after frame 7; frames of five minutes from frame 31 on, of ten before."""
    times = dates("10min")
    repeated = np.sort(np.append(times, times[7] + np.timedelta64(1, "s")))
    record = Record(write(tmp_path / "a.nc", repeated), ReadOptions())
    assert record.notes() == "1 short step in time, which no window contains"
    starts = record.windows(range(len(record)), 5, 1)
    assert set(range(57)) - set(starts) == {4, 5, 6, 7}
    denser = np.sort(np.append(times[:50], times[30:34] + 5 * MINUTE))
    record = Record(write(tmp_path / "b.nc", denser), ReadOptions())
    assert record.notes() == "8 short steps in time, which no window contains"
    starts = record.windows(range(len(record)), 5, 1)
    assert starts.tolist() == [*range(27), *range(38, 50)]


def test_a_record_from_before(tmp_path):
    """Its fingerprint, and the numbers of its windows, are those that a checkpoint has stored."""
    saved = checkpoint.load(SAVED_RUNS / "masked_record.ckpt").config.data
    assert saved.frequency is None
    record = Record(SAVED_RUNS / "record.nc", ReadOptions())
    assert record.fingerprint() == saved.dataset_crc
    windows = record.windows(record.splits(saved)["train"], 6, 1)
    assert len(windows) == saved.epoch_size
    gaps = Record(write(tmp_path / "r.nc", np.delete(dates("MS"), 7)), ReadOptions())
    assert (gaps.fingerprint(), gaps.steps.long_steps) == (FINGERPRINT, 1)


def test_windows_of_months_with_gaps(tmp_path):
    """Two months are missing, and one is dated two weeks too late."""
    times = np.delete(dates("MS", 40), [9, 20])
    times[30] += 14 * DAY
    record = Record(write(tmp_path / "r.nc", times), ReadOptions())
    assert str(record.steps.frequency) == "MS"
    assert (record.steps.gaps, record.steps.short_steps) == (3, 1)
    starts = record.windows(range(38), 5, 1)
    assert starts.tolist() == [*range(5), *range(9, 15), *range(19, 26), *range(31, 34)]


def test_a_run_stores_its_frequency(tmp_path, capsys):
    config = config_of(write(tmp_path / "r.nc", dates("30min")))
    assert config.data.frequency == "30min"
    assert "frequency: 30min\n" in capsys.readouterr().out
    evaluation_source(config)
    training_sources(config)
    assert "frequency" not in capsys.readouterr().out
    np.save(tmp_path / "r.npy", np.zeros((60, 8, 12), np.float32))
    assert config_of(tmp_path / "r.npy").data.frequency is None


def test_a_file_with_another_step(tmp_path, capsys):
    """Refused, but for --any_step; the same step at another place of the month is none."""
    config = config_of(write(tmp_path / "r.nc", dates("MS")))
    other = write(tmp_path / "days.nc", dates("30D"))
    with pytest.raises(
        InputError, match="days.nc: its step is 30D, and .* trained with MS"
    ) as info:
        evaluation_source(config, dataset=other, value_range=(0.0, 100.0))
    assert "--any_step goes on with the file's own" in info.value.text_for(["--any_step"])
    free = config.reading({"any_step": True})
    assert len(evaluation_source(free, dataset=other, value_range=(0.0, 100.0))) == 56
    assert f"frequency: 30D, found in {other}" in capsys.readouterr().out
    middles = write(tmp_path / "middles.nc", dates("MS") + 14 * DAY)
    source = evaluation_source(config, dataset=middles, value_range=(0.0, 100.0))
    assert str(source.frequency) == "M15"
    assert f"frequency: M15, found in {middles}" in capsys.readouterr().out
    with pytest.raises(InputError, match="its step is 1, and the network was trained with MS"):
        evaluation_source(config, dataset=write(tmp_path / "n.nc", np.arange(60.0)))


def test_a_checkpoint_from_before(tmp_path, capsys):
    """Its frequency is unknown: found in its record, or in the new file, and printed."""
    path = write(tmp_path / "r.nc", dates("h"))
    config = config_of(path)
    old = dataclasses.replace(config, data=dataclasses.replace(config.data, frequency=None))
    capsys.readouterr()
    assert evaluation_source(old).indices.tolist() == evaluation_source(config).indices.tolist()
    assert capsys.readouterr().out == f"frequency: h, found in {path}\n"
    days = write(tmp_path / "days.nc", dates("D"))
    evaluation_source(old, dataset=days, value_range=(0.0, 100.0))
    assert f"frequency: D, found in {days}" in capsys.readouterr().out


def forecast_times(folder, times, known, inputs=2, frames=3):
    """The valid times in the forecast.nc of a record's last frames, as text."""
    path = folder / "r.nc"
    if not path.exists():
        write(path, times)
    source = RecordFile(path, ReadOptions(), known).end(inputs, Normalizer((0.0, 100.0)))
    forecasts = np.zeros((1, frames, 1, 8, 12), np.float32)
    write_netcdf(folder / "forecast.nc", forecasts, source, inputs, "a network")
    coder = xr.coders.CFDatetimeCoder(time_unit="us")
    with xr.open_dataset(folder / "forecast.nc", decode_times=coder) as forecast:
        return [str(time)[:16].replace(" ", "T") for time in forecast.time.values]


@pytest.mark.parametrize(
    ("known", "times", "expected"),
    [
        ("h", dates("h", 2, "2001-01-31T23"), ["2001-02-01T01:00", "2001-02-01T02:00"]),
        ("D", dates("D", 2, "2001-01-31"), ["2001-02-02T00:00", "2001-02-03T00:00"]),
        ("5min", dates("5min", 3, "2001-02-28T23:50"), ["2001-03-01T00:05", "2001-03-01T00:10"]),
        ("MS", dates("MS", 2, "2001-12-01"), ["2002-02-01T00:00", "2002-03-01T00:00"]),
        ("31D", dates("MS", 2, "2001-12-01"), ["2002-02-01T00:00", "2002-03-04T00:00"]),
        ("M15", dates("MS", 2) + 14 * DAY, ["2001-03-15T00:00", "2001-04-15T00:00"]),
        ("ME", dates("ME", 2), ["2001-03-31T00:00", "2001-04-30T00:00"]),
        ("12MS", dates("YS", 2, "2003-01-01"), ["2005-01-01T00:00", "2006-01-01T00:00"]),
        ("MS/11/21", dates("10D", 2, "2001-02-11"), ["2001-03-01T00:00", "2001-03-11T00:00"]),
        ("MC", np.array(["2003-12-16T12", "2004-01-16T12"], "M8[ns]"),
         ["2004-02-15T12:00", "2004-03-16T12:00"]),
        ("h", dates("h", 2, "2262-04-11T22"), ["2262-04-12T00:00", "2262-04-12T01:00"]),
        (None, dates("10min", 9), ["2001-01-01T01:30", "2001-01-01T01:40"]),
        (None, dates("ME", 30), ["2003-07-31T00:00", "2003-08-31T00:00"]),
        ("D", xr.date_range("2001-02-27", periods=2, calendar="noleap", use_cftime=True),
         ["2001-03-01T00:00", "2001-03-02T00:00"]),
        ("D", xr.date_range("1900-02-28", periods=2, calendar="julian", use_cftime=True),
         ["1900-03-01T00:00", "1900-03-02T00:00"]),
        ("MS", xr.date_range("2001-11-01", periods=2, freq="MS", calendar="360_day",
         use_cftime=True), ["2002-01-01T00:00", "2002-02-01T00:00"]),
        ("0.5", np.array([3.0, 3.5]), ["4.0", "4.5"]),
    ],
)  # fmt: skip
def test_forecast_times(tmp_path, known, times, expected):
    """Two frames alone do not say whether they are a month or 31 days apart."""
    assert forecast_times(tmp_path, times, known)[:2] == expected


def test_forecast_times_of_one_frame(tmp_path):
    """Those of the step in training; without one they are unknown, which is said at once."""
    times = dates("h", 1)
    assert forecast_times(tmp_path, times, "6h", 1)[0] == "2001-01-01T06:00"
    with pytest.raises(InputError, match="its last time, 2001-01-01T00:00, is the only one"):
        forecast_times(tmp_path, times, None, 1)
    with pytest.raises(InputError, match="2001-01-01T00:00, is none of ME, so the times of"):
        forecast_times(tmp_path, times, "ME", 1)


def test_forecast_times_of_months_since(tmp_path):
    """Units that xarray cannot write are not written."""
    data = xr.Dataset(
        {"rain": (("time", "y", "x"), np.zeros((24, 8, 12), np.float32), {"units": "mm"})},
        {"time": ("time", np.arange(24), {"units": "months since 1960-01-01"})},
    )
    for calendar, last in (("360_day", "1962-02-01T00:00"), ("standard", "1962-02-01T00:00")):
        data.time.attrs["calendar"] = calendar
        data.to_netcdf(tmp_path / "r.nc", engine="netcdf4")
        assert forecast_times(tmp_path, None, None)[1] == last
        (tmp_path / "r.nc").unlink()


def test_a_file_without_a_rule(tmp_path):
    """Refused to train on; a network's step may still be that of its last frames."""
    minutes = np.cumsum([0, 3, 8, 13, 21, 40, 5, 5, 5, 70, 90, 30, 120, 5, 5])
    path = write(tmp_path / "r.nc", dates("D", 1)[0] + minutes.astype("m8[m]"))
    with pytest.raises(InputError, match="r.nc: its times follow no rule: steps are from 180 s to"):
        config_of(path)
    assert forecast_times(tmp_path, None, "5min", 3)[0] == "2001-01-01T07:05"
    with pytest.raises(InputError, match="not in a row: there is a step that is not 5min, or"):
        forecast_times(tmp_path, None, "5min", 4)


def test_the_end_of_a_record_after_a_short_step(tmp_path):
    """The last scan came again a second later; the forecast is not one of seconds."""
    times = dates("10min", 30)
    write(tmp_path / "r.nc", np.append(times, times[-1] + np.timedelta64(1, "s")))
    with pytest.raises(InputError, match="not in a row: there is a step that is not 10min"):
        forecast_times(tmp_path, None, "10min")
    assert forecast_times(tmp_path, None, None, 1)[0] == "2001-01-01T05:00"
