"""Wrong input: one line that says what is wrong, exit code 2, and nothing changed on disk."""

import gzip
import sys

import numpy as np
import pytest

from tests.scripts.conftest import TINY, idx_bytes, run, run_here


def snapshot(folder):
    """Names and contents of everything below a folder."""
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def refuse(folder, *command, by=run_here):
    """Runs a command that has to fail; returns its one line."""
    before = snapshot(folder)
    result = by(*command, expect=2, cwd=folder)
    assert snapshot(folder) == before
    (line,) = result.stderr.splitlines()
    return line


TRAINING_FILE = "train-images-idx3-ubyte"
BROKEN_IDX = {
    "missing": (None, "holds neither"),
    "truncated": (lambda i: idx_bytes(i)[:-1000], "promises 1,200 images"),
    "magic": (lambda i: idx_bytes(i, magic=2049), "magic number is 2049"),
    "size": (lambda i: idx_bytes(i, count=60_000), "promises 60,000 images"),
}


@pytest.mark.parametrize("kind", BROKEN_IDX)
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_training_digits(tmp_path, digits, kind, suffix):
    make, message = BROKEN_IDX[kind]
    if make:
        content = make(digits[:1200])
        path = tmp_path / (TRAINING_FILE + suffix)
        path.write_bytes(gzip.compress(content, 1) if suffix else content)
    options = ["--data_path", tmp_path, "--train_path", tmp_path / "run"]
    line = refuse(tmp_path, "train.py", *options)
    assert line.startswith(f"train.py: {tmp_path}")
    assert message in line


def test_cut_gzip(tmp_path, digits):
    whole = gzip.compress(idx_bytes(digits[:1200]), 1)
    (tmp_path / f"{TRAINING_FILE}.gz").write_bytes(whole[:-2000])
    line = refuse(tmp_path, "train.py", "--data_path", tmp_path, "--train_path", tmp_path / "run")
    assert "cannot be read" in line


WRONG_TEST_SETS = {
    "missing": (None, "not found"),
    "rank": (lambda a: a[0], "has the shape (5, 32, 32)"),
    "dtype": (lambda a: a.astype(np.float32), "holds float32"),
    "shape": (lambda a: a[..., :16], "has the shape (20, 5, 32, 16)"),
    "objects": (lambda a: np.array([{"a": 1}], object), "not a readable .npy array"),
}


@pytest.mark.parametrize("kind", WRONG_TEST_SETS)
def test_test_set(tmp_path, trained, workroot, kind):
    make, message = WRONG_TEST_SETS[kind]
    if make:
        array = make(np.load(workroot / "mnist_test_seq.npy"))
        np.save(tmp_path / "mnist_test_seq.npy", array, allow_pickle=True)
    checkpoint = trained / "best.ckpt"
    options = ["--workroot", tmp_path, "--json", tmp_path / "result.json"]
    line = refuse(tmp_path, "test.py", "--pretrained_model", checkpoint, *options)
    assert line.startswith(f"test.py: {tmp_path / 'mnist_test_seq.npy'}: ")
    assert message in line


@pytest.mark.parametrize("script", ["test.py", "export.py", "train.py"])
@pytest.mark.parametrize("kind", ["truncated", "not a checkpoint"])
def test_damaged_checkpoint(tmp_path, trained, script, kind):
    path = tmp_path / "bad.ckpt"
    content = (trained / "best.ckpt").read_bytes()
    path.write_bytes(content[:-5000] if kind == "truncated" else b"\x89PNG\r\n")
    options = ["--train_path", tmp_path / "run"] if script == "train.py" else []
    line = refuse(tmp_path, script, "--pretrained_model", path, *options)
    assert line.startswith(f"{script}: {path}: ")
    assert "not a checkpoint" in line


@pytest.mark.parametrize("script", ["test.py", "export.py", "train.py", "predict.py"])
def test_missing_checkpoint(tmp_path, script):
    """Each script once in a process of its own, which says nothing else on its way."""
    path = tmp_path / "missing.ckpt"
    output = {"train.py": "--train_path", "predict.py": "--output"}.get(script)
    options = [output, tmp_path / "out"] if output else []
    line = refuse(tmp_path, script, "--pretrained_model", path, *options, by=run)
    assert line.startswith(f"{script}: {path}: cannot be read")


def test_checkpoint_of_another_preset(tmp_path, trained):
    options = ["--preset", "paper", "--pretrained_model", trained / "best.ckpt"]
    line = refuse(tmp_path, "train.py", *options, "--train_path", tmp_path / "run")
    assert "preset small, not paper" in line
    assert "kernel_size is 3 in the checkpoint, not 5" in line


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("train.py", "--batch_size 0", "batch_size is 0: it must be at least 1"),
        ("train.py", "--batch_size 33 --epoch_size 32", "larger than an epoch of 32"),
        ("train.py", "--image_size 64 66", "needs multiples of 8"),
        ("train.py", "--loss nothing", "--loss: invalid choice: 'nothing'"),
        ("train.py", "--loss_weights 2:2", "loss_weights is given with loss 'bce'"),
        ("train.py", "--epochs many", "--epochs: invalid int value: 'many'"),
        ("train.py", "--surplus 1", "--surplus"),
        ("train.py", "--device_target Ascend", "none is usable here"),
        ("test.py", "--batch_size 0", "--batch_size: is 0: it must be at least 1"),
        ("export.py", "--batch_size -1", "--batch_size: is -1: it must be at least 0"),
        ("export.py", "--file_format AIR", "on an Ascend only"),
        ("export.py", "--file_format CAFFE", "invalid choice: 'CAFFE'"),
        ("predict.py", "--output out --value_range 0 1", "--value_range and --truth: need --input"),
        ("train.py", "--curriculum 4-2:0.3", "a phase is written IN+OUT:UNTIL, 4+2:0.3"),
    ],
)
def test_arguments(tmp_path, trained, script, options, message):
    if script == "train.py":
        given = ["--train_path", tmp_path / "run"]
    else:
        given = ["--pretrained_model", trained / "best.ckpt"]
    line = refuse(tmp_path, script, *options.split(), *given)
    assert line.startswith(f"{script}: ")
    assert message in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "the script to start is missing"),
        ("--surplus 1 train.py", "the script to start is missing"),
        (
            "--local_worker_num two train.py",
            "--local_worker_num: invalid whole number value: 'two'",
        ),
        ("--local_worker_num 0 train.py", "local_worker_num is 0: it must be at least 1"),
        ("--worker_num 4 train.py", "several hosts need --master_addr and --node_rank"),
    ],
)
def test_arguments_of_a_launch(tmp_path, options, message):
    line = refuse(tmp_path, "scripts/launch.py", *options.split())
    assert line.startswith("launch.py: ")
    assert message in line


def test_outputs_that_cannot_be_written(tmp_path, trained):
    """Below a file there is no folder, even for root."""
    (tmp_path / "file").write_text("mine")
    below = tmp_path / "file" / "below"
    checkpoint = ["--pretrained_model", trained / "best.ckpt"]
    options = [*TINY, "--batch_size", "2", "--train_path", below]
    assert "(train_path)" in refuse(tmp_path, "train.py", *options)
    assert "(json)" in refuse(tmp_path, "test.py", *checkpoint, "--json", below)
    assert "(file_name)" in refuse(tmp_path, "export.py", *checkpoint, "--file_name", below)


def test_a_result_does_not_replace_a_file_of_another_kind(tmp_path, trained):
    """Here the checkpoint that is measured."""
    path = tmp_path / "weights.ckpt"
    path.write_bytes((trained / "best.ckpt").read_bytes())
    line = refuse(tmp_path, "test.py", "--pretrained_model", path, "--json", path)
    assert line == f"test.py: {path}: is there already and holds no JSON (json): name another"


def test_curves_that_cannot_be_drawn(tmp_path, trained):
    checkpoint = ["--pretrained_model", trained / "best.ckpt"]
    line = refuse(tmp_path, "test.py", *checkpoint, "--plot", tmp_path / "frames.bmp")
    assert line == f"test.py: {tmp_path / 'frames.bmp'}: must end in one of .png, .svg, .pdf (plot)"
    line = refuse(tmp_path, "scripts/plot_metrics.py", trained, tmp_path, "--output", "x.png")
    assert line.startswith(f"plot_metrics.py: {tmp_path / 'metrics.csv'}: cannot be read: No such")


def test_tensorboard_without_its_package(tmp_path, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    before = snapshot(trained)
    options = [*TINY, "--batch_size", "2", "--tensorboard", "--overwrite"]
    line = refuse(tmp_path, "train.py", *options, "--train_path", trained)
    assert "pip install tensorboardX, or leave --tensorboard out" in line
    assert snapshot(trained) == before


def test_a_folder_that_holds_a_run(trained):
    line = refuse(trained, "train.py", *TINY, "--batch_size", "2", "--train_path", trained)
    assert "holds a run already" in line
    assert "--overwrite" in line
    assert "--resume" in line


def test_a_run_that_diverges(tmp_path):
    """Exit code 4 and one line with step and learning rate; progress lines come before it."""
    options = [*TINY, "--learning_rate", "1e30", "--warmup_steps", "0", "--batch_size", "2"]
    result = run("train.py", *options, "--train_path", tmp_path / "run", expect=4)
    line = result.stderr.splitlines()[-1]
    assert line.startswith("train.py: stopped at step 2, learning rate 1e+30: the loss is")
    assert not list((tmp_path / "run").glob("*.ckpt"))
    assert "Traceback" not in result.stderr
