"""Missing values from a record to forecast.nc, with the checkpoint of an earlier version."""

import dataclasses
import shutil
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from src import checkpoint
from src.data import own_data
from src.errors import InputError
from tests.scripts.conftest import run_here
from tests.scripts.test_bad_input import refuse

SAVED = Path(__file__).resolve().parents[1] / "saved_runs"
CHECKPOINT, RECORD = SAVED / "masked_record.ckpt", SAVED / "record.nc"
LIMITS = {"valid_range": np.array([-6000, 6000], "i2"), "valid_max": np.int16(6000)}
STORED = {
    **LIMITS,
    "actual_range": np.array([275.0, 285.0]),
    "flag_values": np.array([0, 1], "i2"),
    "flag_meanings": "good bad",
    "missing_value": np.int16(-32000),
    "scale_factor": 0.001,
    "add_offset": 280.0,
    "units": "K",
    "long_name": "temperature of the sea",
}


def packed(path, attributes):
    """The saved record as 16-bit integers; its land is 30000, which only a limit tells apart."""
    with xr.open_dataset(RECORD) as record:
        values, times = record.temperature.values, record.time.encoding
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip(("time", "y", "x"), values.shape, strict=True):
            file.createDimension(name, size)
            coordinate = file.createVariable(name, "f8", (name,), fill_value=-1.0)
            coordinate[:] = np.arange(size)
            coordinate.valid_max = 1000.0
        file["time"].units = times["units"]
        variable = file.createVariable("temperature", "i2", ("time", "y", "x"))
        variable.set_auto_maskandscale(False)
        variable.setncatts(attributes)
        variable[:] = np.where(np.isnan(values), 30000, np.round((values - 280) / 0.001))
    return path


def forecast_of(path, folder, *options):
    """The forecast of a record as netCDF4-python reads it, a masked array, (F, H, W)."""
    files = ["--input", path, "--output", folder, "--pictures", 0]
    run_here("predict.py", "--pretrained_model", CHECKPOINT, *files, *options)
    with netCDF4.Dataset(folder / "forecast.nc") as file:
        return file["temperature"][:]


def test_a_forecast_of_packed_values(tmp_path):
    """Nothing of it is masked but land, and it is that of the record itself, up to rounding."""
    path = packed(tmp_path / "packed.nc", STORED)
    forecast = forecast_of(path, tmp_path / "a")
    expected = forecast_of(RECORD, tmp_path / "b")
    land = np.isnan(expected.filled(np.nan))
    assert land.sum() == 3 * 20
    np.testing.assert_array_equal(np.ma.getmaskarray(forecast), land)
    np.testing.assert_allclose(forecast.filled(np.nan), expected.filled(np.nan), atol=2e-3)
    with netCDF4.Dataset(tmp_path / "a" / "forecast.nc") as file:
        attributes = file["temperature"].ncattrs()
        assert set(attributes) - {"coordinates"} == {"_FillValue", "units", "long_name"}
        for name in set(file.variables) - {"temperature"}:
            assert not {"_FillValue", "valid_max"} & set(file[name].ncattrs()), name


def test_a_code_that_is_given(tmp_path):
    """The stored 30000 is named in a warning; given as --nodata it is land."""
    attributes = {k: v for k, v in STORED.items() if k not in LIMITS}
    path = packed(tmp_path / "packed.nc", attributes)
    files = ["--input", path, "--output", tmp_path / "a", "--pictures", 0]
    result = run_here("predict.py", "--pretrained_model", CHECKPOINT, *files)
    assert "30000 (9.5% of the values, unpacked 310) looks like a code" in result.stderr
    forecast = forecast_of(path, tmp_path / "b", "--nodata", 30000)
    assert np.ma.getmaskarray(forecast).sum() == 3 * 20
    assert forecast.max() < 286


def test_a_forecast_in_other_units(tmp_path):
    """degC into a network of K: the land that it reads is the same, so the forecast is."""
    data = checkpoint.load(CHECKPOINT).config.data
    with xr.open_dataset(RECORD) as record:
        celsius = record.temperature.astype(float) - 273.15
        celsius.attrs["units"] = "K"
        celsius.to_dataset().to_netcdf(tmp_path / "celsius.nc")
    scale = [value - 273.15 for value in data.value_range]
    forecast = forecast_of(tmp_path / "celsius.nc", tmp_path / "a", "--value_range", *scale)
    expected = forecast_of(RECORD, tmp_path / "b")
    np.testing.assert_allclose(forecast + 273.15, expected, atol=1e-3)


def test_what_is_read_differently(tmp_path):
    """A record that an earlier version read without its limits is not another file."""
    path = shutil.copy(RECORD, tmp_path / "record.nc")
    saved = checkpoint.load(CHECKPOINT).config
    data = dataclasses.replace(saved.data, dataset=str(path))
    assert own_data.open_file(path, data).fingerprint() == data.dataset_crc
    with netCDF4.Dataset(path, "a") as file:
        file["temperature"].valid_max = np.float32(284)
    message = (
        r"record.nc: is read differently since version 0.3.0: values beyond valid_max are miss"
    )
    with pytest.raises(InputError, match=message):
        own_data.evaluation_source(dataclasses.replace(saved, data=data))
    line = refuse(tmp_path, "train.py", "--resume", CHECKPOINT, "--dataset", path,
        "--train_path", tmp_path / "run")  # fmt: skip
    assert "is read differently since version 0.3.0: values beyond valid_max are missing" in line
    assert "another file" not in line
    data = dataclasses.replace(data, read_by="0.3.0")
    with pytest.raises(InputError, match="is no longer the file that the checkpoint was trained"):
        own_data.evaluation_source(dataclasses.replace(saved, data=data))
