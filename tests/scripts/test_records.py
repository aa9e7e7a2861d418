"""A long record from its file to a forecast, by the scripts."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from src import checkpoint
from src.config.presets import make_config
from src.data.sources import evaluation_source
from src.errors import InputError
from src.forecast import prediction, predictor
from src.tools import start
from src.tools.new_run import resolve_dataset
from tests.scripts.conftest import run, run_here
from tests.scripts.test_bad_input import refuse

STEPS, HEIGHT, WIDTH = 50, 30, 34


@pytest.fixture(scope="module")
def rain_file(tmp_path_factory):
    """A cell of rain that crosses 30x34 places, with land where nothing is ever measured."""
    path = tmp_path_factory.mktemp("radar data") / "rain.nc"
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames = [20 * np.exp(-((y - 15) ** 2 + (x - 1.5 * k % WIDTH) ** 2) / 20) for k in range(STEPS)]
    rain = np.float32(frames)
    rain[:, :6, :9] = np.nan
    coordinates = {"time": pd.date_range("2001-01-01", periods=STEPS, freq="5min"),
        "y": np.arange(HEIGHT) * 1000.0, "x": np.arange(WIDTH) * 1000.0}  # fmt: skip
    dims = ("time", "y", "x")
    data = xr.Dataset({"rain": (dims, rain, {"units": "mm h-1"})}, coordinates)
    data.assign(flag=("time", np.zeros(STEPS))).to_netcdf(path)
    return path


def test_from_a_netcdf_file_to_a_forecast(tmp_path, rain_file, one_stage):
    """Mask, padding and dBZ from training to forecast.npy, whose units are the file's."""
    options = ["--pretrained_model", one_stage, "--batch_size", 4]
    options += ["--input_frames", 3, "--forecast_frames", 3]
    options += ["--dataset", rain_file.name, "--held_out", 0.2, "--train_path", tmp_path / "run"]
    options += ["--value_range", 0, 50, "--transform", "dbz"]
    options += ["--epochs", 2, "--epoch_size", 13, "--pad", "--curriculum"]
    folder = rain_file.parent
    assert "972 values are missing, the first in frame 0" in refuse(folder, "train.py", *options)
    result = run("train.py", *options, "--missing", "mask", "--num_parallel_workers", 2, cwd=folder)
    assert "train split (13 windows of 6 frames, 2001-01-01T00:00 to" in result.stdout
    best = tmp_path / "run" / "best.ckpt"
    data = checkpoint.load(best).config.data
    assert (data.units, data.image_size, data.window_stride) == ("mm h-1", (HEIGHT, WIDTH), 1)

    run_here("test.py", "--pretrained_model", best, "--baselines", "--json", tmp_path / "r.json")
    scores = json.loads((tmp_path / "r.json").read_text())
    assert "test split (5 windows of 6 frames" in scores["test_set"]
    assert scores["sequences"] == 5
    assert scores["lead_times"] == {"unit": "minutes", "values": [5, 10, 15]}
    output = ["--output", tmp_path / "out", "--pictures", 1]
    run_here("predict.py", "--pretrained_model", best, *output)
    forecast = np.load(tmp_path / "out" / "forecast.npy")
    assert forecast.shape == (5, 3, 1, HEIGHT, WIDTH)
    land = np.isnan(forecast)
    assert land[..., :6, :9].all()
    assert land.sum() == 5 * 3 * 54
    with xr.open_dataset(rain_file) as source:
        truth = source.rain.values
    decibels = [10 * np.log10(200 * np.maximum(x, 200 ** (-1 / 1.6)) ** 1.6) for x in
        (forecast[:, :, 0], np.stack([truth[k : k + 3] for k in range(43, 48)]))]  # fmt: skip
    error = (decibels[0] - decibels[1]) / (10 * np.log10(200 * 50**1.6))
    assert scores["mse"] == pytest.approx(np.nansum(error**2, (2, 3)).mean(), rel=1e-3)

    network = predictor.from_checkpoint(best)
    end = prediction.sequences_of_input(network, rain_file, truth=True)
    prediction.predict(network, end, tmp_path, batch_size=1, count=0)
    np.testing.assert_allclose(np.load(tmp_path / "forecast.npy")[0], forecast[4], rtol=1e-4)
    check_netcdf(tmp_path, rain_file, network, forecast)


def check_netcdf(tmp_path, rain_file, network, forecast):
    """The test split's five windows, and one that ends with the record, as xarray reads them."""
    with (
        xr.open_dataset(rain_file) as record,
        xr.open_dataset(tmp_path / "out/forecast.nc") as all5,
    ):
        assert all5.rain.dims == ("sequence", "lead", "y", "x")
        np.testing.assert_array_equal(all5.rain.values, forecast[:, :, 0])
        np.testing.assert_array_equal(all5.time.values[4], record.time.values[-3:])
        np.testing.assert_array_equal(all5.forecast_reference_time, record.time[42:47])
    end = prediction.sequences_of_input(network, rain_file)
    prediction.predict(network, end, tmp_path, batch_size=1, count=0)
    with xr.open_dataset(rain_file) as record, xr.open_dataset(tmp_path / "forecast.nc") as new:
        assert new.rain.dims == ("time", "y", "x")
        assert (new.rain.attrs["units"], new.attrs["Conventions"]) == ("mm h-1", "CF-1.8")
        assert str(rain_file) in new.attrs["comment"]
        ours = ["forecast_reference_time", "forecast_period"]
        both = xr.concat([record.rain, new.rain.drop_vars(ours)], "time")
        assert (both.time.diff("time") == np.timedelta64(5, "m")).all()
        assert both.shape == (STEPS + 3, HEIGHT, WIDTH)
        for name in "xy":
            np.testing.assert_array_equal(both[name], record[name])
        assert np.isnan(new.rain.values).sum() == 3 * 54
        assert new.forecast_reference_time.values == record.time.values[-1]
        np.testing.assert_array_equal(new.rain.values, np.load(tmp_path / "forecast.npy")[0, :, 0])


def test_a_resumed_run_keeps_its_scale(tmp_path, rain_file):
    """auto is what it was when the run began; other settings of the data are refused."""
    options = {"dataset": str(rain_file), "value_range": ("auto",), "missing": "mask", "pad": True}
    options |= {"input_frames": 3, "forecast_frames": 3, "batch_size": 4}
    config = make_config("small", resolve_dataset(options)[0])
    assert config.data.value_range == pytest.approx((0, 20), abs=1e-6)
    found = checkpoint.Checkpoint(tmp_path / "last.ckpt", config, {}, {}, {"epoch": 1})
    assert start.resumed_config(found, options) == config
    for change in (
        {"transform": "dbz"},
        {"window_stride": 2},
        {"pad": False},
        {"missing": "refuse"},
    ):
        with pytest.raises(InputError):
            start.resumed_config(found, change)
    explicit = make_config("small", resolve_dataset({**options, "value_range": (0.0, 50.0)})[0])
    with pytest.raises(InputError, match="value_range is .'auto',.: it must be a list of float"):
        start.resumed_config(
            checkpoint.Checkpoint(tmp_path, explicit, {}, {}, {"epoch": 1}), options
        )


def test_what_a_forecast_knows_of_its_grid(rain_file):
    """Times of the frames that it begins after, coordinates, units: for whoever writes it."""
    options = {
        "dataset": str(rain_file),
        "value_range": (0.0, 50.0),
        "missing": "mask",
        "pad": True,
    }
    options |= {"input_frames": 3, "forecast_frames": 3, "batch_size": 4}
    config = make_config("small", resolve_dataset(options)[0])
    test = evaluation_source(config)
    times = test.times(len(test) - 1)
    assert times[-1] == np.datetime64("2001-01-01T04:05")
    assert (np.diff(times) == np.timedelta64(5, "m")).all()
    assert test.grid.units == "mm h-1"
    assert test.grid.variable == "rain"
    assert test.grid.dims == ("time", None, "y", "x")
    np.testing.assert_array_equal(test.grid.coordinates["x"].values, np.arange(WIDTH) * 1000)
