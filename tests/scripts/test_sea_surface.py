"""The example of a real record, in short: from a NetCDF file to a forecast in one."""

import json
from pathlib import Path

import iris_sample_data
import numpy as np
import xarray as xr

from tests.scripts.conftest import ROOT, run, run_here

RECORD = Path(iris_sample_data.path) / "ostia_monthly.nc"


def test_the_example_in_short(tmp_path):
    """Land stays missing, the climatology is of the months, and the forecast's months are the two
    after the record's last; before any training that helps a residual network is persistence.
    """
    options = ["--config", ROOT / "examples/sea_surface.json", "--dataset", RECORD]
    options += ["--learning_rate", 1e-9, "--epoch_size", 8, "--max_work", 8, "--pictures", 1]
    trained = run("train.py", *options, "--train_path", tmp_path / "sst")
    assert "train split (15 windows of 6 frames, 2006-04-16T00:00 to 2007-11-16T00:00)" in (
        trained.stdout
    )
    best = tmp_path / "sst" / "best.ckpt"
    scores = ["--thresholds", 301.15, "--json", tmp_path / "sst.json"]
    run_here("test.py", "--pretrained_model", best, *scores)
    result = json.loads((tmp_path / "sst.json").read_text())["scores"]
    assert result["climatology"] == "mean of the same month in the training sequences"
    model, persistence = (result["forecasts"][name]["mse"] for name in ("model", "persistence"))
    # A hundredth: what leaves the training split's range is clipped for the network.
    np.testing.assert_allclose(model, persistence, rtol=0.01)

    files = ["--input", RECORD, "--output", tmp_path / "out"]
    run_here("predict.py", "--pretrained_model", best, *files)
    with xr.open_dataset(RECORD) as record, xr.open_dataset(tmp_path / "out/forecast.nc") as new:
        temperature, last = new.surface_temperature, record.surface_temperature[-1]
        assert temperature.units == "K"
        months = np.array(["2010-10-16T12", "2010-11-16T00"], "datetime64[ns]")
        np.testing.assert_array_equal(new.time, months)
        np.testing.assert_array_equal(new.latitude, record.latitude)
        np.testing.assert_array_equal(new.longitude, record.longitude)
        for frame in temperature:
            np.testing.assert_allclose(frame, np.clip(last, 289.152, 303.738), atol=0.01)
        assert np.isnan(temperature[0].values).mean() > 0.2
