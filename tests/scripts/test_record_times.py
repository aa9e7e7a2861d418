"""A checkpoint's time step, and files of another one, by the scripts."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from src import checkpoint
from tests.scripts.conftest import run_here
from tests.scripts.test_bad_input import refuse

SAVED = Path(__file__).resolve().parents[1] / "saved_runs" / "masked_record_end.ckpt"


@pytest.fixture(scope="module")
def hourly(tmp_path_factory):
    """A checkpoint of three input and three forecast frames that was trained on hours."""
    path = tmp_path_factory.mktemp("hourly") / "best.ckpt"
    saved = checkpoint.load(SAVED)
    assert saved.config.data.frequency is None
    data = dataclasses.replace(saved.config.data, frequency="h")
    saved.config = dataclasses.replace(saved.config, data=data)
    checkpoint.save_weights(path, saved)
    return path


def write(path, step, count):
    values = np.float32(280 + np.random.default_rng(0).random((count, 14, 15)))
    data = xr.Dataset({"t": (("time", "y", "x"), values, {"units": "K"})})
    data.assign_coords(time=pd.date_range("2001-01-31", periods=count, freq=step)).to_netcdf(path)
    return path


def test_a_file_of_another_step(tmp_path, hourly):
    """Refused by both scripts in one line, and with --any_step forecast at its own step."""
    days = write(tmp_path / "days.nc", "D", 12)
    model = ["--pretrained_model", hourly]
    predict = ["predict.py", *model, "--input", days, "--output", tmp_path / "out", "--pictures", 0]
    message = (
        f"{days}: its step is D, and the network was trained with h: its forecast would be of "
    )
    message += "other lead times; --any_step goes on with the file's own"
    assert refuse(tmp_path, *predict) == f"predict.py: {message}"
    assert refuse(tmp_path, "test.py", *model, "--dataset", days) == f"test.py: {message}"
    line = refuse(tmp_path, "test.py", *model, "--any_step")
    assert line == "test.py: --any_step is given without --dataset, to which it belongs"

    result = run_here(*predict, "--any_step")
    assert f"frequency: D, found in {days}" in result.stdout
    with xr.open_dataset(tmp_path / "out" / "forecast.nc") as forecast:
        expected = pd.date_range("2001-02-12", periods=3, freq="D")
        np.testing.assert_array_equal(forecast.time, expected.values)


def test_a_checkpoint_that_does_not_know_its_step(tmp_path):
    """As all from before: the file's own is found and printed."""
    hours = write(tmp_path / "hours.nc", "h", 12)
    result = run_here("test.py", "--pretrained_model", SAVED, "--dataset", hours)
    assert f"frequency: h, found in {hours}" in result.stdout
