"""NetCDF and Zarr: which axis is which, what is decoded, and what is said where it cannot be."""

import sys

import cftime
import numpy as np
import pytest
import xarray as xr

from src.data.record import Record
from src.errors import InputError
from src.formats import netcdf, readers
from src.formats.netcdf import XarrayReader
from src.formats.options import ReadOptions

VALUES = np.arange(6 * 2 * 4 * 5, dtype=np.float32).reshape(6, 2, 4, 5)
DAYS = np.array("2001-02-03", "M8[D]") + np.arange(6)


def write(path, values, dims, coordinates=None, encoding=None, attributes=None):
    """Writes one variable, `x`."""
    data = xr.Dataset({"x": (dims, values, attributes or {})}, coordinates or {})
    options = {"encoding": {"x": encoding}} if encoding else {}
    if path.suffix == ".zarr":
        data.to_zarr(path, consolidated=False, **options)
    else:
        data.to_netcdf(path, **options)
    return path


@pytest.mark.parametrize("pattern", ["", "*.nc", "*"])
def test_hidden_files_beside_a_record(tmp_path, pattern):
    """macOS puts ._x.nc beside x.nc; the files of a folder and of a pattern are x's alone."""
    for month in (10, 2):
        (tmp_path / f"{month}.nc").touch()
        for name in (f"._{month}.nc", f".{month}.npy", f"._{month}.zarr"):
            (tmp_path / name).touch()
    assert readers.files_of(tmp_path / pattern) == [tmp_path / "2.nc", tmp_path / "10.nc"]


def test_a_folder_of_hidden_files(tmp_path):
    (tmp_path / "._x.nc").touch()
    with pytest.raises(InputError, match="holds no file of a record"):
        readers.files_of(tmp_path)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("small", [True, False])
def test_any_order_of_dimensions(tmp_path, monkeypatch, suffix, small):
    """(lat, step, band, lon) become (T, C, H, W), whether kept in memory or read in pieces."""
    monkeypatch.setattr(netcdf, "LARGE_BYTES", 1 << 26 if small else 0)
    coordinates = {
        "step": ("step", DAYS),
        "a": ("p", np.arange(4.0), {"standard_name": "latitude"}),
        "b": ("q", np.arange(5.0), {"units": "degrees_east"}),
    }
    path = write(tmp_path / f"r{suffix}", VALUES.transpose(2, 0, 1, 3), ("p", "step", "band", "q"),
        coordinates, attributes={"units": "K"})  # fmt: skip
    reader = XarrayReader(path, ReadOptions())
    assert reader.shape == (6, 2, 4, 5)
    np.testing.assert_array_equal(reader.read(1, 4), VALUES[1:4])
    assert reader.grid.dims == ("step", "band", "p", "q")
    assert reader.grid.units == "K"
    np.testing.assert_array_equal(reader.times, DAYS.astype("M8[ns]"))
    np.testing.assert_array_equal(reader.grid.coordinates["a"].values, np.arange(4.0))
    assert reader.grid.coordinates["a"].dims == ("p",)
    assert reader.grid.time_name == "step"
    assert reader.grid.time_attributes["units"].startswith("days since 2001-02-03")


def test_rows_and_columns_of_a_curved_grid(tmp_path):
    """Latitude and longitude of two dimensions name both."""
    mesh = (("yc", "xc"), np.ones((4, 5)))
    path = write(tmp_path / "r.nc", VALUES.transpose(3, 2, 0, 1)[..., :1],
        ("xc", "yc", "time", "z"),
        {"time": DAYS, "lat": mesh, "lon": mesh})  # fmt: skip
    reader = XarrayReader(path, ReadOptions())
    assert reader.grid.dims == ("time", None, "yc", "xc")
    np.testing.assert_array_equal(reader.read(0, 6), VALUES[:, :1])
    assert set(reader.grid.coordinates) == {"lat", "lon"}


def test_names_that_are_given(tmp_path):
    path = write(tmp_path / "r.nc", VALUES[:, 0], ("k", "u", "v"), {"k": np.arange(6.0)})
    with pytest.raises(InputError, match="x has no time axis; its dimensions are k, u, v"):
        XarrayReader(path, ReadOptions())
    reader = XarrayReader(path, ReadOptions("x", time="k", latitude="v", longitude="u"))
    assert reader.grid.dims == ("k", None, "v", "u")
    np.testing.assert_array_equal(reader.read(2, 3), VALUES[2:3, :1].swapaxes(2, 3))
    np.testing.assert_array_equal(reader.times, np.arange(6.0))
    with pytest.raises(InputError, match="x has no latitude 'w'; there are: k, u, v"):
        XarrayReader(path, ReadOptions(time="k", latitude="w"))


def test_packed_values_and_what_is_missing(tmp_path):
    """16-bit integers with scale, offset and fill value become floats and NaN."""
    values = VALUES[:, 0] / 4 + 200
    values[3, 1, 2] = np.nan
    packing = {"dtype": "i2", "scale_factor": 0.25, "add_offset": 200.0, "_FillValue": -9}
    path = write(tmp_path / "r.nc", values, ("time", "y", "x0"), {"time": DAYS}, packing)
    np.testing.assert_array_equal(XarrayReader(path, ReadOptions()).read(0, 6)[:, 0], values)


def test_other_calendars(tmp_path):
    """A year of 360 days: its months have no gap; without one there is a gap."""
    months = np.array([cftime.Datetime360Day(2000 + k // 12, k % 12 + 1, 1) for k in range(30)])
    values = np.zeros((30, 4, 5), np.float32)
    for name, kept in (("a.nc", np.arange(30)), ("b.nc", np.delete(np.arange(30), 7))):
        write(tmp_path / name, values[kept], ("time", "y", "x0"), {"time": months[kept]})
    assert Record(tmp_path / "a.nc", ReadOptions()).notes() == ""
    record = Record(tmp_path / "b.nc", ReadOptions())
    assert record.notes() == "1 gap in time, which no window contains"
    assert record.time_of(0) == "2000-01-01 00:00:00"


def test_what_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "text.nc").write_text("no NetCDF")
    with pytest.raises(InputError, match="text.nc: cannot be read: "):
        XarrayReader(tmp_path / "text.nc", ReadOptions())
    path = write(tmp_path / "flat.nc", np.zeros((6, 4)), ("time", "x0"), {"time": DAYS})
    with pytest.raises(InputError, match="no variable with three or more .* there are: x"):
        XarrayReader(path, ReadOptions())
    with pytest.raises(InputError, match="x has no rows and columns"):
        XarrayReader(path, ReadOptions("x"))
    path = write(tmp_path / "many.nc", np.zeros((6, 2, 3, 4, 5)), ("time", "a", "b", "y", "x0"),
        {"time": DAYS})  # fmt: skip
    with pytest.raises(InputError, match="there may be one, for channels"):
        XarrayReader(path, ReadOptions())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file of a record"):
        Record(tmp_path / "empty", ReadOptions())
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r"not installed \(xarray\): pip install xarray"):
        XarrayReader(path, ReadOptions())
