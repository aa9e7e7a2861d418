"""Where a variable and its times may lie: frames of a file each, groups, content, dimensions."""

import dataclasses
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from src.config.presets import make_config
from src.data import own_data
from src.data.normalizer import Normalizer
from src.data.record import Record, RecordFile
from src.errors import InputError
from src.formats import readers
from src.formats.netcdf import XarrayReader
from src.formats.options import ReadOptions
from src.formats.readers import files_of
from src.formats.writers import write_netcdf
from src.runtime.memory import Kept

ROOT = Path(__file__).resolve().parents[2]
TIMES = np.array("2001-02-03T00:10", "M8[m]") + 5 * np.arange(6)
VALUES = np.arange(6 * 4 * 5, dtype=np.float32).reshape(6, 4, 5)
MINUTES = {"units": "minutes since 2001-02-03", "standard_name": "time"}
PLACES = {"lat": np.arange(4.0), "lon": np.arange(5.0)}


def scalar_coordinate(frame, time):
    return frame.assign_coords(valid=((), time, MINUTES))


def scalar_variable(frame, time):
    return frame.assign(valid_time=((), time, {"units": MINUTES["units"]}))


def variable_of_one(frame, time):
    return frame.assign(time=("time", [time], MINUTES))


def dimension_of_one(frame, time):
    return frame.expand_dims(time=[time]).assign_coords(time=("time", [time], MINUTES))


def attribute(frame, time):
    return frame.assign_attrs(time_coverage_start=f"2001-02-03T00:{time}:00Z")


def two_attributes(frame, time):
    return frame.assign_attrs(date="20010203", time=f"00{time}00")


@pytest.mark.parametrize(
    "with_time",
    [
        scalar_coordinate,
        scalar_variable,
        variable_of_one,
        dimension_of_one,
        attribute,
        two_attributes,
    ],
)
def test_one_frame_a_file(tmp_path, capsys, with_time):
    """Files whose names run against time: frame t is at 10 + 5 t minutes."""
    for t, values in enumerate(VALUES):
        frame = xr.Dataset({"rain": (("lat", "lon"), values)}, PLACES)
        with_time(frame, 10 + 5 * t).to_netcdf(tmp_path / f"{9 - t}.nc")
    record = Record(tmp_path, ReadOptions())
    np.testing.assert_array_equal(record.times, TIMES.astype("M8[ns]"))
    np.testing.assert_array_equal(record.read(0, 6)[:, 0], VALUES)
    assert record.notes() == ""
    assert record.grid.dims[1:] == (None, "lat", "lon")
    assert set(record.grid.coordinates) == {"lat", "lon"}
    printed = capsys.readouterr().out
    assert ("is the time of its frame" in printed) == (with_time in (attribute, two_attributes))


def test_a_frame_without_a_time(tmp_path):
    """Refused, as are two times; --time says which."""
    frame = xr.Dataset({"rain": (("lat", "lon"), VALUES[0])}, PLACES)
    frame.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="rain has no time axis; .* lat, lon") as error:
        XarrayReader(tmp_path / "a.nc", ReadOptions())
    assert "--time_from_name" in error.value.text_for({"--time_from_name"})
    both = frame.assign_attrs(time_coverage_start="2001-02-03", date="2020-05-06")
    both.to_netcdf(tmp_path / "b.nc")
    with pytest.raises(InputError, match="say several times of its frame, time_coverage_start 200"):
        XarrayReader(tmp_path / "b.nc", ReadOptions())
    reader = XarrayReader(tmp_path / "b.nc", ReadOptions(time="date"))
    assert reader.times == np.datetime64("2020-05-06")
    two = frame.assign(begin=((), 10, MINUTES), end=((), 15, MINUTES))
    two.to_netcdf(tmp_path / "c.nc")
    with pytest.raises(InputError, match="has several times of its frame: begin, end"):
        XarrayReader(tmp_path / "c.nc", ReadOptions())
    assert XarrayReader(tmp_path / "c.nc", ReadOptions(time="end")).times == TIMES[1]


@pytest.mark.parametrize("suffix", [".nc", ".npy", ".npz"])
def test_times_in_names(tmp_path, suffix):
    """The day comes first in the names, so they are not in the order of time."""
    for t, values in enumerate(VALUES):
        name = f"{3 - t % 2:02d}.02.2001 rain {t}{suffix}"
        if suffix == ".nc":
            xr.Dataset({"rain": (("lat", "lon"), values)}, PLACES).to_netcdf(tmp_path / name)
        elif suffix == ".npz":
            np.savez(tmp_path / name, values[None])
        else:
            np.save(tmp_path / name, values)
    options = ReadOptions(time_from_name="%d.%m.%Y rain 1")
    with pytest.raises(InputError, match="its name has no time of the pattern"):
        Record(tmp_path, options)
    for t in range(2, 6):
        (tmp_path / f"{3 - t % 2:02d}.02.2001 rain {t}{suffix}").unlink()
    record = Record(tmp_path, ReadOptions(time_from_name="%d.%m.%Y"))
    assert record.times.astype("M8[D]").astype(str).tolist() == ["2001-02-02", "2001-02-03"]
    np.testing.assert_array_equal(record.read(0, 2)[:, 0], VALUES[[1, 0]])


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        ("radar_20010203.npy", "%Y%m%d%H", "has no time of the pattern '%Y%m%d%H'"),
        ("radar_200102031200.npy", "%Y%m%d", "has no time of the pattern"),
        ("20010203_20010204.npy", "%Y%m%d", "has several times of the pattern"),
        ("20011332.npy", "%Y%m%d", "time_from_name '%Y%m%d': "),
        ("20010203.npy", "%Q", "time_from_name is '%Q': it has %Q; it is made of %Y"),
        ("0203.npy", "%m%d", "time_from_name is '%m%d': it has no year"),
    ],
)
def test_names_that_say_no_time(tmp_path, name, pattern, message):
    np.save(tmp_path / name, VALUES[0])
    with pytest.raises(InputError, match=message):
        Record(tmp_path, ReadOptions(time_from_name=pattern))


def test_a_name_says_the_time_of_one_frame(tmp_path):
    """Several frames in a file are refused, and frames without times."""
    np.save(tmp_path / "2001.npy", VALUES)
    with pytest.raises(InputError, match="the time of one frame"):
        Record(tmp_path, ReadOptions(time_from_name="%Y"))
    data = xr.Dataset({"x": (("time", "lat", "lon"), VALUES)}, {"time": TIMES, **PLACES})
    data.to_netcdf(tmp_path / "2001.nc")
    with pytest.raises(InputError, match="x has 6 frames, and a file's name says the time of one"):
        Record(tmp_path / "2001.nc", ReadOptions(time_from_name="%Y"))
    np.save(tmp_path / "2001.npy", VALUES[0])
    with pytest.raises(InputError, match=r"has the shape \(4, 5\); a record is"):
        Record(tmp_path / "2001.npy", ReadOptions())


def test_files_of_one_layout_but_for_one(tmp_path):
    """Other packing, units of time or order of dimensions in the middle: read as that file says."""
    for t, values in enumerate(VALUES):
        frame = dimension_of_one(xr.Dataset({"rain": (("lat", "lon"), values)}, PLACES), 10 + 5 * t)
        encoding = {"dtype": "i2", "scale_factor": 0.5 if t == 2 else 1.0, "_FillValue": -9}
        if t == 3:
            hours = MINUTES | {"units": "hours since 2001-02-02"}
            frame = frame.assign_coords(time=("time", [24 + 25 / 60], hours))
        if t == 4:
            frame = frame.transpose("lon", "time", "lat")
        frame.to_netcdf(tmp_path / f"{t}.nc", encoding={"rain": encoding})
    record = Record(tmp_path, ReadOptions())
    np.testing.assert_array_equal(record.times, TIMES.astype("M8[ns]"))
    np.testing.assert_array_equal(record.read(0, 6)[:, 0], VALUES)
    xr.Dataset({"rain": (("lat", "lon"), VALUES[0])}, PLACES).to_netcdf(tmp_path / "7.nc")
    with pytest.raises(InputError, match="7.nc: rain has no time axis"):
        Record(tmp_path, ReadOptions())
    dimension_of_one(
        xr.Dataset({"rain": (("lat", "lon"), VALUES[0])}, {**PLACES, "lat": np.arange(1.0, 5)}), 45
    ).to_netcdf(tmp_path / "7.nc")
    with pytest.raises(InputError, match="7.nc: differs from 0.nc: other values of lat"):
        Record(tmp_path, ReadOptions())


def grouped(path, groups):
    """A file with a variable of 6 frames in each of some groups, and its latitude at the root."""
    xr.Dataset(coords={"lat": PLACES["lat"]}).to_netcdf(path)
    for k, (group, name) in enumerate(groups):
        data = xr.Dataset({name: (("time", "lon", "lat"), VALUES.swapaxes(1, 2) + 100 * k)})
        data = data.assign_coords(time=TIMES, lon=PLACES["lon"])
        data.to_netcdf(path, group=group, mode="a")
    return path


def test_groups(tmp_path):
    """The only one that holds frames, the given one, one of a given variable; a latitude above."""
    path = grouped(tmp_path / "one.nc", [("Grid", "rain")])
    reader = XarrayReader(path, ReadOptions())
    np.testing.assert_array_equal(reader.read(0, 6)[:, 0], VALUES)
    assert reader.grid.dims == ("time", None, "lat", "lon")
    np.testing.assert_array_equal(reader.grid.coordinates["lat"].values, PLACES["lat"])
    path = grouped(tmp_path / "two.nc", [("Grid", "rain"), ("Grid/Intermediate", "count")])
    with pytest.raises(InputError) as error:
        XarrayReader(path, ReadOptions())
    assert "in several groups, /Grid, /Grid/Intermediate; there are: /Grid (rain)" in str(
        error.value
    )
    assert "name one with --group" in error.value.text_for({"--group"})
    for options in (ReadOptions(group="/Grid/Intermediate"), ReadOptions("count")):
        assert XarrayReader(path, options).read(0, 1)[0, 0, 0, 0] == 100
    with pytest.raises(InputError, match="has no group 'Swath'; there are: /Grid .rain.; /Grid/I"):
        XarrayReader(path, ReadOptions(group="Swath"))
    with pytest.raises(InputError, match="has no variable 'snow' in any group; there are: /Grid"):
        XarrayReader(path, ReadOptions("snow"))


def test_groups_of_a_store(tmp_path):
    data = xr.Dataset({"x": (("time", "lat", "lon"), VALUES)}, {"time": TIMES, **PLACES})
    data.to_zarr(tmp_path / "r.zarr", group="a/b", consolidated=False)
    record = Record(tmp_path / "r.zarr", ReadOptions())
    np.testing.assert_array_equal(record.read(1, 5)[:, 0], VALUES[1:5])


def test_what_does_not_belong_to_the_variable_is_not_decoded(tmp_path):
    """Times that cannot be: of another variable, beside the variable; its own are refused."""
    data = xr.Dataset({"x": (("time", "lat", "lon"), VALUES)}, {"time": TIMES, **PLACES})
    impossible = {"units": "days since the flood", "standard_name": "time"}
    data.assign(event=("n", np.arange(3.0), impossible)).to_netcdf(tmp_path / "a.nc")
    data.assign_coords(run=((), 5.0, impossible)).to_netcdf(tmp_path / "b.nc")
    for name in "ab":
        reader = XarrayReader(tmp_path / f"{name}.nc", ReadOptions())
        np.testing.assert_array_equal(reader.times, TIMES.astype("M8[ns]"))
    data.assign_coords(time=("time", np.arange(6.0), impossible)).to_netcdf(tmp_path / "c.nc")
    with pytest.raises(InputError, match="c.nc, time: cannot be read: .*since the flood"):
        XarrayReader(tmp_path / "c.nc", ReadOptions())


def test_a_file_is_what_it_contains(tmp_path):
    """NetCDF 3 and 4, an array and an archive by names that do not say so; HDF5 as .nc."""
    data = xr.Dataset({"x": (("time", "lat", "lon"), VALUES)}, {"time": TIMES, **PLACES})
    for name, format_ in (("a.dat", "NETCDF3_CLASSIC"), ("b.he5", "NETCDF4"), ("c", "NETCDF4")):
        data.to_netcdf(tmp_path / name, format=format_, engine="netcdf4")
    data.to_netcdf(tmp_path / "d.npy")
    np.save(tmp_path / "e.bin.npy", VALUES)
    (tmp_path / "e.bin.npy").rename(tmp_path / "e.nc")
    np.savez(tmp_path / "f.npz", VALUES)
    (tmp_path / "f.npz").rename(tmp_path / "f.dat")
    for name in ("a.dat", "b.he5", "c", "d.npy", "e.nc", "f.dat"):
        record = Record(tmp_path / name, ReadOptions())
        np.testing.assert_array_equal(record.read(0, 6)[:, 0], VALUES)
        assert (record.times is not None) == (name < "e")


def test_files_of_an_unknown_suffix_in_a_folder(tmp_path):
    """By content; notes, pictures, hidden and unfinished files are none of them; a known suffix
    goes first.
    """
    data = xr.Dataset({"x": (("time", "lat", "lon"), VALUES)}, {"time": TIMES, **PLACES})
    for name in ("10.grb2nc", "9.grb2nc", "11.part", ".12", "old.grb2nc~"):
        data.to_netcdf(tmp_path / name)
    (tmp_path / "read.me").write_text("notes")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert [p.name for p in files_of(tmp_path)] == ["9.grb2nc", "10.grb2nc"]
    data.to_netcdf(tmp_path / "8.nc")
    assert [p.name for p in files_of(tmp_path)] == ["8.nc"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GRIB\0\0\0\2", "x.nc: is GRIB: convert it"),
        (b"\x0e\x03\x13\x01", "x.nc: is HDF4"),
        (b"\x1f\x8b\x08\0" + bytes(20), "x.nc: is compressed by gzip: unpack it"),
    ],
)
def test_files_that_have_to_be_converted(tmp_path, content, message):
    (tmp_path / "x.nc").write_bytes(content)
    with pytest.raises(InputError, match=message):
        Record(tmp_path / "x.nc", ReadOptions())


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (("time", "lat", "lon", "band"), ("time", "band", "lat", "lon")),
        (("lat", "lon", "channel", "Time"), ("Time", "channel", "lat", "lon")),
        (("t", "x", "y", "level"), ("t", "level", "y", "x")),
        (("Time", "bottom_top", "south_north", "west_east"), None),
        (("rlon", "rlat", "member", "valid_time"), ("valid_time", "member", "rlat", "rlon")),
        (("time", "z", "u", "v"), ("time", "z", "u", "v")),
        (("time", "channel", "height", "width"), None),
        (("time", "nav_lat", "band", "v"), ("time", "band", "nav_lat", "v")),
    ],
)
def test_names_of_dimensions_without_coordinates(tmp_path, dims, expected):
    """No coordinate variable says anything: the names do."""
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    xr.Dataset({"rain": (dims, values)}).to_netcdf(tmp_path / "r.nc")
    reader = XarrayReader(tmp_path / "r.nc", ReadOptions())
    expected = expected or dims
    assert reader.grid.dims == expected
    order = [dims.index(dim) for dim in expected]
    np.testing.assert_array_equal(reader.read(0, 9), values.transpose(order))


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("time", "p", "q", "r"), "neither attributes nor names say which are rows and columns"),
        (("time", "step", "lat", "lon"), "has two axes of time, time and step"),
        (("time", "band", "level", "lat", "lon"), "keep one entry of band or level"),
    ],
)
def test_dimensions_whose_role_stays_open(tmp_path, dims, message):
    xr.Dataset({"x": (dims, np.zeros((2, 3, 4, 5, 6)[: len(dims)]))}).to_netcdf(tmp_path / "r.nc")
    with pytest.raises(InputError, match=message):
        XarrayReader(tmp_path / "r.nc", ReadOptions())


def test_a_dimension_beside_the_time_of_the_frame(tmp_path):
    """A scalar time and three dimensions: bands are channels, of k nothing is known."""
    for dim in ("band", "k"):
        data = xr.Dataset({"x": ((dim, "lat", "lon"), VALUES)}, PLACES)
        scalar_coordinate(data, 10).to_netcdf(tmp_path / f"{dim}.nc")
    assert XarrayReader(tmp_path / "band.nc", ReadOptions()).shape == (1, 6, 4, 5)
    with pytest.raises(InputError, match="it remains open what k is"):
        XarrayReader(tmp_path / "k.nc", ReadOptions())
    assert XarrayReader(tmp_path / "k.nc", ReadOptions(time="k")).shape == (6, 1, 4, 5)


@pytest.mark.parametrize(
    ("dim", "printed"), [("number", True), ("k", True), ("level", False), ("air", False)]
)
def test_what_is_taken_as_channels_is_said(tmp_path, capsys, dim, printed):
    """Ensemble members and what nothing is known of; not what is a level by name or attribute."""
    values = np.zeros((6, 3, 4, 5), np.float32)
    air = (dim, [1.0, 2.0, 3.0], {"axis": "Z"} if dim == "air" else {})
    coordinates = {"time": TIMES, dim: air, **PLACES}
    data = xr.Dataset({"x": (("time", dim, "lat", "lon"), values)}, coordinates)
    data.to_netcdf(tmp_path / "r.nc")
    assert XarrayReader(tmp_path / "r.nc", ReadOptions()).shape == (6, 3, 4, 5)
    line = f"{tmp_path}: the dimension {dim} of x is read as channels\n"
    assert capsys.readouterr().out == (line if printed else "")


def test_dimensions_of_one_name(tmp_path):
    with netCDF4.Dataset(tmp_path / "r.nc", "w") as file:
        file.createDimension("time", 3)
        file.createDimension("n", 4)
        file.createVariable("x", "f4", ("time", "n", "n"))[:] = 0
    with pytest.raises(InputError, match="x has the dimensions time, n, n, two of one name"):
        XarrayReader(tmp_path / "r.nc", ReadOptions())


def test_two_versions_of_era5(tmp_path):
    """expver 1 holds frames 0 to 3, 5 the rest; where both hold one, it is refused."""
    values = np.full((6, 2, 4, 5), np.nan, np.float32)
    values[:4, 0], values[4:, 1] = VALUES[:4], VALUES[4:]
    coordinates = {"time": TIMES, "expver": [1, 5], **PLACES}
    data = xr.Dataset({"x": (("time", "expver", "lat", "lon"), values)}, coordinates)
    data.to_netcdf(tmp_path / "a.nc")
    reader = XarrayReader(tmp_path / "a.nc", ReadOptions())
    assert reader.shape == (6, 1, 4, 5)
    np.testing.assert_array_equal(reader.read(0, 6)[:, 0], VALUES)
    data.x[3, 1] = 7
    data.to_netcdf(tmp_path / "b.nc")
    reader = XarrayReader(tmp_path / "b.nc", ReadOptions())
    np.testing.assert_array_equal(reader.read(4, 6)[:, 0], VALUES[4:])
    with pytest.raises(InputError, match="x has values at two entries of expver in frame 3"):
        reader.read(0, 6)


def test_bounds_are_no_candidates(tmp_path):
    """By the attribute bounds or climatology, by name, and what else other variables name."""
    mesh = (("y", "x"), np.ones((4, 5)))
    corners = (("y", "x", "corner"), np.ones((4, 5, 4)))
    data = xr.Dataset({"rain": (("time", "y", "x"), VALUES), "corners": corners})
    data = data.assign(lon_bnds=corners, quality=(("time", "y", "x"), VALUES))
    data = data.assign_coords(time=TIMES, lat=mesh, lon=mesh)
    data.rain.attrs["ancillary_variables"] = "quality"
    data.lat.attrs["bounds"] = "corners"
    data.to_netcdf(tmp_path / "r.nc")
    assert XarrayReader(tmp_path / "r.nc", ReadOptions()).grid.variable == "rain"
    assert XarrayReader(tmp_path / "r.nc", ReadOptions("quality")).grid.variable == "quality"


def test_what_is_kept_has_a_total():
    """Of arrays of 40 bytes in 100, the two used last."""
    kept, made = Kept(100), []
    for key in "abacaba":
        kept.get(key, lambda key=key: made.append(key) or np.zeros(10, np.float32))
    assert "".join(made) == "abcb"
    assert (kept.size, list(kept.arrays)) == (80, ["b", "a"])
    kept.get("d", lambda: np.zeros(1000))
    assert (kept.size, list(kept.arrays)) == (8000, ["d"])


def test_a_radar_scan_of_odim(tmp_path):
    """Its packing is not that of NetCDF: refused, not read as it is packed."""
    with netCDF4.Dataset(tmp_path / "20010203.h5", "w") as file:
        file.Conventions = "ODIM_H5/V2_2"
        group = file.createGroup("dataset1/data1")
        group.createDimension("rows", 4)
        group.createDimension("columns", 5)
        group.createVariable("data", "u1", ("rows", "columns"))[:] = 7
    with pytest.raises(InputError, match="20010203.h5: is ODIM HDF5"):
        Record(tmp_path, ReadOptions(time_from_name="%Y%m%d"))


@pytest.mark.parametrize("with_time", [scalar_coordinate, dimension_of_one, attribute])
def test_the_forecast_of_single_frames(tmp_path, with_time):
    """Its file has their places, and the times that follow theirs."""
    for t, values in enumerate(VALUES):
        frame = xr.Dataset({"rain": (("lat", "lon"), values)}, PLACES)
        with_time(frame, 10 + 5 * t).to_netcdf(tmp_path / f"{t}.nc")
    normalizer = Normalizer((0.0, 120.0))
    source = RecordFile(tmp_path, ReadOptions()).end(4, normalizer)
    write_netcdf(tmp_path / "forecast.nc", VALUES[None, :2, None], source, 4, "a network")
    with xr.open_dataset(tmp_path / "forecast.nc") as forecast:
        assert forecast.rain.dims[1:] == ("lat", "lon")
        times = forecast[forecast.rain.dims[0]].values
        np.testing.assert_array_equal(times, TIMES[-1] + np.array([5, 10], "m8[m]"))
        np.testing.assert_array_equal(forecast.lon, PLACES["lon"])
        np.testing.assert_array_equal(forecast.rain, VALUES[:2])


def test_a_record_is_opened_once(tmp_path):
    """Training and test of one dataset share it, until its files or the options change."""
    for t, values in enumerate(VALUES):
        np.save(tmp_path / f"2001-02-0{t + 1}.npy", values)
    settings = {"dataset": str(tmp_path), "value_range": (0.0, 119.0), "window_stride": 1}
    settings |= {
        "dataset_crc": 1,
        "time_from_name": "%Y-%m-%d",
        "input_frames": 3,
        "forecast_frames": 2,
    }
    data = make_config("small", settings).data
    first = own_data.open_file(data.dataset, data)
    assert first.record.times.astype("M8[D]").astype(str)[5] == "2001-02-06"
    assert own_data.open_file(data.dataset, data).record.readers is first.record.readers
    other = dataclasses.replace(data, time_from_name="%Y-%d-%m")
    assert own_data.open_file(data.dataset, other).record.time_of(5) == "2001-06-02T00:00"
    np.save(tmp_path / "2001-02-07.npy", VALUES[0])
    assert len(own_data.open_file(data.dataset, data).record) == 7


def test_archives_have_the_same_total(tmp_path, monkeypatch):
    """Three archives of 480 bytes, of which one is kept."""
    kept = Kept(500)
    monkeypatch.setattr(readers, "KEPT", kept)
    for k in range(3):
        np.savez(tmp_path / f"{k}.npz", VALUES + k)
    record = Record(tmp_path, ReadOptions())
    assert record.read(0, 18)[::6, 0, 0, 0].tolist() == [0, 1, 2]
    assert (len(kept.arrays), kept.size) == (1, 480)


def frames_of(path, number):
    """The first value of each frame of a record; opened before, and read, by other processes."""
    return (number, OPEN[path].read(0, 6)[:, 0, 0, 0].tolist())


OPEN = {}


def test_processes_and_threads(tmp_path):
    """What one process opened and read is read by those forked from it, and by threads."""
    for t, values in enumerate(VALUES):
        frame = xr.Dataset({"rain": (("lat", "lon"), values)}, PLACES)
        dimension_of_one(frame, 10 + 5 * t).to_netcdf(tmp_path / f"{t}.nc")
    expected = VALUES[:, 0, 0].tolist()
    OPEN[tmp_path] = Record(tmp_path, ReadOptions())
    OPEN[tmp_path].read(0, 3)
    work = [(tmp_path, number) for number in range(8)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(frames_of, work) == [(number, expected) for _, number in work]
    OPEN[tmp_path] = Record(tmp_path, ReadOptions())
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(frames_of, *zip(*work, strict=True))) == [
            (number, expected) for _, number in work
        ]


# A process of its own, without MindSpore: how much it grows by reading a record.
GROWTH = """
import sys
import cf_xarray, netCDF4, xarray
from src.data.normalizer import Normalizer
from src.data.record import Record, RecordFile
from src.formats.options import ReadOptions

def size():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

before = size()
record = Record(sys.argv[1], ReadOptions())
found = record.statistics(range(len(record)))
record.read(0, 4)
print((size() - before) // 1024, found.lowest, found.highest)
"""


def test_memory_has_a_total(tmp_path):
    """Files of 1 MB, 400 MB in all, and some of 60 MB compressed: less than 200 MB are kept."""
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    dims, places = ("lat", "lon"), {"lat": np.arange(512.0), "lon": np.arange(512.0)}
    for t in range(400):
        frame = xr.Dataset({"rain": (dims, np.full((512, 512), t, np.float32))}, places)
        dimension_of_one(frame, t).to_netcdf(tmp_path / "small" / f"{t}.nc")
    for k in range(6):
        values = np.full((60, 512, 512), k, np.float32)
        times = np.datetime64("2001-01-01T00:00", "ns") + np.arange(60) * 10**9 + k * 60 * 10**9
        data = xr.Dataset({"rain": (("time", *dims), values)}, {"time": times, **places})
        packing = {"zlib": True, "complevel": 1, "chunksizes": (10, 512, 512)}
        data.to_netcdf(tmp_path / "large" / f"{k}.nc", encoding={"rain": packing})
    # As users have it: with the tests' setting of malloc, freed blocks stay with the process.
    environment = {name: v for name, v in os.environ.items() if name != "GLIBC_TUNABLES"}
    for name, highest in (("small", 399), ("large", 5)):
        command = [sys.executable, "-c", GROWTH, str(tmp_path / name)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
        assert result.returncode == 0, result.stderr
        grown, low, high = map(float, result.stdout.split())
        assert (low, high) == (0, highest)
        assert grown < 200
