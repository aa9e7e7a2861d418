"""Files of each published format become frames with the values, grid and time that are theirs."""

import gzip

import netCDF4
import numpy as np
import pyproj
import pytest
import xarray

from src.errors import InputError
from src.radar.published import find_format, open_file
from tests.radar import published_files

RAW = np.array([[0, 12, 138, 65535], [1, 2, 3, 4], [65535, 65535, 7, 8]], np.uint16)
BYTES = np.array([[0, 1, 50, 255], [64, 100, 200, 254], [7, 255, 9, 11]], np.uint8)


def known(raw, missing):
    return np.where(raw == missing, np.nan, raw.astype(float))


def test_knmi_accumulations(tmp_path):
    """12 hundredths of a mm in 5 minutes are 1.44 mm/h; the corner is in metres."""
    published_files.knmi(tmp_path / "a.h5", RAW)
    file = open_file(tmp_path / "a.h5")
    frame = file.read()
    assert find_format(tmp_path / "a.h5") == "knmi"
    assert file.times == np.array(["2010-08-26T05:35"], "M8[s]")
    assert (frame.unit, frame.minutes) == ("mm", 5)
    np.testing.assert_allclose(frame.values, known(RAW, 65535) / 100)
    np.testing.assert_allclose(frame.as_unit("mm/h").values, known(RAW, 65535) / 100 / 5 * 60)
    np.testing.assert_allclose(frame.grid.x, [500, 1500, 2500, 3500])
    np.testing.assert_allclose(frame.grid.y, [-3650500, -3651500, -3652500])
    assert frame.grid.projection.ellipsoid.semi_major_metre == 6378137


@pytest.mark.parametrize(("factor", "offset"), [(0.5, -32.0), (0.5, -31.5)])
def test_knmi_reflectivity_of_old_and_new_packing(tmp_path, factor, offset):
    """The file's own formula holds, also where it is not the one that pysteps takes."""
    formula = f"GEO = {factor:f} * PV + {offset:f}"
    published_files.knmi(
        tmp_path / "a.h5",
        BYTES,
        parameter="REFLECTIVITY_[DBZ]",
        formula=formula,
        outside=255,
    )
    frame = open_file(tmp_path / "a.h5").read()
    assert (frame.unit, frame.minutes) == ("dBZ", None)
    np.testing.assert_allclose(frame.values, factor * known(BYTES, 255) + offset)


@pytest.mark.parametrize("projection", [published_files.KNMI_KM, published_files.KNMI_OLD])
def test_the_netherlands_are_where_they_are(tmp_path, projection):
    """The corners that KNMI's files name, in degrees, with the older projection string too."""
    published_files.knmi(tmp_path / "a.h5", np.zeros((765, 700), np.uint16), projection=projection)
    grid = open_file(tmp_path / "a.h5").read().grid
    degrees = pyproj.Proj(grid.projection)
    north_west = degrees(grid.x[0] - 500, grid.y[0] + 500, inverse=True)
    south_east = degrees(grid.x[-1] + 500, grid.y[-1] - 500, inverse=True)
    np.testing.assert_allclose(north_west, (0, 55.974), atol=1e-3)
    np.testing.assert_allclose(south_east, (9.009, 48.895), atol=1e-3)


def test_knmi_of_an_hour(tmp_path):
    published_files.knmi(tmp_path / "a.h5", RAW, start="26-AUG-2010;04:35:00.000")
    assert open_file(tmp_path / "a.h5").read().minutes == 60


@pytest.mark.parametrize("parameter", ["ECHO_TOP_HEIGHT_[KM]", "PRECIPITATION_[MM/H]", "HAIL"])
def test_knmi_of_something_else_is_refused(tmp_path, parameter):
    """Packed by the same formula, it would be taken for millimetres."""
    published_files.knmi(tmp_path / "a.h5", RAW, parameter=parameter)
    with pytest.raises(InputError, match="image1 holds .*; accumulated precipitation"):
        open_file(tmp_path / "a.h5")


def test_knmi_of_unknown_packing_is_refused(tmp_path):
    published_files.knmi(tmp_path / "a.h5", RAW, formula="GEO=10^(PV/10)")
    with pytest.raises(InputError, match=r"a\.h5: cannot be read: image1 is packed by"):
        open_file(tmp_path / "a.h5")


@pytest.mark.parametrize("text", [np.bytes_, str])
def test_odim_rates_with_texts_of_any_kind(tmp_path, text):
    published_files.odim(tmp_path / "a.hdf", BYTES, text=text)
    file = open_file(tmp_path / "a.hdf")
    frame = file.read()
    assert file.times == np.array(["2016-09-28T16:00"], "M8[s]")
    assert (frame.unit, frame.minutes, frame.institution) == ("mm/h", None, "ORG:247")
    np.testing.assert_allclose(frame.values, 0.1 * known(BYTES, 255))
    np.testing.assert_allclose(frame.grid.x, 1_001_000 + 2000 * np.arange(4), atol=0.01)
    np.testing.assert_allclose(frame.grid.y, -1_001_000 - 2000 * np.arange(3), atol=0.01)


@pytest.mark.parametrize("minutes", [15, 5])
def test_odim_accumulations_by_their_interval(tmp_path, minutes):
    """5 mm in 15 minutes are 20 mm/h, in 5 minutes 60 mm/h."""
    published_files.odim(tmp_path / "a.hdf", BYTES, "ACRR", minutes)
    frame = open_file(tmp_path / "a.hdf").read().as_unit("mm/h")
    np.testing.assert_allclose(frame.values, 0.1 * known(BYTES, 255) * 60 / minutes)


def test_odim_with_two_quantities_is_asked_about(tmp_path):
    published_files.odim(tmp_path / "a.hdf", BYTES, "DBZH", more=("RATE", "QIND"))
    with pytest.raises(InputError, match="has the quantities DBZH, RATE, QIND"):
        open_file(tmp_path / "a.hdf")
    assert open_file(tmp_path / "a.hdf", quantity="DBZH").read().unit == "dBZ"


def test_odim_with_a_quantity_twice_is_refused(tmp_path):
    """Amounts of two intervals, or two heights: pysteps takes the last without a word."""
    published_files.odim(tmp_path / "a.hdf", BYTES, "ACRR", more=("QIND", "ACRR"))
    with pytest.raises(InputError, match="it has ACRR 2 times"):
        open_file(tmp_path / "a.hdf")


@pytest.mark.parametrize("given", [{"quantity": "RATE"}, {"variable": "rain"}])
def test_what_is_for_another_format_is_refused(tmp_path, given):
    published_files.knmi(tmp_path / "a.h5", RAW)
    with pytest.raises(InputError, match=r"a\.h5: has the format knmi, and (quantity|variable) "):
        open_file(tmp_path / "a.h5", **given)


def test_odim_volumes_are_refused(tmp_path):
    published_files.odim(tmp_path / "a.hdf", BYTES, kind="PVOL")
    with pytest.raises(InputError, match="it is an ODIM PVOL"):
        open_file(tmp_path / "a.hdf")


def test_swiss_rates(tmp_path):
    """The palette's colours stand for rates; below 0 is dry, above 9999 is no measurement."""
    numbers = np.tile(np.arange(250, 256), (640, 119))[:, :710]
    numbers[:, :100] = np.arange(0, 100)
    path = tmp_path / "RZC162721600VL_00005.801.gif"
    table = published_files.swiss(path, numbers)
    file = open_file(path)
    frame = file.read()
    assert file.times == np.array(["2016-09-28T16:00"], "M8[s]")
    assert frame.unit == "mm/h"
    # The last colours of the table are used more than once: the last meaning of each holds.
    expected = table[numbers]
    expected = np.where(expected < 0, 0, np.where(expected > 9999, np.nan, expected))
    np.testing.assert_allclose(frame.values[:, 1:100], expected[:, 1:100])
    assert frame.grid.x[0] == 255500
    assert frame.grid.y[0] == 479500


def test_swiss_accumulations(tmp_path):
    """AQC: number 100 is (10^(28.5 / 20) / 316)^(2 / 3) mm in the name's 5 minutes."""
    numbers = np.full(published_files.SWISS_SHAPE, 100)
    numbers[0] = 255
    path = tmp_path / "AQC162721600F_00005.801.gif"
    published_files.swiss(path, numbers)
    frame = open_file(path).read()
    assert (frame.unit, frame.minutes) == ("mm", 5)
    amount = (10 ** (28.5 / 20) / 316) ** (2 / 3)
    np.testing.assert_allclose(frame.as_unit("mm/h").values[1:], 12 * amount)
    assert np.isnan(frame.values[0]).all()


def test_swiss_of_another_size_or_name_is_refused(tmp_path):
    path = tmp_path / "AQC162721600F_00005.801.gif"
    published_files.swiss(path, np.zeros((10, 710)))
    with pytest.raises(InputError, match="it has 10 pixels along y"):
        open_file(path).read()
    with pytest.raises(InputError, match="begins with none of AQC"):
        open_file(path.rename(tmp_path / "rain.gif"))


@pytest.mark.parametrize("zipped", [False, True])
def test_fmi(tmp_path, zipped):
    path = tmp_path / ("a.pgm.gz" if zipped else "a.pgm")
    published_files.fmi(path, BYTES, zipped=zipped)
    file = open_file(path)
    frame = file.read()
    assert file.times == np.array(["2016-09-28T16:00"], "M8[s]")
    assert (frame.unit, frame.zr) == ("dBZ", (223.0, 1.53))
    np.testing.assert_allclose(frame.values, (known(BYTES, 255) - 64) / 2)
    np.testing.assert_allclose(frame.grid.x, 999.67 * (np.arange(4) + 0.5), atol=0.01)
    np.testing.assert_allclose(frame.grid.y, 999.67 * (2.5 - np.arange(3)), atol=0.01)


def test_fmi_of_something_else_is_refused(tmp_path):
    published_files.fmi(tmp_path / "a.pgm", BYTES, parameter="HydrometeorClass")
    with pytest.raises(InputError, match="it holds HydrometeorClass"):
        open_file(tmp_path / "a.pgm")


@pytest.mark.parametrize("descending", [True, False])
def test_bom(tmp_path, descending):
    """The row with the largest y comes first, in whichever order the file has them."""
    amounts = np.array([[0, 0.05, np.nan], [1, 2, 3.5]])
    published_files.bom(tmp_path / "a.nc", amounts, descending=descending)
    file = open_file(tmp_path / "a.nc")
    frame = file.read()
    assert find_format(tmp_path / "a.nc") == "bom"
    assert file.times == np.array(["2016-09-28T16:00"], "M8[s]")
    assert (frame.unit, frame.minutes) == ("mm", 6)
    np.testing.assert_allclose(frame.values, amounts if descending else amounts[::-1])
    np.testing.assert_allclose(frame.grid.x, [0, 1000, 2000])
    np.testing.assert_allclose(frame.grid.y, [501500, 500500])


def test_bom_of_a_day(tmp_path):
    published_files.bom(tmp_path / "a.nc", np.ones((2, 2)), minutes=1440)
    assert open_file(tmp_path / "a.nc").read().minutes == 1440


@pytest.mark.parametrize(
    ("units", "factor"), [("mm h-1", 1), ("kg m-2 s-1", 3600), ("m s**-1", 3.6e6)]
)
def test_cf_rates_in_several_units(tmp_path, units, factor):
    """The southern row comes first in the file, and last in the frame."""
    values = np.arange(12.0).reshape(2, 2, 3) / factor
    values[1, 0, 0] = np.nan
    times = np.array(["2020-01-01T00:00", "2020-01-01T00:10"], "M8[ns]")
    y = ("y", [1.0, 3.0], {"standard_name": "projection_y_coordinate", "units": "km"})
    x = ("x", [0.0, 2.0, 4.0], {"standard_name": "projection_x_coordinate", "units": "km"})
    dataset = xarray.Dataset(
        {"rr": (("time", "y", "x"), values, {"units": units})},
        {"time": times, "y": y, "x": x},
    )
    dataset.to_netcdf(tmp_path / "a.nc")
    file = open_file(tmp_path / "a.nc")
    np.testing.assert_array_equal(file.times, times.astype("M8[s]"))
    frame = file.read(1)
    np.testing.assert_allclose(frame.values, factor * values[1, ::-1])
    np.testing.assert_allclose(frame.grid.y, [3000, 1000])
    assert frame.unit == "mm/h"


def test_cf_amounts_of_an_interval_with_gaps(tmp_path):
    """What is outside of the valid range is missing; degrees are those of WGS 84."""
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.institution = "A service"
        for name, units, values in (
            ("time", "minutes since 2020-01-01", [10, 20]),
            ("lat", "degrees_north", [50, 51, 52]),
            ("lon", "degrees_east", [4, 5]),
        ):
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,)).units = units
            file[name][:] = values
        file.createDimension("ends", 2)
        file["time"].bounds = "time_ends"
        file.createVariable("time_ends", "f8", ("time", "ends"))[:] = [[0, 10], [10, 20]]
        packed = file.createVariable("rain", "i2", ("time", "lat", "lon"), fill_value=-1)
        packed.setncatts({"units": "cm", "scale_factor": 0.01, "valid_max": np.int16(50)})
        packed.set_auto_maskandscale(False)
        packed[:] = [[[0, 1], [2, 3], [-1, 60]], [[4, 5], [6, 7], [8, 9]]]
    file = open_file(tmp_path / "a.nc")
    frame = file.read(0)
    np.testing.assert_allclose(frame.values, [[np.nan, np.nan], [0.2, 0.3], [0, 0.1]])
    assert (frame.unit, frame.minutes, frame.institution) == ("mm", 10, "A service")
    np.testing.assert_allclose(frame.grid.y, [52, 51, 50])
    assert frame.grid.projection.to_epsg() == 4326
    assert file.times[1] == np.datetime64("2020-01-01T00:20")


def test_cf_with_damaged_bounds_is_refused(tmp_path):
    """Three ends of an interval."""
    rain = {"rr": (("time", "y", "x"), np.ones((1, 2, 2)), {"units": "mm"})}
    ends = {"ends": (("time", "three"), np.zeros((1, 3)))}
    axes = {name: (name, [0.0, 1.0], {"units": "km"}) for name in "yx"}
    time = {"time": ("time", [0.0], {"units": "hours since 2020-01-01", "bounds": "ends"})}
    xarray.Dataset(rain | ends, axes | time).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="a.nc, ends: cannot be read"):
        open_file(tmp_path / "a.nc")


def test_cf_of_one_frame_takes_its_time_from_its_name(tmp_path):
    values = {"rr": (("y", "x"), np.ones((2, 2), np.float32), {"units": "mm/h"})}
    axes = {name: (name, [0.0, 1.0], {"units": "km"}) for name in "yx"}
    path = tmp_path / "rain_202001020304.nc"
    xarray.Dataset(values, axes).to_netcdf(path)
    file = open_file(path, time_from_name="rain_%Y%m%d%H%M")
    assert file.times == np.array(["2020-01-02T03:04"], "M8[s]")
    np.testing.assert_array_equal(file.read().grid.x, [0, 1000])
    with pytest.raises(InputError, match="no time axis"):
        open_file(path)


@pytest.mark.parametrize(("pattern", "reason"), [("%m%d%H%M", "no year"), ("%Q", "%Q")])
def test_a_pattern_has_to_say_the_year(tmp_path, pattern, reason):
    path = tmp_path / "01020304.h5"
    published_files.knmi(path, RAW)
    with pytest.raises(InputError, match=f"it has {reason}"):
        open_file(path, time_from_name=pattern)


def test_cf_without_a_meaning_is_refused(tmp_path):
    values = {"t": (("time", "lat", "lon"), np.zeros((2, 2, 3)), {"units": "K"})}
    axes = {"time": [0, 1], "lat": [0.0, 1.0], "lon": [0.0, 1.0, 2.0]}
    xarray.Dataset(values, axes).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="t has the units K; a rain rate such as mm h-1"):
        open_file(tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"GRIB....", "is GRIB"),
        (b"II*\0....", "is a GeoTIFF"),
        (b"", "is empty"),
        (b"hello", "has no format that is known"),
        (b"\x89HDF\r\n\x1a\n", "cannot be read"),
        (b"CDF\x01..", "cannot be read"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, head, message):
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(InputError, match=rf"a: {message}"):
        open_file(tmp_path / "a")


def test_what_is_zipped_has_to_be_unpacked(tmp_path):
    (tmp_path / "a.h5.gz").write_bytes(gzip.compress(b"\x89HDF\r\n\x1a\n"))
    with pytest.raises(InputError, match="is compressed by gzip, which only PGM may be"):
        open_file(tmp_path / "a.h5.gz")


def test_time_from_the_name(tmp_path):
    path = tmp_path / "rain_20200102_0304_v2.h5"
    published_files.knmi(path, RAW)
    file = open_file(path, time_from_name="rain_%Y%m%d_%H%M")
    assert file.times == np.array(["2020-01-02T03:04"], "M8[s]")
    with pytest.raises(InputError, match="has no time of the pattern 'rain_%Y%j"):
        open_file(path, time_from_name="rain_%Y%j_%H%M")
