"""What is missing: as netCDF4-python masks it, what Zarr and coordinates hold, and given codes."""

import warnings

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

from src.config.presets import make_config
from src.data.own_data import training_sources
from src.data.record import Record
from src.errors import InputError
from src.formats.netcdf import XarrayReader
from src.formats.options import ReadOptions
from src.formats.readers import ArrayReader
from src.tools.new_run import resolve_dataset

SHAPE = (6, 8, 9)
FILL_FLOAT = netCDF4.default_fillvals["f4"]


def write(path, values, attributes=None, fill=None, file_format="NETCDF4", times="i4"):
    """Writes stored values of one variable, `rain`, hour by hour."""
    with netCDF4.Dataset(path, "w", format=file_format) as file:
        for name, size in zip(("time", "y", "x"), SHAPE, strict=True):
            file.createDimension(name, size)
        time = file.createVariable("time", times, ("time",))
        time.units = "hours since 2001-02-03"
        time[:] = np.arange(SHAPE[0])
        rain = file.createVariable("rain", values.dtype, ("time", "y", "x"), fill_value=fill)
        rain.set_auto_maskandscale(False)
        rain.setncatts(attributes or {})
        rain[:] = values
    return path


def read(path, **options):
    """All values of a record, (T, H, W)."""
    return XarrayReader(path, ReadOptions(**options)).read(0, SHAPE[0])[:, 0]


def check_as_netcdf4(path):
    """Values and mask are netCDF4-python's; where nothing is missing, all is as xarray reads it."""
    with netCDF4.Dataset(path) as file:
        expected = file["rain"][:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are several fill values
        with xr.open_dataset(path, decode_timedelta=False) as file:
            plain = file.rain.values
    values, missing = read(path), np.ma.getmaskarray(expected)
    np.testing.assert_array_equal(np.isnan(values), missing)
    np.testing.assert_allclose(values[~missing], expected.data[~missing], rtol=1e-6)
    np.testing.assert_array_equal(values[~missing], plain[~missing])
    if not missing.any():
        assert values.dtype == plain.dtype
    return missing


@pytest.mark.parametrize("valid", [None, "valid_range", "valid_min", "valid_max"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "i8", "f4", "f8", "unsigned i2"])
def test_every_rule_of_the_conventions(tmp_path, rng, kind, packed, valid):
    """Type by type, with and without packing, `_FillValue`, `missing_value` and valid limits."""
    dtype, is_unsigned = np.dtype(kind.split()[-1]), " " in kind
    values = rng.integers(-49 if dtype.kind != "u" else 0, 50, SHAPE).astype(dtype)
    limits = {"valid_range": [2, -10 if is_unsigned else 40], "valid_min": 5, "valid_max": 30}
    attributes = {valid: np.array(limits[valid], dtype)} if valid else {}
    if packed:
        attributes |= {"scale_factor": np.float32(0.5), "add_offset": np.float32(-32)}
    if is_unsigned:
        attributes["_Unsigned"] = "true"
    beyond = check_as_netcdf4(write(tmp_path / "limits.nc", values, attributes))
    assert beyond.any() == bool(valid)
    attributes["missing_value"] = np.array([3, 11], dtype)
    path = write(tmp_path / "fill.nc", values, attributes, dtype.type(7))
    assert check_as_netcdf4(path).sum() > beyond.sum()


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_what_was_never_written(tmp_path, kind):
    """Each type has its own default fill value; bytes have none."""
    values = np.ones(SHAPE, kind)
    assert not check_as_netcdf4(write(tmp_path / "whole.nc", values)).any()
    values[2, 3, 4] = netCDF4.default_fillvals[kind]
    missing = check_as_netcdf4(write(tmp_path / "holes.nc", values))
    assert np.argwhere(missing).tolist() == [[2, 3, 4]]
    bytes_of = np.full(SHAPE, 255, np.uint8)
    np.testing.assert_array_equal(read(write(tmp_path / "bytes.nc", bytes_of)), bytes_of)


def test_a_limit_that_is_written_in_other_ways(tmp_path):
    """A float limits what packed integers stand for, text is read, and no number is told."""
    values = np.arange(432, dtype=np.int16).reshape(SHAPE)
    packing = {"scale_factor": 0.5, "add_offset": -32.0}
    path = write(tmp_path / "a.nc", values, packing | {"valid_max": 95.0})
    np.testing.assert_array_equal(np.isnan(read(path)), values > 254)
    assert XarrayReader(path, ReadOptions()).notes == [
        "its valid_max is of another type than the packed values: it limits unpacked ones"
    ]
    path = write(tmp_path / "b.nc", values, {"valid_range": "10, 300"})
    np.testing.assert_array_equal(np.isnan(read(path)), (values < 10) | (values > 300))
    path = write(tmp_path / "c.nc", values, {"valid_min": "none"})
    assert not np.isnan(read(path)).any()
    assert "is no number" in XarrayReader(path, ReadOptions()).notes[0]


def test_packing_that_is_no_number(tmp_path):
    path = write(tmp_path / "a.nc", np.ones(SHAPE, np.int16), {"scale_factor": "half"})
    with pytest.raises(InputError, match="a.nc: .*numbers are needed"):
        read(path)


def test_integers_stay_integers_where_nothing_is_missing(tmp_path):
    """So the fingerprint of a clean record is what it was; a piece with a hole is of floats."""
    values = np.arange(432, dtype=np.int16).reshape(SHAPE)
    clean = XarrayReader(write(tmp_path / "a.nc", values), ReadOptions())
    assert clean.read(0, 6).dtype == clean.dtype == np.int16
    reader = XarrayReader(write(tmp_path / "b.nc", values, {"valid_max": 400}), ReadOptions())
    assert (reader.dtype, reader.read(0, 2).dtype) == (np.int16, np.int16)
    assert reader.read(5, 6).dtype == np.float32
    assert np.isnan(reader.read(5, 6)).sum() == 31
    assert reader.changes == ["values beyond valid_max are missing"]


@pytest.mark.parametrize("dtype", ["f4", "u1", "i4"])
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_by_zarr_itself(tmp_path, capsys, version, dtype):
    """Its `fill_value` is 0: dry pixels, the coordinate 0 and the first hour are there."""
    path, dims = tmp_path / "r.zarr", ("time", "y", "x")
    group = zarr.open_group(path, mode="w", zarr_format=version)
    rain = np.zeros(SHAPE, dtype)
    rain[3, 2, 1] = 4
    arrays = {"rain": (rain, dims), "y": (np.arange(8.0), ("y",)), "time": (np.arange(6), dims[:1])}
    for name, (values, axes) in arrays.items():
        names = {"dimension_names": axes} if version == 3 else {}
        array = group.create_array(name, data=values, **names)
        if version == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = list(axes)
    group["time"].attrs["units"] = "hours since 2001-02-03"
    record = Record(path, ReadOptions())
    np.testing.assert_array_equal(record.read(0, 6)[:, 0], rain)
    assert record.read(0, 6).dtype == dtype
    np.testing.assert_array_equal(record.grid.coordinates["y"].values, np.arange(8))
    assert record.times[0] == np.datetime64("2001-02-03")
    told = "the fill_value 0 of rain is zarr's own default, so 0 is a value" in (
        capsys.readouterr().out
    )
    assert told == (version == 2)
    again = Record(path, ReadOptions(nodata=(0.0,)))
    np.testing.assert_array_equal(np.isnan(again.read(0, 6)[:, 0]), rain == 0)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_by_xarray(tmp_path, capsys, version):
    """A fill value 0 that was chosen counts, beside variables for which another one was."""
    counts = np.arange(432, dtype=np.uint16).reshape(SHAPE) % 7
    data = xr.Dataset({"rain": (("time", "y", "x"), counts * 0.1)}, {"y": np.arange(8.0)})
    encoding = {"rain": {"_FillValue": 0, "scale_factor": 0.1, "dtype": "u2"}}
    data.rain.values[counts == 0] = np.nan
    data.to_zarr(tmp_path / "r.zarr", zarr_format=version, consolidated=False, encoding=encoding)
    np.testing.assert_array_equal(np.isnan(read(tmp_path / "r.zarr")), counts == 0)
    assert not capsys.readouterr().out


def test_a_coordinate_has_no_missing_values(tmp_path):
    """Whatever its file declares, the coordinate 0 is a place."""
    path = write(tmp_path / "r.nc", np.ones(SHAPE, "f4"))
    with netCDF4.Dataset(path, "a") as file:
        x = file.createVariable("x", "f8", ("x",), fill_value=0.0)
        x.set_auto_mask(False)
        x[:] = np.arange(-4.0, 5)
    reader = XarrayReader(path, ReadOptions())
    np.testing.assert_array_equal(reader.grid.coordinates["x"].values, np.arange(-4, 5))


def test_given_codes_are_stored_values(tmp_path):
    """255 in packed bytes, signed or not; -999.9 in either precision; several at once."""
    counts = np.arange(432).reshape(SHAPE) % 256
    packing = {"scale_factor": 0.5, "add_offset": -32.0}
    path = write(tmp_path / "a.nc", counts.astype("u1"), packing)
    np.testing.assert_array_equal(np.isnan(read(path, nodata=(255.0,))), counts == 255)
    np.testing.assert_array_equal(read(path), counts / 2 - 32)
    path = write(tmp_path / "b.nc", counts.astype("u1").view("i1"), {"_Unsigned": "true"})
    for code in (255.0, -1.0):
        np.testing.assert_array_equal(np.isnan(read(path, nodata=(code,))), counts == 255)
    for name, dtype in (("c.nc", "f4"), ("d.nc", "f8")):
        values = np.float32(counts).astype(dtype)
        values[values == 9] = np.float32(-999.9)
        missing = np.isin(counts, (9, 17))
        path = write(tmp_path / name, values)
        np.testing.assert_array_equal(np.isnan(read(path, nodata=(-999.9, 17.0))), missing)
        assert not np.isnan(read(path, nodata=(-999.0,))).any()


@pytest.mark.parametrize("code", [np.inf, -np.inf, np.nan])
def test_codes_that_are_no_numbers(tmp_path, code):
    """Infinity is missing where it is said to be, and nothing else; NaN always is."""
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    values[1, 2, 3] = code
    missing = np.isin(np.arange(values.size), 1 * 72 + 2 * 9 + 3).reshape(SHAPE)
    np.testing.assert_array_equal(
        np.isnan(read(write(tmp_path / "r.nc", values), nodata=(code,))), missing
    )
    np.save(tmp_path / "r.npy", values)
    reader = ArrayReader(tmp_path / "r.npy", ReadOptions(nodata=(code,)))
    np.testing.assert_array_equal(np.isnan(reader.read(0, SHAPE[0]))[:, 0], missing)


def test_given_codes_in_arrays(tmp_path, rng):
    """Records and whole sequences, in pieces and by index; the file of sequences stays mapped."""
    frames = rng.integers(0, 6, (40, 8, 9)).astype(np.uint8)
    np.save(tmp_path / "r.npy", frames)
    reader = ArrayReader(tmp_path / "r.npy", ReadOptions(nodata=(5.0,)))
    piece = reader.read(3, 7)[:, 0]
    np.testing.assert_array_equal(np.isnan(piece), frames[3:7] == 5)
    assert reader.dtype == piece.dtype == np.float32
    assert ArrayReader(tmp_path / "r.npy", ReadOptions()).read(3, 7).dtype == np.uint8

    path, sequences = str(tmp_path / "s.npy"), frames.reshape(10, 4, 8, 9)
    np.save(path, sequences)
    options = {"dataset": path, "value_range": (0.0, 5.0), "input_frames": 2, "batch_size": 1}
    options |= {"forecast_frames": 2, "nodata": (5.0, 4.0), "missing": "mask", "pad": True}
    settings, file = resolve_dataset(options)
    train = settings["fill"]
    assert train == pytest.approx(1.5, abs=0.1)
    assert isinstance(file.array.array, np.memmap)
    got = file.array[np.array([7, 2]), :3][:, :, 0]
    np.testing.assert_array_equal(np.isnan(got), sequences[[7, 2], :3] >= 4)
    np.testing.assert_array_equal(got[~np.isnan(got)], sequences[[7, 2], :3][~np.isnan(got)])
    assert isinstance(file.array[:, 2:].array, np.memmap)
    with pytest.raises(InputError, match="values are NaN or infinite"):
        training_sources(make_config("small", resolve_dataset(options | {"missing": "refuse"})[0]))


def test_missing_values_say_why(tmp_path):
    values = np.ones((40, 8, 9), np.float32)
    values[:, 2, 3] = FILL_FLOAT
    dims = ("time", "y", "x")
    data = xr.Dataset({"rain": (dims, values)}, {"time": np.arange(40.0)})
    data.to_netcdf(tmp_path / "r.nc", encoding={"rain": {"_FillValue": None}})
    options = {"dataset": str(tmp_path / "r.nc"), "value_range": (0.0, 5.0), "input_frames": 2}
    options |= {"forecast_frames": 2, "batch_size": 1, "pad": True}
    message = r"24 values are missing \(9.96920997e\+36, the default fill value of float32, is miss"
    with pytest.raises(InputError, match=message):
        training_sources(make_config("small", resolve_dataset(options)[0]))
