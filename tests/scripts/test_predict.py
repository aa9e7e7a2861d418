"""Forecasts of files, by the script and by what it calls: right numbers in the input's units."""

import json
import re
import shutil

import mindspore as ms
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from src import checkpoint
from src.config.presets import make_config
from src.data.sources import training_sources
from src.data.splits import Split
from src.errors import InputError
from src.export import exporter
from src.forecast import prediction, predictor
from src.tools import start
from src.tools.new_run import resolve_dataset
from tests.scripts.conftest import run, run_here
from tests.scripts.test_bad_input import refuse
from tests.scripts.test_end_to_end import network_of

# Of the tiny network: frames that it reads, frames that it forecasts.
READS, FORECASTS = 3, 3


@pytest.fixture(scope="module")
def pixels(workroot):
    """The test set's 5 sequences, (5, 20, 32, 32), uint8."""
    return np.load(workroot / "mnist_test_seq.npy").swapaxes(0, 1)


@pytest.fixture(scope="module")
def mindir(trained, tmp_path_factory):
    """The tiny network exported for 2 sequences at a time."""
    path = tmp_path_factory.mktemp("exported") / "tiny.mindir"
    options = ["--batch_size", 2, "--file_name", path]
    run_here("export.py", "--pretrained_model", trained / "best.ckpt", *options)
    return path


@pytest.fixture(scope="module")
def expected(trained, pixels):
    """A function from inputs, (N, T, H, W), uint8, to the forecast of the network alone."""
    network = network_of(trained / "best.ckpt")

    def forecast(frames):
        scaled = frames[:, :, None].astype(np.float32) / np.float32(255)
        return network(ms.Tensor(scaled)).asnumpy() * 255

    return forecast


@pytest.fixture(scope="module")
def by_checkpoint(trained):
    return predictor.from_checkpoint(trained / "best.ckpt")


@pytest.fixture(scope="module")
def by_mindir(mindir):
    return predictor.from_mindir(mindir)


def save_npy(folder, pixels):
    np.save(folder / "x.npy", pixels)
    return folder / "x.npy", pixels


def save_npz(folder, pixels):
    np.savez(folder / "x.npz", pixels[:, :, None])
    return folder / "x.npz", pixels


def save_gif(folder, pixels):
    first, *others = map(Image.fromarray, pixels[0])
    first.save(folder / "x.gif", save_all=True, append_images=others)
    return folder / "x.gif", pixels[:1]


def save_png(folder, pixels):
    for k, frame in enumerate(pixels[0]):
        Image.fromarray(frame).save(folder / f"{k}.png")
    return folder, pixels[:1]


@pytest.mark.parametrize("save", [save_npy, save_npz, save_gif, save_png])
def test_every_kind_of_input(tmp_path, pixels, expected, by_checkpoint, by_mindir, save):
    """The last frames are read, from checkpoint and MINDIR alike; 5 sequences in batches of 2."""
    path, frames = save(tmp_path, pixels)
    for number, network in enumerate((by_checkpoint, by_mindir)):
        source = prediction.sequences_of_input(network, path)
        folder = prediction.open_output(tmp_path / f"out {number}", overwrite=False)
        forecaster = prediction.predict(network, source, folder, batch_size=2, count=0)
        forecast = np.load(folder / "forecast.npy")
        assert forecast.dtype == np.float32
        assert forecast.shape == (len(frames), FORECASTS, 1, 32, 32)
        np.testing.assert_allclose(forecast, expected(frames[:, -READS:]), atol=2e-3)
        assert [file.name for file in folder.glob("[!.]*")] == ["forecast.npy"]
        timing = forecaster.timing()
        assert timing["sequences_per_second"] * timing["seconds_per_sequence"] == pytest.approx(1)
        assert timing["compile_seconds"] > 0


def test_by_the_script(tmp_path, trained, pixels, expected):
    """Further than trained, with truth and pictures, in units of the data's own."""
    np.save(tmp_path / "in.npy", (pixels / 255 * 40 - 20).astype(np.float32))
    command = [
        "predict.py", "--pretrained_model", trained / "best.ckpt", "--input", tmp_path / "in.npy",
        "--output", tmp_path / "out", "--value_range", -20, 20, "--batch_size", 4, "--truth",
        "--forecast_frames", 5, "--pictures", 2,
    ]  # fmt: skip
    result = run(*command)
    forecast = np.load(tmp_path / "out" / "forecast.npy")
    assert forecast.shape == (5, 5, 1, 32, 32)
    first = expected(pixels[:, 12:15])
    np.testing.assert_allclose(forecast[:, :FORECASTS], first / 255 * 40 - 20, atol=1e-4)
    pictures = {f"sequence_000{n}.{kind}" for n in range(2) for kind in ("png", "gif")}
    assert {file.name for file in (tmp_path / "out").glob("[!.]*")} == {"forecast.npy"} | pictures
    assert "trained to forecast 3" in result.stdout
    assert "frames 12 to 14 of each" in result.stdout
    timing = r"network: \S+ ms a sequence, \S+ sequences/s, in batches of 4 \(\S+ s\); compiled"
    assert re.search(timing, result.stdout)
    line = refuse(tmp_path, *command)
    assert "holds a forecast already (forecast.npy): give --overwrite" in line


def test_the_test_set_by_mindir(tmp_path, trained, mindir, by_checkpoint):
    """A MINDIR knows the test set of its checkpoint."""
    options = ["--output", tmp_path, "--limit", 3, "--pictures", 1]
    result = run_here("predict.py", "--mindir", mindir, *options)
    assert "generated test set" in result.stdout
    source = prediction.sequences_of_test_set(by_checkpoint, None)
    frames = source[range(3)][:, :READS] / np.float32(255)
    forecast = network_of(trained / "best.ckpt")(ms.Tensor(frames)).asnumpy() * 255
    np.testing.assert_allclose(np.load(tmp_path / "forecast.npy"), forecast, atol=2e-3)
    with Image.open(tmp_path / "sequence_0000.gif") as animation:
        assert animation.n_frames == READS + FORECASTS


def test_a_scaled_copy_is_forecast_scaled(tmp_path, pixels, by_checkpoint):
    """y = 0.3 x - 12 with the range scaled alike gives 0.3 F - 12."""
    forecasts = []
    for name, gain, offset in (("one", 1.0, 0.0), ("other", 0.3, -12.0)):
        np.save(tmp_path / f"{name}.npy", pixels[:2] * gain + offset)
        scale = (offset, 255 * gain + offset)
        source = prediction.sequences_of_input(by_checkpoint, tmp_path / f"{name}.npy", scale)
        folder = prediction.open_output(tmp_path / name, overwrite=False)
        prediction.predict(by_checkpoint, source, folder, batch_size=32, count=0)
        forecasts.append(np.load(folder / "forecast.npy"))
    np.testing.assert_allclose(forecasts[1], forecasts[0] * 0.3 - 12, atol=1e-4)


def test_a_resumed_run_keeps_its_dataset(tmp_path, pixels, trained):
    """Its place may change, its sequences may not; a run of digits gets none."""
    np.save(tmp_path / "own.npy", np.concatenate([pixels] * 2))
    names = {"input_frames": 3, "forecast_frames": 3, "dataset": str(tmp_path / "own.npy")}
    options = {**names, "value_range": (0.0, 255.0), "batch_size": 4}
    config = make_config("small", resolve_dataset(options)[0])
    found = checkpoint.Checkpoint(tmp_path / "last.ckpt", config, {}, {}, {"epoch": 1})
    moved = shutil.copy(tmp_path / "own.npy", tmp_path / "moved.npy")
    same = start.resumed_config(found, {"dataset": str(moved)})
    assert len(training_sources(same)[0]) == 8
    np.save(moved, np.load(moved)[::-1])
    with pytest.raises(InputError, match="is another file than the run began with"):
        training_sources(start.resumed_config(found, {"dataset": str(moved)}))
    with pytest.raises(InputError, match="value_range is .* in the checkpoint, not "):
        start.resumed_config(found, {"value_range": (0.0, 256.0)})
    with pytest.raises(InputError, match="this run trains on Moving MNIST"):
        start.resumed_config(checkpoint.load(trained / "best.ckpt"), {"dataset": str(moved)})


def test_overwrite(tmp_path, pixels, by_checkpoint):
    """Pictures of an older forecast go; other files stay."""
    np.save(tmp_path / "in.npy", pixels[:1])
    for name in ("sequence_0007.png", "forecast.npy", "notes.txt", "mine.npy"):
        (tmp_path / name).write_text("old")
    prediction.manifest(tmp_path).add("sequence_0007.png", "forecast.npy")
    with pytest.raises(InputError, match="holds a forecast already"):
        prediction.open_output(tmp_path, overwrite=False)
    folder = prediction.open_output(tmp_path, overwrite=True)
    source = prediction.sequences_of_input(by_checkpoint, tmp_path / "in.npy")
    prediction.predict(by_checkpoint, source, folder, batch_size=1, count=1)
    names = {file.name for file in tmp_path.glob("[!.]*")}
    kept = {"notes.txt", "mine.npy", "in.npy"}
    assert names == kept | {"forecast.npy", "sequence_0000.png", "sequence_0000.gif"}


def test_what_cannot_be_written_is_not_forecast(tmp_path):
    """A name that NetCDF does not allow is known before the network runs."""
    values = np.zeros((6, 32, 32), np.float32)
    record = xr.Dataset({"rain": (("time", "y", "x"), values, {"mm/h": 1})})
    record = record.assign_coords(time=np.arange(6.0))
    record.to_zarr(tmp_path / "record.zarr", consolidated=False)

    def network(inputs):
        raise AssertionError("the network has run")

    config = make_config("small", {"input_frames": 3, "forecast_frames": 3, "image_size": (32, 32)})
    model = predictor.Predictor(network, "tiny", (None, 3, 1, None, None), 3, config)
    source = prediction.sequences_of_input(model, tmp_path / "record.zarr", (0.0, 1.0))
    folder = prediction.open_output(tmp_path / "out", overwrite=False)
    with pytest.raises(InputError, match="out/forecast.nc: NetCDF cannot hold .*'mm/h'"):
        prediction.predict(model, source, folder, batch_size=1, count=0)
    assert not list(folder.glob("[!.]*"))


def test_what_cannot_be_forecast(tmp_path, pixels, by_checkpoint, by_mindir, mindir, trained):
    def refuses(network, array, message, **options):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(InputError, match=message):
            prediction.sequences_of_input(network, tmp_path / "x.npy", **options)

    refuses(by_checkpoint, pixels[:, :2], "has 2 frames a sequence, and 3 are needed")
    refuses(by_checkpoint, pixels[:, :5], "and 6 are needed", truth=True)
    refuses(by_checkpoint, pixels[..., :30], "frames of 32x30, .* 32x28 or pad them to 32x32")
    refuses(by_checkpoint, np.stack([pixels] * 3, 2), "has 3 channels, and the network reads 1")
    refuses(by_mindir, pixels[..., :16], r"\(1, 32, 16\), and .*tiny.mindir was exported for")
    missing = pixels.astype(np.float32)
    missing[1, 18, 3, 4] = np.nan
    refuses(by_checkpoint, missing, "sequence 1, frame 18, channel 0, row 3, column 4")
    with pytest.raises(InputError, match="forecast_frames is 4, and .* was exported for 3"):
        predictor.from_mindir(mindir, 4)
    (tmp_path / "cut.mindir").write_bytes(mindir.read_bytes()[:5000])
    for path in (trained / "best.ckpt", tmp_path / "cut.mindir"):
        with pytest.raises(InputError, match="not a MINDIR, or damaged"):
            predictor.from_mindir(path)


@pytest.mark.parametrize("name", ["day.nc", "day.npy", "day", "store.zarr"])
def test_pictures_beside_a_record(tmp_path, pixels, by_checkpoint, by_mindir, name):
    """Previews in an archive are not what is forecast, nor is a stray file instead of pictures."""
    for k, frame in enumerate(pixels[0]):
        Image.fromarray(frame).save(tmp_path / f"{k}.png")
    (tmp_path / "notes.txt").write_text("mine")
    np.save(tmp_path / "._day.npy", pixels)
    for network in (by_checkpoint, by_mindir):
        assert len(prediction.sequences_of_input(network, tmp_path)) == 1
    record = xr.Dataset({"rain": (("time", "y", "x"), pixels[1])})
    if name.endswith(".npy"):
        np.save(tmp_path / name, pixels[1])
    elif name.endswith(".zarr"):
        record.to_zarr(tmp_path / name, zarr_format=2)
    else:
        record.to_netcdf(tmp_path / name)
    for network in (by_checkpoint, by_mindir):
        with pytest.raises(InputError, match="holds pictures .* and files of a record"):
            prediction.sequences_of_input(network, tmp_path)


def test_any_size_that_the_grid_divides(tmp_path, pixels, by_checkpoint, trained):
    """A checkpoint takes frames of another size than it was trained on."""
    np.save(tmp_path / "x.npy", pixels[..., :20])
    source = prediction.sequences_of_input(by_checkpoint, tmp_path / "x.npy")
    prediction.predict(by_checkpoint, source, tmp_path, batch_size=5, count=0)
    inputs = ms.Tensor(pixels[:, -READS:, None, :, :20] / np.float32(255))
    forecast = network_of(trained / "best.ckpt")(inputs).asnumpy() * 255
    np.testing.assert_allclose(np.load(tmp_path / "forecast.npy"), forecast, atol=2e-3)


def test_a_mindir_of_somebody_else(tmp_path, pixels, expected, trained):
    """Without a configuration in it, the graph tells the shapes, and pixels are 0 to 255."""
    network = network_of(trained / "best.ckpt")
    shape = (2, READS, 1, 32, 32)
    exporter.export(network, np.zeros(shape, np.float32), tmp_path / "x.mindir", "MINDIR")
    np.save(tmp_path / "x.npy", pixels[:3])
    other = predictor.from_mindir(tmp_path / "x.mindir")
    assert other.config is None
    assert other.inputs == shape
    other.set_reading({"axes": "NTHW", "nodata": None})
    for flag, value in (("nodata", (255.0,)), ("variable", "rain"), ("any_step", True)):
        with pytest.raises(InputError, match=f"does not say how .* leave --{flag} out"):
            other.set_reading({flag: value})
    source = prediction.sequences_of_input(other, tmp_path / "x.npy")
    prediction.predict(other, source, tmp_path, batch_size=32, count=0)
    forecast = np.load(tmp_path / "forecast.npy")
    np.testing.assert_allclose(forecast, expected(pixels[:3, -READS:]), atol=2e-3)
    assert prediction.sequences_of_test_set(other, None)[[0]].shape == (1, 6, 1, 32, 32)


def test_own_data_from_training_to_forecast(tmp_path, pixels, one_stage):
    """Train, move the file, measure its test split, forecast it: all in its own units."""
    kelvin = (np.concatenate([pixels] * 2)[:, :8] / 255 * 40 + 270).astype(np.float32)
    np.save(tmp_path / "sst.npy", kelvin)
    options = ["--pretrained_model", one_stage, "--batch_size", 4, "--epochs", 1]
    options += ["--input_frames", READS, "--forecast_frames", FORECASTS, "--epoch_size", 8]
    options += ["--train_path", tmp_path / "run"]
    options += ["--loss", "mse", "--loss_weights", "290:2", "300:5.5", "--curriculum"]
    result = run("train.py", "--dataset", "sst.npy", "--value_range", 270, 310, *options,
        cwd=tmp_path)  # fmt: skip
    assert "train split (8 of 10 sequences, split_seed 0, the first 6 of 8 frames)" in result.stdout
    best = tmp_path / "run" / "best.ckpt"
    config = checkpoint.load(best).config
    assert config.data.value_range == (270.0, 310.0)
    assert config.training.loss_weights == ((290.0, 2.0), (300.0, 5.5))
    assert config.data.dataset == str(tmp_path / "sst.npy")

    shutil.move(tmp_path / "sst.npy", tmp_path / "moved.npy")
    assert "sst.npy: not found" in refuse(tmp_path, "test.py", "--pretrained_model", best)
    result = run_here("test.py", "--pretrained_model", best, "--dataset", tmp_path / "moved.npy",
        "--json", tmp_path / "r.json", "--baselines", "--thresholds", 290, 400,
        "--plot", tmp_path / "scores.png")  # fmt: skip
    scores = json.loads((tmp_path / "r.json").read_text())
    (index,) = Split(0.1, 0).indices(10, "test")
    network = predictor.from_checkpoint(best)
    np.save(tmp_path / "test.npy", kelvin[index : index + 1, :6])
    source = prediction.sequences_of_input(network, tmp_path / "test.npy", truth=True)
    prediction.predict(network, source, tmp_path, batch_size=1, count=0)
    error = np.load(tmp_path / "forecast.npy")[0, :, 0] - kelvin[index, 3:6]
    assert scores["sequences"] == 1
    assert scores["own_units"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert scores["own_units"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert scores["mse"] == pytest.approx(((error / 40) ** 2).sum((1, 2)).mean(), rel=1e-4)
    assert set(scores["baselines"]) == {"zeros", "mean_image", "copy_last"}
    own = scores["scores"]["forecasts"]
    np.testing.assert_allclose(own["model"]["bias"], error.mean((1, 2)), atol=1e-3)
    last = kelvin[index, 2] - kelvin[index, 3:6]
    np.testing.assert_allclose(own["persistence"]["mse"], (last**2).mean((1, 2)), rtol=1e-5)
    told, came = kelvin[index, 2] >= 290, kelvin[index, 3:6] >= 290
    csi = (told & came).sum((1, 2)) / (told | came).sum((1, 2))
    np.testing.assert_allclose(own["persistence"]["at"]["290"]["csi"], csi)
    assert own["climatology"]["at"]["400"]["csi"] == [None] * 3
    with Image.open(tmp_path / "scores.png") as picture:
        assert picture.size[1] > 1000  # a row for errors, and one for each of seven scores
    assert "at or above 400: 0.000% of the values" in result.stdout
    assert "in which 270 is 0 and 310 is 1" in result.stdout
    assert "compiled before in" in result.stdout


def test_summary_by_the_scripts(trained):
    result = run_here("predict.py", "--pretrained_model", trained / "best.ckpt", "--summary")
    assert f"{(trained / 'best.ckpt').stat().st_size:,} bytes" in result.stdout
    assert "inputs:      3 x 1 x 32 x 32 (T, C, H, W)" in result.stdout
    result = run_here("train.py", "--preset", "multiscale", "--summary")
    assert "preset:      multiscale, 8,110,753 parameters" in result.stdout
