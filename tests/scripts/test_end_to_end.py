"""The main job, run as a user runs it: train, measure, export."""

import csv
import json
import shutil

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from PIL import Image

from src import checkpoint, run_folder
from src.config.schema import Config
from tests.scripts.conftest import TINY, run, run_here


def network_of(path):
    """The network of a checkpoint, from the checkpoint alone."""
    return checkpoint.load(path).network()


def test_a_run_leaves_what_it_should(trained, data_path):
    names = {path.name for path in trained.iterdir()}
    checkpoints = {"best.ckpt", "last.ckpt", "previous.ckpt"}
    checkpoints |= {"epoch_0001.ckpt", "epoch_0002.ckpt"}
    texts = {"config.json", "metrics.csv", ".lock", "job.log", "stdout.log"}
    texts.add(run_folder.MANIFEST)
    assert names == checkpoints | texts | {"pictures", "tensorboard"}
    config = Config.from_json((trained / "config.json").read_text())
    assert config == checkpoint.load(trained / "last.ckpt").config
    assert config.training.batch_size == 2
    log = (trained / "stdout.log").read_text()
    assert f"digits of {data_path / 'train-images-idx3-ubyte.gz'} 0-199" in log
    assert f"digits of {data_path / 'train-images-idx3-ubyte.gz'} 200-1,199" in log


def test_metrics_csv(trained):
    with open(trained / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"], row["sequences"]) for row in rows] == [
        ("1", "3", "6"),
        ("2", "6", "12"),
    ]
    assert all(float(row["loss"]) > 0 and float(row["val_mse"]) > 0 for row in rows)
    state = checkpoint.load(trained / "last.ckpt").state
    assert state["best_mse"] == min(float(row["val_mse"]) for row in rows)
    assert float(rows[-1]["learning_rate"]) == state["learning_rate"]


def test_measure_by_the_script(trained, workroot, tmp_path):
    """5 sequences in batches of 2; the published lines, JSON that says the same, and a picture."""
    json_file = tmp_path / "a result.json"
    result = run(
        "scripts/run_eval.sh", 0, workroot, trained / "best.ckpt", 2, "--baselines", "--json",
        json_file, "--plot", tmp_path / "frames.png", cwd=tmp_path,
    )  # fmt: skip
    scores = json.loads(json_file.read_text())
    frames = np.load(workroot / "mnist_test_seq.npy").swapaxes(0, 1)[:, :6, None]
    frames = frames.astype(np.float32) / np.float32(255)
    forecast = network_of(trained / "best.ckpt")(ms.Tensor(frames[:, :3])).asnumpy()
    per_frame = ((forecast - frames[:, 3:]) ** 2).sum((2, 3, 4)).mean(0)
    assert scores["sequences"] == 5
    assert scores["test_set"] == str(workroot / "mnist_test_seq.npy")
    np.testing.assert_allclose(scores["per_frame"]["mse"], per_frame, rtol=1e-5)
    assert scores["mse"] == pytest.approx(per_frame.mean(), rel=1e-5)
    zeros = (frames[:, 3:] ** 2).sum((2, 3, 4)).mean()
    assert scores["baselines"]["zeros"]["mse"] == pytest.approx(zeros, rel=1e-5)
    assert set(scores["baselines"]) == {"zeros", "mean_image", "copy_last"}
    with Image.open(tmp_path / "frames.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1000, 420))
    lines = result.stdout.splitlines()
    for name, published in (("mse", "mse"), ("ssim", "ssim"), ("mae", "fmae")):
        at = lines.index(f"{published} per frame: {scores[name]}")
        assert lines[at + 1 : at + 4] == [str(x) for x in scores["per_frame"][name]]


def test_measure_on_the_generated_set(trained, tmp_path):
    """A checkpoint moved elsewhere needs nothing beside it; --limit counts."""
    moved = tmp_path / "moved.ckpt"
    shutil.copy(trained / "best.ckpt", moved)
    options = ["--limit", 3, "--batch_size", 50, "--jit_level", "O0"]
    result = run("test.py", "--pretrained_model", moved, *options)
    assert "device: CPU, jit_level O0, oneDNN limited to" in result.stdout
    assert "3 sequences of generated test set" in result.stdout
    assert "embedded MNIST test digits 9,000-9,999" in result.stdout


def test_export_by_the_script(trained, tmp_path):
    path = tmp_path / "a folder" / "net.mindir"
    options = ("--file_name", path)
    result = run("scripts/run_export.sh", 0, trained / "best.ckpt", 2, "MINDIR", *options)
    assert f"{path}: MINDIR, {path.stat().st_size:,} bytes" in result.stdout
    assert "(2, 3, 1, 32, 32)" in result.stdout
    inputs = ms.Tensor(np.random.default_rng(0).random((2, 3, 1, 32, 32), np.float32))
    graph = nn.GraphCell(ms.load(str(path)))
    expected = network_of(trained / "best.ckpt")(inputs).asnumpy()
    np.testing.assert_allclose(graph(inputs).asnumpy(), expected, atol=1e-5)


def test_fine_tuning_and_alias(one_stage, tmp_path):
    """train_.py is train.py; preset, frames and weights come from the checkpoint."""
    options = ["--epoch_size", 2, "--batch_size", 2, "--epochs", 1, "--curriculum"]
    options += ["--learning_rate", "1e-20"]
    path = tmp_path / "tuned"
    run("train_.py", *options, "--pretrained_model", one_stage, "--train_path", path)
    before, after = checkpoint.load(one_stage), checkpoint.load(path / "last.ckpt")
    assert after.config.preset == "small"
    assert after.config.data.image_size == (32, 32)
    assert after.config.data.forecast_frames == 3
    assert after.state["step"] == 1
    for name, weights in before.weights.items():
        np.testing.assert_allclose(after.weights[name], weights, atol=1e-7)


def test_overwrite_and_keep(trained, tmp_path):
    """The run's checkpoints, pictures and events go, other files stay, the newest K remain."""
    folder = tmp_path / "again"
    shutil.copytree(trained, folder)
    (folder / "epoch_0099.ckpt").write_bytes(b"old")
    (folder / "pictures" / "my own.png").write_bytes(b"mine")
    options = [*TINY, "--batch_size", 2, "--epoch_size", 2, "--epochs", 3, "--eval_every", 2]
    run("train.py", *options, "--keep", 2, "--train_path", folder, "--overwrite")
    assert (folder / "job.log").read_text() == "started\n"
    names = sorted(path.name for path in folder.glob("epoch_*"))
    assert names == ["epoch_0002.ckpt", "epoch_0003.ckpt", "epoch_0099.ckpt"]
    assert [path.name for path in (folder / "pictures").iterdir()] == ["my own.png"]
    assert not list((folder / "tensorboard").iterdir())
    with open(folder / "metrics.csv", newline="") as file:
        assert [bool(row["val_mse"]) for row in csv.DictReader(file)] == [False, True, True]


def test_minutes_and_default_folder(tmp_path):
    """A stop after a second of training still validates and saves."""
    options = [*TINY, "--batch_size", "2", "--epoch_size", "100000", "--max_minutes", "0.02"]
    run("train.py", *options, "--train_path", tmp_path / "short")
    loaded = checkpoint.load(tmp_path / "short" / "best.ckpt")
    assert 1 < loaded.state["step"] < 1000
    assert loaded.state["seconds"] >= 60 * loaded.config.training.max_minutes


@pytest.mark.parametrize("script", ["run_single_train", "run_eval", "run_export", "quickstart"])
def test_usage(script):
    arguments = ["surplus"] if script == "quickstart" else [0]
    result = run(f"scripts/{script}.sh", *arguments, expect=2)
    assert f"bash scripts/{script}.sh" in result.stderr


@pytest.mark.parametrize("script", ["train.py", "test.py", "predict.py", "export.py"])
def test_help_shows_the_defaults(script):
    text = run_here(script, "--help").stdout
    assert "--device_target {Ascend,CPU}" in text
    if script == "train.py":
        flat = " ".join(text.split())
        assert "(default: 32; paper: 16; small: 8; two_scale: 8)" in flat
        assert "(default: 64 64)" in flat
