"""Long records: the split by time, gaps and duplicates, which files they are, and memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from src.config.presets import make_config
from src.data.sources import evaluation_source, mean_image_source, training_sources
from src.data.splits import split_by_time
from src.errors import InputError
from src.formats.cf.times import time_order
from src.tools.new_run import resolve_dataset

ROOT = Path(__file__).resolve().parents[2]
FRAMES = {"input_frames": 3, "forecast_frames": 2}
HOURS = pd.date_range("2001-02-03", periods=60, freq="h")


def config_of(path, **options):
    options = {"dataset": str(path), "value_range": (0.0, 100.0), **FRAMES} | options
    return make_config("small", resolve_dataset({"batch_size": 1} | options)[0])


def numbered(count=60):
    """Frame t of a record is full of the number t: (T, 8, 12), float32."""
    return np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 8, 12))


def dataset_of(hours, units="mm"):
    """A Dataset whose frame at hour h is full of the number h."""
    values = numbered()[hours]
    coordinates = {"time": HOURS[hours], "lat": np.arange(8.0), "lon": np.arange(12.0)}
    return xr.Dataset({"rain": (("time", "lat", "lon"), values, {"units": units})}, coordinates)


def windows_of(source):
    """The numbers of the frames of each window."""
    return source[range(len(source))][:, :, 0, 0, 0].astype(int)


def test_the_split_by_hand():
    """Of 100 frames in windows of 10: the last 10, 10 a window before them, the rest but one."""
    parts = split_by_time(100, 10, 0.1)
    assert parts == {"train": range(60), "validation": range(70, 80), "test": range(90, 100)}
    assert split_by_time(100, 10, 0.3)["train"] == range(20)
    assert split_by_time(50, 10, 0.45)["train"] == range(10)
    with pytest.raises(ValueError, match="49 frames are fewer than five windows of 10"):
        split_by_time(49, 10, 0.1)


@pytest.mark.parametrize(("stride", "held_out"), [(1, 0.1), (1, 0.3), (2, 0.2), (7, 0.3)])
def test_no_frame_is_in_two_parts(tmp_path, stride, held_out):
    """All frames of all windows of the three sources; between two parts more than a window."""
    np.save(tmp_path / "r.npy", numbered())
    config = config_of(tmp_path / "r.npy", window_stride=stride, held_out=held_out)
    sources = [*training_sources(config), evaluation_source(config)]
    seen = [windows_of(source) for source in sources]
    for windows in seen:
        np.testing.assert_array_equal(windows, windows[:, :1] + np.arange(5))
    train, validation, test = seen
    assert validation.min() - train.max() > 5
    assert test.min() - validation.max() > 5
    starts = [np.unique(windows[:, 0]) for windows in seen]
    assert all((np.diff(s) == stride).all() for s in starts)
    assert config.data.epoch_size == len(starts[0])
    mean = mean_image_source(config)
    assert windows_of(mean).max() == train.max()


def test_order_and_duplicates_by_hand():
    """Times 0 1 2 | 5 6 (twice) | 7 8; what is long in months is no 31 days after 30."""
    times = np.array([5, 6, 7, 8, 0, 1, 2, 6])
    kept, has_duplicate, long_steps = time_order(times)
    assert times[kept].tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert has_duplicate.tolist() == [False] * 4 + [True] + [False] * 2
    assert long_steps == 1
    months = pd.date_range("2001-01-15", periods=36, freq="MS").values.astype("M8[s]").astype(int)
    assert time_order(months)[2] == 0
    assert time_order(np.delete(months, 7))[2] == 1


def test_files_in_time_order_and_no_window_across_a_gap(tmp_path):
    """The file named last is the first in time; hours 20 to 24 are in two files, 35 in none."""
    hours = {"b_10.nc": range(0, 25), "b_9.nc": range(20, 35), "a.nc": range(36, 60)}
    for name, those in hours.items():
        dataset_of(list(those)).to_netcdf(tmp_path / name)
    config = config_of(tmp_path, held_out=0.2)
    train, validation = training_sources(config)
    test = evaluation_source(config)
    assert "1 gap and 5 duplicates in time, which no window contains" in train.name
    assert "2001-02-03T00:00 to" in train.name
    train, validation, test = (windows_of(source) for source in (train, validation, test))
    for windows in (train, validation, test):
        np.testing.assert_array_equal(windows, windows[:, :1] + np.arange(5))
    # 25 frames to train on: from the first hour that comes twice no run goes on.
    assert set(train[:, 0]) == set(range(17))
    everything = evaluation_source(make_config("small", FRAMES), None, (2,), None, str(tmp_path),
        (0.0, 59.0))  # fmt: skip
    starts = windows_of(everything)[:, 0]
    assert set(starts) == {*range(17), *range(25, 31), *range(36, 56)}


def test_which_file_is_what(tmp_path):
    """(T, H, W) is a record; (N, T, H, W) sequences, but with window_stride (T, C, H, W)."""
    frames = numbered()
    np.save(tmp_path / "three.npy", frames)
    np.savez(tmp_path / "three.npz", frames)
    np.save(tmp_path / "four.npy", np.stack([frames, -frames], 1))
    np.save(tmp_path / "five.npy", frames.reshape(6, 10, 1, 8, 12))
    assert config_of(tmp_path / "three.npy").data.window_stride == 1
    assert config_of(tmp_path / "three.npz").data.epoch_size == 60 - 2 * 6 - 2 * 5 - 4
    two = config_of(tmp_path / "four.npy", window_stride=1, value_range=(-60.0, 60.0))
    assert two.model.channels == 2
    assert training_sources(two)[0][[0]].shape == (1, 5, 2, 8, 12)
    with pytest.raises(InputError, match="has 2 frames a sequence"):
        config_of(tmp_path / "four.npy")
    assert config_of(tmp_path / "five.npy").data.window_stride is None
    with pytest.raises(InputError, match="whole sequences, which have no window_stride"):
        config_of(tmp_path / "five.npy", window_stride=2)
    with pytest.raises(InputError, match="value_range auto is for one long record"):
        config_of(tmp_path / "five.npy", value_range=("auto",))
    (tmp_path / "many").mkdir()
    for k in (2, 10, 1):
        np.save(tmp_path / "many" / f"{k}.npy", frames[:20] + 20 * {1: 0, 2: 1, 10: 2}[k])
    train, _ = training_sources(config_of(tmp_path / "many"))
    np.testing.assert_array_equal(np.unique(windows_of(train)), np.arange(38))
    pattern = config_of(tmp_path / "many" / "*.npy")
    assert pattern.data.dataset_crc == config_of(tmp_path / "three.npy").data.dataset_crc


def test_the_scale_is_that_of_the_training_part(tmp_path, capsys):
    """60 frames: 0 to 37 are trained on; what is beyond is clipped for the network alone."""
    np.save(tmp_path / "r.npy", numbered())
    config = config_of(tmp_path / "r.npy", value_range=("auto",))
    assert config.data.value_range == (0.0, 37.0)
    assert "value range: 0 to 37, the extremes of the training split" in capsys.readouterr().out
    training_sources(config)
    test = evaluation_source(config)
    assert not capsys.readouterr().err
    frames = test[[0]]
    assert test.normalizer.normalize(frames).max() == 1
    assert test.normalizer.normalize(frames, clip=False).max() == pytest.approx(58 / 37)
    training_sources(config_of(tmp_path / "r.npy", value_range=(0.0, 30.0)))
    warning = capsys.readouterr().err
    assert "value_range 0 30 clips 18.4% of the training split, whose values reach" in warning


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: d, {"variable": "snow"}, "has no variable 'snow'; there are: rain"),
        (lambda d: d.rename(time="a", lat="b", lon="c").drop_vars("a"), {},
         "rain has no time axis; its dimensions are a, b, c"),
        (lambda d: d.isel(time=slice(24)), {}, "holds 24 frames; .* 5 frames .* need 25"),
        (lambda d: d, {"value_range": (0.0,)}, "value_range is 0.0: it must be two numbers, or"),
        (lambda d: d.assign(rain=d.rain.assign_attrs(units="dBZ")), {"transform": "dbz"},
         "has the units 'dBZ', and transform dbz needs .* mm/h"),
        (lambda d: d.assign(rain=d.rain.drop_attrs()), {"transform": "dbz"}, "has no units, and"),
        (lambda d: d, {"value_range": ("auto",), "transform": "log"},
         "value_range is 0 37: transform log needs a first value above 0"),
        (lambda d: d.assign(snow=d.rain), {}, "has several variables, rain, snow, with"),
        (lambda d: d.isel(time=np.delete(np.arange(60), range(4, 60, 5))), {},
         "its train split, .* has no 5 frames in a row .*: the record has 11 gaps and 0 dup"),
        (lambda d: d, {"longitude": "east"}, "rain has no longitude 'east'; there are: time, lat"),
    ],
)  # fmt: skip
def test_records_that_do_not_do(tmp_path, change, options, message):
    change(dataset_of(range(60))).to_netcdf(tmp_path / "r.nc")
    with pytest.raises(InputError, match=message):
        config_of(tmp_path / "r.nc", **options)


def test_missing_values(tmp_path, capsys):
    """Refused with place and count, or masked; a frame without any value is refused always."""
    whole = dataset_of(range(60)).rename(lat="y", lon="x")
    land = whole.where((whole.y > 1) | (whole.x > 2))
    land.to_netcdf(tmp_path / "land.nc")
    message = r"228 values are missing, the first in frame 0 \(2001-02-03T00:00\), channel 0, row 0"
    with pytest.raises(InputError, match=message):
        training_sources(config_of(tmp_path / "land.nc"))
    config = config_of(tmp_path / "land.nc", missing="mask")
    assert config.data.fill == pytest.approx(np.arange(38).mean())
    assert "missing: 6.2% of the training split" in capsys.readouterr().out
    train, _ = training_sources(config)
    assert np.isnan(train[[0]]).sum() == 5 * 6
    assert np.isfinite(train.normalizer.normalize(train[[0]])).all()
    whole.where(whole.time != whole.time[47]).to_netcdf(tmp_path / "lost.nc")
    with pytest.raises(InputError, match=r"1 frames hold no value .* frame 47 \(2001-02-04T23:00"):
        training_sources(config_of(tmp_path / "lost.nc", missing="mask"))


def test_files_of_different_grids(tmp_path):
    dataset_of(range(30)).to_netcdf(tmp_path / "1.nc")
    second = dataset_of(range(30, 60))
    for change, message in (
        (second.isel(lon=slice(8)), r"2.nc: .* frames .* of \(1, 8, 8\), not \(1, 8, 12\)"),
        (second.assign_coords(lat=second.lat + 1), "2.nc: differs .*: other values of lat; all"),
        (dataset_of(range(30, 60), "K"), "2.nc: differs from 1.nc: units K, not mm"),
    ):
        change.to_netcdf(tmp_path / "2.nc")
        with pytest.raises(InputError, match=message):
            config_of(tmp_path)
    np.save(tmp_path / "3.npy", numbered())
    with pytest.raises(InputError, match="several kinds, NetCDF and NumPy: keep one"):
        config_of(tmp_path)


# A process of its own, because a peak never falls, and without MindSpore, which has one itself.
PEAKS = """
import resource, sys
import numpy as np
from src.config.presets import make_config
from src.data import own_data
from src.data.record import Record
from src.formats.options import ReadOptions

for path in sys.argv[1:]:
    options = {"dataset": path, "value_range": (0.0, 255.0), "window_stride": 1}
    options |= {"image_size": (512, 512), "dataset_crc": Record(path, ReadOptions()).fingerprint()}
    config = make_config("small", options)
    train, _ = own_data.training_sources(config)
    last = own_data.evaluation_source(config)[[0]]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(train.indices),
          train[[3]].max(), last.max())
"""


def sparse(path, frames):
    """A .npy file of that many frames of 512x512 pixels, of which two are not 0."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (frames, 512, 512))
    array[4, 1, 2], array[-1, 3, 4] = 7, 9
    return path


def test_peak_memory_does_not_grow_with_the_record(tmp_path):
    """4.3 GB in place of 0.03: every frame is checked, and windows are read, in pieces."""
    files = [sparse(tmp_path / "short.npy", 128), sparse(tmp_path / "long.npy", 16_384)]
    assert files[1].stat().st_size > 4e9
    result = subprocess.run(
        [sys.executable, "-c", PEAKS, *map(str, files)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    short, long = (tuple(map(int, line.split())) for line in result.stdout.splitlines())
    assert long[0] - short[0] < 50 * 1024, f"{short[0]} KiB, then {long[0]} KiB"
    held = round(0.1 * 16_384)
    assert long[1] == 16_384 - 2 * held - 2 * 20 - 19
