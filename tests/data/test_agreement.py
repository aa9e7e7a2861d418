"""What the files of a record, and a new file and a checkpoint, have to agree in."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from src.config.presets import make_config
from src.data.own_data import training_split
from src.data.record import Record
from src.data.sources import evaluation_source, training_sources
from src.errors import InputError
from src.forecast.prediction import sequences_of_input
from src.forecast.predictor import Predictor
from src.formats.options import ReadOptions
from src.formats.writers import write_netcdf
from src.tools.new_run import new_config, resolve_dataset

FRAMES = {"input_frames": 3, "forecast_frames": 2}
RANGE = (0.0, 100.0)


def dataset_of(steps=range(60), name="rain", units="mm h-1", scale=1.0, freq="h", **attributes):
    """A Dataset whose frame t, (8, 12), is full of t times a scale."""
    times = pd.date_range("2001-02-03", periods=max(steps) + 1, freq=freq)[list(steps)]
    values = np.broadcast_to(
        np.float32(steps)[:, None, None] * np.float32(scale), (len(steps), 8, 12)
    )
    coordinates = {"time": times, "lat": np.arange(8.0), "lon": np.arange(12.0)}
    attributes |= {"units": units} if units else {}
    return xr.Dataset({name: (("time", "lat", "lon"), values, attributes)}, coordinates)


def written(path, dataset):
    dataset.to_netcdf(path)
    return path


def config_of(path, **options):
    options = {"dataset": str(path), "value_range": RANGE, "batch_size": 1, **FRAMES} | options
    return make_config("small", resolve_dataset(options)[0])


def whole(config, path, value_range=None):
    """All windows of another file, for the network of a configuration."""
    return evaluation_source(config, None, (2,), None, str(path), value_range)


def end(config, path, value_range=None):
    """The input of a forecast that goes on from a file."""
    network = Predictor(None, "the network", (None, 3, 1, None, None), 2, config)
    return sequences_of_input(network, path, value_range)


@pytest.fixture
def rain(tmp_path):
    """The configuration of a network that was trained on rain in mm/h."""
    (tmp_path / "trained").mkdir()
    return config_of(written(tmp_path / "trained" / "rain.nc", dataset_of(scale=1.5)))


@pytest.mark.parametrize(
    ("units", "scale", "freq", "factor"),
    [
        ("MM/H", 1.0, "h", 1.0),
        ("mm s-1", 1 / 3600, "h", 3600.0),
        ("m s-1", 1 / 3.6e6, "h", 3.6e6),
        ("kg m-2 s-1", 1 / 3600, "h", 3600.0),
        ("mm", 1 / 12, "5min", 12.0),
        ("kg m-2", 1 / 6, "10min", 6.0),
    ],
)
def test_a_new_file_in_other_units(tmp_path, capsys, rain, units, scale, freq, factor):
    """Its frame t is t mm/h however it says so: that is what is scored, forecast and written."""
    path = written(tmp_path / "new.nc", dataset_of(units=units, scale=scale, freq=freq))
    rain = rain.reading({"any_step": freq != "h"})
    for read, first in ((whole, 0), (end, 57)):
        source = read(rain, path)
        frames = source[[0]][0, :, 0, 0, 0]
        np.testing.assert_allclose(frames, np.arange(first, first + len(frames)), rtol=1e-6)
        assert frames.dtype == np.float32
        np.testing.assert_allclose(source.normalizer.normalize(source[[0]])[0, 2, 0, 0, 0],
            (first + 2) / 100, rtol=1e-6)  # fmt: skip
        assert source.grid.units == (units if factor == 1 else "mm h-1")
        said = capsys.readouterr().out
        assert ("is converted to 'mm h-1'" in said) == (factor != 1)
        assert factor == 1 or f"(1 becomes {factor:g})" in said


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ("dBZ", "new.nc: has the units 'dBZ', and the network reads 'mm h-1': 'dBZ' cannot be"),
        ("K", "new.nc: has the units 'K', and .*: 'K' cannot be converted to 'mm h-1'"),
        ("bels", "the units 'bels' are unknown to UDUNITS"),
    ],
)
def test_a_new_file_of_something_else(tmp_path, rain, units, message):
    path = written(tmp_path / "new.nc", dataset_of(units=units))
    for read in (whole, end):
        with pytest.raises(InputError, match=message):
            read(rain, path)


def test_a_value_range_is_that_of_the_file(tmp_path, capsys):
    """K for a network of degrees Celsius: converted, or scaled by a range in K; never both."""
    trained = written(tmp_path / "c.nc", dataset_of(name="sst", units="degC"))
    config = config_of(trained)
    path = written(tmp_path / "k.nc", dataset_of(name="sst", units="K"))
    source = end(config, path)
    np.testing.assert_allclose(source[[0]][0, :, 0, 0, 0], np.arange(57, 60) - 273.15, rtol=1e-6)
    assert source.grid.units == "degC"
    capsys.readouterr()
    source = end(config, path, (50.0, 60.0))
    np.testing.assert_array_equal(source[[0]][0, :, 0, 0, 0], np.arange(57, 60))
    np.testing.assert_allclose(source.normalizer.normalize(source[[0]])[0, 0, 0, 0, 0], 0.7)
    assert source.grid.units == "K"
    assert "not converted to 'degC'" in capsys.readouterr().out
    other = written(tmp_path / "z.nc", dataset_of(name="sst", units="dBZ"))
    with pytest.raises(InputError, match="'dBZ' cannot be converted to 'degC'"):
        end(config, other, (0.0, 60.0))
    unknown = written(tmp_path / "u.nc", dataset_of(name="sst", units="bels"))
    assert end(config, unknown, (0.0, 60.0)).grid.units == "bels"


def test_what_a_file_or_a_checkpoint_does_not_say(tmp_path, capsys, rain):
    """It is assumed, and said; arrays have no units at all."""
    path = written(tmp_path / "new.nc", dataset_of(units=None))
    np.save(tmp_path / "new.npy", np.zeros((4, 5, 1, 8, 12), np.float32))
    for new in (path, tmp_path / "new.npy"):
        for read in (whole, end):
            read(rain, new)
            said = capsys.readouterr().out
            assert f"units: {new} says none; its values are taken as 'mm h-1'" in said


def test_codes_in_new_sequences_are_named(tmp_path, capsys, rain):
    """Two pixels of -9999 among rain, as a warning says when a forecast begins and in a test."""
    frames = np.random.default_rng(0).random((4, 5, 1, 8, 12), np.float32)
    frames[0, 1, 0, 5, :2] = -9999
    np.save(tmp_path / "new.npy", frames)
    for read in (whole, end):
        read(rain, tmp_path / "new.npy")
        said = capsys.readouterr().err
        assert "-9999 (0.1% of the values) looks like a code for missing values: if so" in said


def test_units_that_are_no_text(tmp_path):
    """An attribute may hold a number, which a checkpoint keeps as text."""
    config = config_of(written(tmp_path / "r.nc", dataset_of(units=1)))
    assert config.data.units == "1"
    assert type(config).from_json(config.to_json()) == config


def from_before(config):
    """The configuration as a version wrote it that did not store what its dataset holds."""
    names = ("found_variable", "standard_name", "cell_method", "levels", "spacing", "dataset_size")
    return dataclasses.replace(
        config, data=dataclasses.replace(config.data, **dict.fromkeys(names))
    )


def test_a_checkpoint_from_before(tmp_path, capsys, rain):
    """What it was trained on is found in its dataset; where that is gone, the file is taken."""
    old = from_before(rain)
    snow = written(tmp_path / "new.nc", dataset_of(name="snow"))
    for read in (whole, end):
        with pytest.raises(InputError, match="holds the variable snow, not the variable rain"):
            read(old, snow)
        assert "variable: rain, in mm h-1, as " in capsys.readouterr().out
    Path(rain.data.dataset).unlink()
    for read in (whole, end):
        np.testing.assert_array_equal(read(old, snow)[[0]][0, :3, 0, 0, 0] % 57, np.arange(3))
        assert "snow; which one the network was trained on, its" in capsys.readouterr().out
    old = dataclasses.replace(old, data=dataclasses.replace(old.data, units=None))
    kelvin = written(tmp_path / "k.nc", dataset_of(name="snow", units="K"))
    assert end(old, kelvin).grid.units == "K"
    said = capsys.readouterr().out
    assert "'K'; in which the network was trained, its checkpoint does not say" in said


def test_an_archive_that_a_checkpoint_from_before_knew_shorter(tmp_path, capsys):
    config = from_before(config_of(written(tmp_path / "r.nc", dataset_of())))
    capsys.readouterr()
    evaluation_source(config)
    assert not capsys.readouterr().out
    whole(config, written(tmp_path / "r.nc", dataset_of(range(70))))
    assert "frames that it was trained on may be among those" in capsys.readouterr().out


def test_a_record_from_before_at_another_place(tmp_path, capsys):
    """Its copy is read with a mask that the old version did not know: it may hold what was trained
    on; of a file that is read as ever nothing is said.
    """
    limited = dataset_of(scale=1.5, valid_max=np.float32(80))
    config = from_before(config_of(written(tmp_path / "r.nc", limited), missing="mask"))
    old = dataclasses.replace(config.data, read_by=None, dataset_crc=1)
    config = dataclasses.replace(config, data=old)
    path = written(tmp_path / "copy.nc", limited.isel(time=slice(50)))
    whole(config, path)
    said = capsys.readouterr().out
    assert f"{path}: is read differently since version 0.3.0: values beyond valid_max" not in said
    limited = dataset_of(range(50), scale=1.5, valid_max=np.float32(50))
    whole(config, written(path, limited.where(limited.lat > 0, 1.5)))
    said = capsys.readouterr().out
    assert f"{path}: is read differently since version 0.3.0: values beyond valid_max" in said
    assert "frames that it was trained on may be among those that are measured" in said


def test_forecasts_are_in_the_units_of_their_file(tmp_path, rain):
    """A flux by mass is forecast, and written, as a rate by depth."""
    flux = dataset_of(units="kg m-2 s-1", scale=1 / 3600, standard_name="precipitation_flux")
    source = end(rain, written(tmp_path / "new.nc", flux))
    forecast = source.normalizer.denormalize(
        np.full((1, 2, 1, 8, 12), 0.5, np.float32), source[[0]]
    )
    write_netcdf(tmp_path / "forecast.nc", forecast, source, 3, "the network")
    with xr.open_dataset(tmp_path / "forecast.nc") as written_file:
        assert (written_file.rain == 50).all()
        assert written_file.rain.attrs["units"] == "mm h-1"
        assert written_file.rain.attrs["standard_name"] == "lwe_precipitation_rate"


def test_reflectivity_is_that_of_millimetres_an_hour(tmp_path, capsys):
    """A record in mm in five minutes is trained on, resumed and measured in mm/h."""
    path = written(tmp_path / "r.nc", dataset_of(units="mm", scale=1 / 12, freq="5min"))
    config = config_of(path, transform="dbz")
    assert "'mm' in 300 s, its step, is converted to 'mm h-1'" in capsys.readouterr().out
    assert config.data.units == "mm h-1"
    train, _ = training_sources(config)
    for source in (train, evaluation_source(config), training_split(config)):
        window = source[[0]][0, :, 0, 0, 0]
        np.testing.assert_allclose(window, window[0] + np.arange(5), atol=1e-4)
    decibels = 10 * np.log10(200 * np.array([59.0, 100.0]) ** 1.6)
    last = end(config, path)
    scaled = last.normalizer.normalize(last[[0]])[0, -1, 0, 0, 0]
    assert scaled == pytest.approx(decibels[0] / decibels[1], rel=1e-4)


def test_a_scale_taken_over_is_in_the_units_of_its_run(tmp_path, rain):
    """A new run from the weights of another takes its value range over, so its units too."""
    path = written(tmp_path / "new.nc", dataset_of(units="mm s-1", scale=1 / 3600))
    flags = {"preset": None, "recipe": None, "dataset": str(path), "batch_size": 1}
    config, file = new_config(flags, "CPU", saved=rain)
    assert (config.data.value_range, config.data.units) == (RANGE, "mm h-1")
    np.testing.assert_allclose(file.record.read(7, 8)[0, 0, 0, 0], 7, rtol=1e-6)
    config, file = new_config(flags | {"value_range": (0.0, 0.03)}, "CPU", saved=rain)
    assert config.data.units == "mm s-1"


def test_files_in_several_units(tmp_path, capsys):
    """All are read in the first one's; of 1 mm in an hour and 1 mm/h the numbers are the same."""
    for k, (units, scale) in enumerate(
        (("mm h-1", 1), ("m s-1", 1 / 3.6e6), ("mm", 1), ("MM/H", 1))
    ):
        hours = range(15 * k, 15 * k + 15)
        written(tmp_path / f"{k}.nc", dataset_of(hours, units=units, scale=scale))
    record = Record(tmp_path, ReadOptions())
    np.testing.assert_allclose(record.read(0, 60)[:, 0, 0, 0], np.arange(60), rtol=1e-6)
    assert record.grid.units == "mm h-1"
    said = capsys.readouterr().out
    assert "in 2 of 4 files, of which 1.nc is the first, 'm s-1' is converted to 'mm h-1'" in said
    written(tmp_path / "4.nc", dataset_of(range(60, 75), units=None))
    with pytest.raises(InputError, match="4.nc: differs from 0.nc: units None, not mm h-1"):
        Record(tmp_path, ReadOptions())


def of_interval(methods):
    return dataset_of(name="t", units="K", standard_name="air_temperature", cell_methods=methods)


WIND = {"name": "u10", "units": "m s-1"}


def at_level(dataset, name, value, units=None):
    return dataset.assign_coords({name: ((), value, {"units": units} if units else {})})


TEMPERATURE = dataset_of(name="t", units="K", standard_name="air_temperature")
# Pairs of what is and is not the same, and what is said of the second.
OTHERS = [
    (dataset_of(**WIND), dataset_of(name="v10", units="m s-1"), "the variable v10, not .* u10"),
    (
        dataset_of(name="x", standard_name="eastward_wind"),
        dataset_of(name="x", standard_name="northward_wind"),
        "the variable x .northward_wind., not the variable x .eastward_wind.",
    ),
    (
        at_level(TEMPERATURE, "pressure", 500.0, "hPa"),
        at_level(TEMPERATURE, "pressure", 850.0, "hPa"),
        "pressure 850 hPa, not pressure 500 hPa",
    ),
    (
        at_level(TEMPERATURE, "height", 2.0, "m"),
        at_level(TEMPERATURE, "level", 850.0, "hPa"),
        "level 850 hPa, not height 2 m",
    ),
    (at_level(TEMPERATURE, "level", 3), at_level(TEMPERATURE, "level", 4), "level 4, not level 3"),
    (
        of_interval("time: maximum within days"),
        of_interval("area: mean time: minimum (interval: 1 h)"),
        "the minimum over each interval of time, not the maximum",
    ),
    (
        of_interval("time: lat: lon: mean"),
        of_interval("time: maximum"),
        "the maximum over each interval of time, not the mean",
    ),
    (
        TEMPERATURE.expand_dims(depth=[0.5], axis=1),
        TEMPERATURE.expand_dims(depth=[10.0], axis=1),
        "depth 10, not depth 0.5",
    ),
    (
        # A variable without dimensions that nobody names as a coordinate.
        TEMPERATURE.assign(level=((), 500.0, {"units": "hPa"})),
        TEMPERATURE.assign(level=((), 850.0, {"units": "hPa"})),
        "level 850 hPa, not level 500 hPa",
    ),
    (
        TEMPERATURE.assign_coords(plev=("time", np.full(60, 500.0), {"units": "hPa"})),
        TEMPERATURE.assign_coords(plev=("time", np.full(60, 850.0), {"units": "hPa"})),
        "plev 850 hPa, not plev 500 hPa",
    ),
]  # fmt: skip
SAME = [
    (
        dataset_of(name="pr", standard_name="precipitation_flux"),
        dataset_of(name="rr", standard_name="lwe_precipitation_rate"),
    ),
    (dataset_of(**WIND), dataset_of(**WIND, standard_name="eastward_wind")),
    (
        at_level(TEMPERATURE, "pressure", 500.0, "hPa"),
        at_level(TEMPERATURE, "plev", 50000.0, "Pa"),
    ),
    (at_level(TEMPERATURE, "height", 2.0, "m"), TEMPERATURE),
    (of_interval("time: maximum"), TEMPERATURE),
    (of_interval("time: mean"), of_interval("time: point")),
    (of_interval("area: mean"), of_interval("time: maximum")),
    (at_level(TEMPERATURE, "step", 3, "hours"), at_level(TEMPERATURE, "step", 6, "hours")),
    (at_level(TEMPERATURE, "orbit", 17), at_level(TEMPERATURE, "orbit", 18)),
    (TEMPERATURE.assign(altitude=((), 500.0)), TEMPERATURE.assign(altitude=((), 850.0))),
    (
        TEMPERATURE.assign_coords(height=("time", np.arange(60.0), {"units": "m"})),
        TEMPERATURE.assign_coords(height=("time", np.arange(60.0) + 9, {"units": "m"})),
    ),
]


@pytest.mark.parametrize(("first", "other", "message"), OTHERS)
def test_two_things_are_not_one(tmp_path, first, other, message):
    """Neither in one record, nor one by the other's network."""
    config = config_of(written(tmp_path / "1.nc", first))
    path = written(
        tmp_path / "2.nc", other.assign_coords(time=other.time + np.timedelta64(60, "h"))
    )
    with pytest.raises(InputError, match=f"2.nc: differs from 1.nc: {message}"):
        Record(tmp_path, ReadOptions())
    for read in (whole, end):
        with pytest.raises(InputError, match=f"2.nc: holds {message}, on which the network was"):
            read(config, path)


@pytest.mark.parametrize(("first", "other"), SAME)
def test_one_thing_by_two_names(tmp_path, first, other):
    config = config_of(written(tmp_path / "1.nc", first))
    path = written(
        tmp_path / "2.nc", other.assign_coords(time=other.time + np.timedelta64(60, "h"))
    )
    assert len(Record(tmp_path, ReadOptions())) == 120
    assert len(whole(config, path)) == 56
    assert len(end(config, path)) == 1


def moved(dataset, **change):
    """A dataset with other coordinates, from hour 60 on."""
    dataset = dataset.assign_coords(time=dataset.time + np.timedelta64(60, "h"))
    return dataset.assign_coords({k: (v.dims, f(v.values), v.attrs) for k, f in change.items()
        for v in [dataset[k]]})  # fmt: skip


def test_coordinates_agree_by_tolerance(tmp_path):
    """Steps of 0.01 degrees in 32 bits are off by 0.0008 of one; by a tenth of one they are not."""
    fine = dataset_of().assign_coords(lat=45 + 0.01 * np.arange(8), lon=170 + 0.01 * np.arange(12))
    written(tmp_path / "1.nc", fine)
    for change in (np.float32, lambda x: x + 0.0004):
        written(tmp_path / "2.nc", moved(fine, lat=change, lon=change))
        assert len(Record(tmp_path, ReadOptions())) == 120
    for change in (lambda x: x + 0.001, lambda x: x[::-1], lambda x: x * 1.001):
        written(tmp_path / "2.nc", moved(fine, lon=change))
        with pytest.raises(InputError, match="2.nc: differs from 1.nc: other values of lon"):
            Record(tmp_path, ReadOptions())


def in_files(folder, change):
    """Writes the second half of a record to a file of the first half's layout, with a change."""
    halves = dataset_of(range(30)), dataset_of(range(30, 60))
    for number, half in enumerate(halves):
        written(folder / f"{number}.nc", change(half, number))
    return folder


def test_latitudes_that_each_frame_has(tmp_path):
    """WRF repeats XLAT and XLONG in each frame; another file may be of another place."""

    def mesh(half, number, shift=0.0):
        lat, lon = np.meshgrid(np.arange(8.0) + shift * number, np.arange(12.0), indexing="ij")
        dims = ("Time", "south_north", "west_east")
        places = {
            name: (dims, np.stack([values] * 30), {"units": units})
            for name, values, units in (
                ("XLAT", lat, "degrees_north"),
                ("XLONG", lon, "degrees_east"),
            )
        }
        names = {"time": "Time", "lat": "south_north", "lon": "west_east"}
        return half.drop_vars(["lat", "lon"]).rename(names).assign_coords(places)

    assert len(Record(in_files(tmp_path, mesh), ReadOptions())) == 60
    in_files(tmp_path, lambda half, number: mesh(half, number, 3.0))
    with pytest.raises(InputError, match="1.nc: differs from 0.nc: other values of XLAT"):
        Record(tmp_path, ReadOptions())


def test_projections_that_differ_in_a_number(tmp_path):
    def projected(half, number, shift=1.0):
        mapping = {"grid_mapping_name": "mercator", "longitude_of_projection_origin": 10.0}
        mapping["longitude_of_projection_origin"] += shift * number
        mapping["comment"] = f"file {number}"
        half.rain.attrs["grid_mapping"] = "crs"
        return half.assign(crs=((), 0, mapping))

    with pytest.raises(InputError, match="1.nc: .* crs with longitude_of_pro.* 11.0, not 10.0"):
        Record(in_files(tmp_path, projected), ReadOptions())
    in_files(tmp_path, lambda half, number: projected(half, number, 1e-9))
    assert len(Record(tmp_path, ReadOptions())) == 60


@pytest.mark.parametrize(("hours", "kept"), [(6, []), (0, ["analysis"])])
def test_a_second_time_that_files_do_not_share(tmp_path, hours, kept):
    """The time of an analysis goes on into the forecast only if all files have the same."""

    def analysed(half, number):
        units = {"units": "hours since 2001-02-03"}
        return half.assign_coords(analysis=((), hours * number, units))

    record = Record(in_files(tmp_path, analysed), ReadOptions())
    assert list(record.grid.scalars) == kept


def test_longitudes_from_0_and_from_180(tmp_path):
    west = dataset_of().assign_coords(lon=("lon", np.arange(12.0) - 90, {"units": "degrees_east"}))
    written(tmp_path / "1.nc", west)
    written(tmp_path / "2.nc", moved(west, lon=lambda x: x + 360))
    assert len(Record(tmp_path, ReadOptions())) == 120


def test_coordinates_by_other_names_and_units(tmp_path):
    """x in km and east in m are one, and latitudes of two dimensions too."""
    mesh = (("lat", "lon"), np.add.outer(np.arange(8.0), np.arange(12.0)))
    plane = dataset_of().assign_coords(h=mesh).rename(lon="x")
    plane["x"].attrs["units"] = "km"
    written(tmp_path / "1.nc", plane)
    metres = moved(plane, x=lambda x: x * 1000, h=np.float32).rename(x="east")
    metres["east"].attrs["units"] = "m"
    written(tmp_path / "2.nc", metres)
    assert len(Record(tmp_path, ReadOptions())) == 120
    written(tmp_path / "2.nc", moved(plane, h=lambda h: h + 1))
    with pytest.raises(InputError, match="other values of h"):
        Record(tmp_path, ReadOptions())


def test_another_spacing_is_warned_of(tmp_path, capsys):
    """Another place is not another grid; four times the spacing is, and so is a turned one."""
    plane = dataset_of().rename(lat="y", lon="x")
    plane = plane.assign_coords(y=1000 * plane.y, x=1000 * plane.x)
    for name in "xy":
        plane[name].attrs["units"] = "m"
    config = config_of(written(tmp_path / "1.nc", plane))
    assert config.data.spacing == ("rows 1000 m", "columns 1000 m")
    elsewhere = plane.assign_coords(x=plane.x / 1000 + 50, y=plane.y + 9e5)
    elsewhere["x"].attrs["units"] = "km"
    end(config, written(tmp_path / "2.nc", elsewhere.isel(x=slice(8))))
    assert "spacing" not in capsys.readouterr().err
    for change, message in (
        (4, "rows 4000 m, not rows 1000 m"),
        (-1, "rows -1000 m, not rows 1000"),
    ):
        end(config, written(tmp_path / "3.nc", plane.assign_coords(y=("y", change * plane.y.values,
            {"units": "m"}))))  # fmt: skip
        assert f"another grid than the network was trained on: {message}" in capsys.readouterr().err


def test_the_spacing_of_a_curved_grid(tmp_path):
    """A hundredth of a degree is 1.112 km, eastward at 60 degrees north half of it."""
    north, east = np.meshgrid(60 + 0.01 * np.arange(8), 0.01 * np.arange(12), indexing="ij")
    data = dataset_of().rename(lat="y", lon="x").drop_vars(["y", "x"])
    data = data.assign_coords(lat=(("y", "x"), north), lon=(("y", "x"), east))
    spacing = config_of(written(tmp_path / "1.nc", data)).data.spacing
    assert [float(text.split()[1]) for text in spacing] == pytest.approx([1.112, 0.556], rel=1e-2)


def test_a_grown_archive_without_its_training_part(tmp_path, capsys):
    """60 frames were trained on, the test split of which begins at frame 54; 20 have come since."""
    config = config_of(written(tmp_path / "r.nc", dataset_of()), held_out=0.1)
    first = evaluation_source(config)[[0]][0, 0, 0, 0, 0]
    assert (config.data.dataset_size, first) == (60, 54)
    source = whole(config, written(tmp_path / "grown.nc", dataset_of(range(80))))
    assert source[range(len(source))][:, 0, 0, 0, 0].tolist() == list(range(54, 76))
    said = capsys.readouterr().out
    assert "grown.nc: its first 60 are the dataset that the network was trained on" in said
    other = dataset_of(range(80), scale=2.0)
    assert len(whole(config, written(tmp_path / "other.nc", other))) == 76


@pytest.mark.parametrize(
    ("removed", "added", "measured", "is_told"),
    [
        # The oldest day goes and a new one comes.
        ("0.nc", "3.nc", "", True),
        # A day of the training, and that with a later one.
        (None, None, "1.nc", True),
        (None, "3.nc", "[13].nc", True),
        # A day before those.
        (None, "00.nc", "", True),
        # What came since, measured from elsewhere.
        (None, "../later/3.nc", "../later", False),
    ],
)
def test_what_was_trained_on_is_not_measured_in_silence(
    tmp_path, capsys, removed, added, measured, is_told
):
    """Three days of hours were trained on, one file each; the network's path is not the only way
    to name them.
    """
    (tmp_path / "days").mkdir()
    (tmp_path / "later").mkdir()
    hours = dataset_of(range(120)).assign_coords(
        time=pd.date_range("2001-02-03", periods=120, freq="h")
    )
    days = {"00.nc": 0, "0.nc": 1, "1.nc": 2, "2.nc": 3, "3.nc": 4}

    def write(name):
        day = days[Path(name).name]
        written(tmp_path / "days" / name, hours.isel(time=slice(24 * day, 24 * day + 24)))

    for name in ("0.nc", "1.nc", "2.nc"):
        write(name)
    config = config_of(tmp_path / "days")
    if removed:
        (tmp_path / "days" / removed).unlink()
    if added:
        write(added)
    (tmp_path / "link").symlink_to(tmp_path / "days")
    capsys.readouterr()
    assert "all" in whole(config, tmp_path / "link" / measured).name
    said = capsys.readouterr().out
    assert ("frames that it was trained on may be among those that are measured" in said) == is_told


def test_a_grown_file_of_sequences(tmp_path, capsys):
    """Of 20 sequences 16 were trained on and 2 validated; 5 have come since."""
    rng = np.random.default_rng(0)
    array = rng.random((25, 5, 8, 12), np.float32)
    np.save(tmp_path / "old.npy", array[:20])
    np.save(tmp_path / "grown.npy", array)
    config = config_of(tmp_path / "old.npy", value_range=(0.0, 1.0))
    test = evaluation_source(config)
    source = whole(config, tmp_path / "grown.npy")
    assert source.indices.tolist() == [*test.indices, 20, 21, 22, 23, 24]
    assert len(test) == 2
    assert "its first 20 are the dataset" in capsys.readouterr().out


def test_a_gap_in_the_old_part_of_a_grown_archive(tmp_path):
    """The fingerprint counts the gaps of the part that was trained on, not later ones."""
    hours = [*range(20), *range(25, 65)]
    config = config_of(written(tmp_path / "r.nc", dataset_of(hours)))
    hours += [*range(70, 80)]
    assert (
        "test split and later" in whole(config, written(tmp_path / "g.nc", dataset_of(hours))).name
    )
