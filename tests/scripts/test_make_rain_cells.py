"""The files of make_rain_cells.py hold what RainCells makes; a network learns from them."""

import json
import os
import threading

import numpy as np
import pytest
import xarray

from src.data.splits import Split
from src.radar import rain_cells
from src.radar.rain_cells import RainCells
from tests.scripts.conftest import run, run_here

SIZE = (20, 24)


@pytest.fixture(scope="module")
def rain():
    return RainCells(7, SIZE)


def test_sequences_and_record(tmp_path, rain):
    """A sequence is the beginning of its record."""
    rain_cells.write_sequences(tmp_path / "sequences.npy", rain, 3, 5)
    rain_cells.write_record(tmp_path / "record.npy", rain, 130)
    sequences, record = (np.load(tmp_path / f"{name}.npy") for name in ("sequences", "record"))
    assert (sequences.shape, record.shape) == ((3, 5, *SIZE), (130, *SIZE))
    assert sequences.dtype == record.dtype == np.float32
    np.testing.assert_array_equal(sequences[2], rain.frames(2, 0, 5))
    np.testing.assert_array_equal(record[:5], sequences[0])
    np.testing.assert_array_equal(record[95:105], rain.frames(0, 95, 105))


def test_into_a_pipe_and_through_a_link(tmp_path):
    """The pipe and the link stay what they are."""
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "target.npy").write_text("old")
    (tmp_path / "link.npy").symlink_to("target.npy")
    command = ["scripts/make_rain_cells.py", "--overwrite", "--sequences", 1, "--frames", 2]
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe.npy").read_bytes()))
    reader.start()
    for name in ("pipe.npy", "link.npy"):
        run_here(*command, "--image_size", *SIZE, tmp_path / name)
    reader.join(30)
    assert (tmp_path / "pipe.npy").is_fifo()
    assert (tmp_path / "link.npy").is_symlink()
    assert read == [(tmp_path / "target.npy").read_bytes()]
    assert np.load(tmp_path / "target.npy").shape == (1, 2, *SIZE)


def test_netcdf_by_the_script(tmp_path, rain):
    """xarray reads times 6 minutes apart, units and values; the file is not written over."""
    path = tmp_path / "a record.nc"
    command = ["scripts/make_rain_cells.py", path, "--record", 12, "--image_size", *SIZE]
    result = run(*command, "--seed", 7)
    assert f"{path}: {path.stat().st_size:,} bytes" in result.stdout
    with xarray.open_dataset(path) as dataset:
        variable = dataset["rain_rate"]
        assert variable.dims == ("time", "y", "x")
        assert variable.units == "mm h-1"
        np.testing.assert_array_equal(variable.values, rain.frames(0, 0, 12))
        start, minutes = np.datetime64("2000-01-01"), np.timedelta64(6, "m")
        np.testing.assert_array_equal(dataset.time.values, start + minutes * np.arange(12))
        np.testing.assert_array_equal(np.diff(dataset.y.values), -2)
    before = path.read_bytes()
    line = run_here(*command, expect=2).stderr
    assert line == f"make_rain_cells.py: {path}: exists already: use --overwrite or another name\n"
    assert path.read_bytes() == before


def test_the_example_in_short(tmp_path, rain, one_stage):
    """Make, train with weights, score: persistence has the CSI of the rain itself."""
    file, folder = tmp_path / "rain.npy", tmp_path / "run"
    size = ["--sequences", 10, "--frames", 6, "--image_size", *SIZE]
    run_here("scripts/make_rain_cells.py", file, *size, "--seed", 7)
    recipe = ["--loss", "mse+mae", "--loss_weights", "2:2", "5:5", "10:10", "30:30"]
    frames = ["--input_frames", 3, "--forecast_frames", 3, "--value_range", 0, 60]
    short = [
        "--pretrained_model",
        one_stage,
        "--batch_size",
        8,
        "--epoch_size",
        8,
        "--epochs",
        1,
        "--curriculum",
    ]
    run("train.py", "--dataset", file, *frames, *recipe, *short, "--train_path", folder)
    scores = ["--thresholds", 1, 5, "--json", tmp_path / "rain.json"]
    run_here("test.py", "--pretrained_model", folder / "best.ckpt", *scores)
    result = json.loads((tmp_path / "rain.json").read_text())["scores"]
    assert set(result["forecasts"]) == {"model", "persistence", "climatology"}
    test = np.stack([rain.frames(n, 0, 6) for n in Split(0.1, 0).indices(10, "test")])
    told, came = test[:, [2] * 3] >= 1, test[:, 3:] >= 1
    csi = (told & came).sum((0, 2, 3)) / (told | came).sum((0, 2, 3))
    np.testing.assert_allclose(result["forecasts"]["persistence"]["at"]["1"]["csi"], csi)

    yardstick = ["--extrapolation", "--no-climatology", "--plot", tmp_path / "rain.png"]
    output = run_here("test.py", "--pretrained_model", folder / "best.ckpt", *scores, *yardstick)
    assert "extrapolation: optical flow of the input frames moves the last one" in output.stdout
    result = json.loads((tmp_path / "rain.json").read_text())["scores"]
    assert set(result["forecasts"]) == {"model", "persistence", "extrapolation"}
    assert 0 < result["extrapolation"]["without_value"] < 0.5
    assert (tmp_path / "rain.png").stat().st_size > 10000
