"""Files that are not ours stay as they are, by any name, whatever is overwritten."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from src import checkpoint, run_folder
from src.config.presets import make_config
from src.errors import InputError
from src.forecast import prediction
from src.tools.earlier import Earlier
from tests.saved_runs.make import RECORD
from tests.scripts.conftest import TINY, run
from tests.scripts.test_bad_input import refuse, snapshot

FORECAST = {"forecast.npy", "sequence_0000.png", "sequence_0000.gif"}
SHORT = [*TINY, "--batch_size", 2, "--epochs", 1, "--pictures", 1]


def names_in(folder):
    """The names of a folder's files, but for those that a run or a forecast keeps for itself."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def frames(tmp_path):
    """A folder of twelve numbered pictures to forecast from."""
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        image = Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8))
        image.save(folder / f"sequence_{k:03d}.png")
    return folder


def predict(trained, source, output, *options, pictures=1):
    """The command that forecasts a file or folder."""
    return [
        "predict.py", "--pretrained_model", trained / "best.ckpt", "--input", source, "--output",
        output, "--pictures", pictures, *options,
    ]  # fmt: skip


def test_a_forecast_among_its_input_is_refused(trained, frames, tmp_path):
    """By the script: a folder of pictures. A pattern that would find it, a file of its name, a link
    to that, a folder of records, a store.
    """
    assert "is where input is read from" in refuse(
        tmp_path, *predict(trained, frames, frames, "--overwrite")
    )
    (tmp_path / "forecast.npy").touch()
    (tmp_path / "link.npy").symlink_to("forecast.npy")
    (tmp_path / "a.zarr" / "inside").mkdir(parents=True)
    before = snapshot(tmp_path)
    for source, output in (
        (tmp_path / "*.npy", tmp_path),
        (tmp_path / "*", tmp_path),
        (tmp_path / "forecast.npy", tmp_path),
        (tmp_path / "link.npy", tmp_path),
        (tmp_path, tmp_path / "." / "a.zarr" / ".."),
        (tmp_path / "a.zarr", tmp_path / "a.zarr" / "inside"),
    ):
        with pytest.raises(InputError, match="is where input is read from"):
            prediction.open_output(output, True, source)
    assert snapshot(tmp_path) == before
    for source in (tmp_path / "in.npy", frames, tmp_path / "*.nc", tmp_path / "a.zarr"):
        assert prediction.open_output(tmp_path / "out", False, source).is_dir()


def test_a_forecast_among_the_dataset_is_refused(tmp_path):
    """Without --input, the dataset that the checkpoint names is read: here a folder of files."""
    folder = tmp_path / "days"
    folder.mkdir()
    shutil.copy(RECORD, folder)
    loaded = checkpoint.load(RECORD.with_name("masked_record.ckpt"))
    data = dataclasses.replace(loaded.config.data, dataset=str(folder))
    loaded.config = dataclasses.replace(loaded.config, data=data)
    checkpoint.save_weights(tmp_path / "a.ckpt", loaded)
    options = ["--pretrained_model", tmp_path / "a.ckpt", "--output", folder]
    line = refuse(tmp_path, "predict.py", *options)
    assert line.startswith(f"predict.py: {folder}: is where input is read from")


def test_a_forecast_replaces_an_earlier_one_alone(trained, frames, tmp_path):
    """What predict.py did not write stays, however alike its name; with --overwrite too."""
    output = tmp_path / "out"
    run(*predict(trained, frames, output, pictures=1))
    others = {"sequence_of_june.gif", "sequence_000.png", "sequence_0007.png", "notes.txt"}
    for name in others:
        (output / name).write_text(name)
    assert "holds a forecast already" in refuse(tmp_path, *predict(trained, frames, output))
    run(*predict(trained, frames, output, "--overwrite", pictures=0))
    assert names_in(output) == others | {"forecast.npy"}
    (output / "sequence_0000.png").write_text("mine")
    line = refuse(tmp_path, *predict(trained, frames, output, "--overwrite"))
    assert "sequence_0000.png: is there already, and no forecast here wrote it" in line
    for name in others:
        assert (output / name).read_text() == name


def test_a_run_replaces_an_earlier_one_alone(trained, tmp_path):
    """Its epochs, pictures and events go; what it did not write stays, by any name."""
    folder = tmp_path / "again"
    shutil.copytree(trained, folder)
    others = {
        "epoch_0099.ckpt", "my_epoch.png", "pictures/holiday_epoch_3.png", "set.unfinished",
        "pictures/sequence_9_epoch_0001.png", "tensorboard/events.out.tfevents.1.host", "job.log",
        ".mine.unfinished",
    }  # fmt: skip
    for name in others:
        (folder / name).write_text(name)
    run("train.py", *SHORT, "--train_path", folder, "--overwrite")
    left = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    own = {"config.json", "metrics.csv", "best.ckpt", "last.ckpt", "epoch_0001.ckpt"}
    own |= {"stdout.log", ".lock", "pictures/sequence_1_epoch_0001.png", run_folder.MANIFEST}
    assert left == others | own
    for name in others:
        assert (folder / name).read_text() == name


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "name", ["config.json", "metrics.csv", "best.ckpt", "next.ckpt", "epoch_0001.ckpt"]
)
def test_a_foreign_file_in_a_runs_place_is_not_replaced(tmp_path, name, overwrite):
    (tmp_path / name).write_text('{"mine": 1}')
    config = make_config("small", {})
    with pytest.raises(InputError, match=f"{name}: is there already, and no run here wrote it"):
        run_folder.open_run_folder(tmp_path, config, overwrite, Earlier())
    assert snapshot(tmp_path) == {tmp_path / name: b'{"mine": 1}'}


def test_a_run_from_before_there_was_a_manifest(trained, tmp_path):
    """Its checkpoints, metrics and configuration prove themselves; its pictures cannot, and stay.

    A damaged checkpoint is one still.
    """
    folder = tmp_path / "old"
    shutil.copytree(trained, folder)
    (folder / run_folder.MANIFEST).unlink()
    (folder / "epoch_0003.ckpt").write_text("of another program")
    content = bytearray((folder / "previous.ckpt").read_bytes())
    content[len(content) // 3] ^= 1
    (folder / "previous.ckpt").write_bytes(content)
    drawn = snapshot(folder / "pictures")
    assert "holds a run already (config.json)" in refuse(
        tmp_path, "train.py", *SHORT, "--train_path", folder
    )
    result = run("train.py", *SHORT, "--train_path", folder, "--overwrite")
    assert "sequence_1_epoch_0001.png: is there already, and no run's: left" in result.stderr
    assert snapshot(folder / "pictures") == drawn
    assert (folder / "epoch_0003.ckpt").read_text() == "of another program"
    assert not (folder / "epoch_0002.ckpt").exists()
    assert not (folder / "previous.ckpt").exists()


def test_a_run_that_would_take_its_own_input_away(trained, tmp_path):
    """The checkpoint that it starts with, or a pattern that would find its files."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    command = ["train.py", "--train_path", folder, "--overwrite"]
    line = refuse(tmp_path, *command, "--pretrained_model", folder / "epoch_0002.ckpt")
    assert "is where pretrained_model is read from" in line
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "a.npy", np.zeros((40, 6, 32, 32), np.uint8))
    data = ["--dataset", tmp_path / "data" / "*", "--value_range", 0, 255, "--window_stride", 1]
    line = refuse(tmp_path, "train.py", *SHORT, *data, "--train_path", tmp_path / "data")
    assert "is where dataset is read from" in line


def test_a_resumed_run_takes_its_own_pictures_back(trained, tmp_path):
    """Those that came after the state that it goes on from; other people's stay."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for name in ("last.ckpt", "previous.ckpt", "best.ckpt", "epoch_0002.ckpt"):
        (folder / name).unlink()
    manifest = folder / run_folder.MANIFEST
    names = json.loads(manifest.read_text())["files"]
    assert "pictures/sequence_1_epoch_0002.png" in names
    (folder / "pictures" / "sequence_1_epoch_0009.png").write_text("mine")
    run("train.py", "--resume", "--train_path", folder, "--pictures", 1)
    assert names_in(folder / "pictures") == {
        "sequence_1_epoch_0001.png", "sequence_2_epoch_0001.png", "sequence_1_epoch_0002.png",
        "sequence_1_epoch_0009.png",
    }  # fmt: skip
