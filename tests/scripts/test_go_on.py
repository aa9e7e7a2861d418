"""Going on: from an earlier state, in another folder, from another folder, past the end."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from src import checkpoint
from tests.scripts.conftest import FEW, run, run_here
from tests.scripts.test_bad_input import refuse

STEPS = 3  # of an epoch: 6 sequences in batches of 2
OPTIONS = [*FEW, "--batch_size", 2, "--lr_schedule", "constant", "--learning_rate", "1e-3"]


@pytest.fixture(scope="module")
def begin(one_stage):
    """The flags of a new run."""
    return ["--pretrained_model", one_stage, *OPTIONS]


@pytest.fixture(scope="module")
def four_epochs(tmp_path_factory, begin):
    """A run of four epochs, each better than the one before it, with all of its checkpoints."""
    folder = tmp_path_factory.mktemp("four") / "run"
    run("train.py", *begin, "--epochs", 4, "--keep", 9, "--train_path", folder)
    scores = list(validations(folder).values())
    assert scores == sorted(scores, reverse=True)
    return folder


def validations(folder):
    """The validation MSE of a run by step."""
    with open(folder / "metrics.csv", newline="") as file:
        return {int(row["step"]): float(row["val_mse"]) for row in csv.DictReader(file)}


def step_of(path):
    return checkpoint.load(path).state["step"]


def write(path, found, config, state):
    """Writes a checkpoint with another configuration and state."""
    arrays = found.weights | {f"optimizer.{name}": x for name, x in found.optimizer.items()}
    path.write_bytes(b"".join(checkpoint._serialise(arrays, config, state)))


def test_from_an_earlier_state(four_epochs, tmp_path):
    """At a rate that spoils it: the better best of the abandoned epochs is set aside, not
    lost, and theirs are not taken for the new ones.
    """
    folder = tmp_path / "run"
    shutil.copytree(four_epochs, folder)
    result = run(
        "train.py", "--resume", folder / "epoch_0001.ckpt", "--epochs", 2,
        "--learning_rate", 0.3, "--keep", 1,
    )  # fmt: skip
    (aside,) = (folder / "set_aside").iterdir()
    for name in ("best.ckpt", "last.ckpt", "epoch_0003.ckpt", "epoch_0004.ckpt", "metrics.csv"):
        assert (aside / name).read_bytes() == (four_epochs / name).read_bytes()
    assert step_of(folder / "best.ckpt") == 2 * STEPS
    assert [path.name for path in folder.glob("epoch_*")] == ["epoch_0002.ckpt"]
    state = checkpoint.load(folder / "last.ckpt").state
    assert state["best_mse"] <= validations(four_epochs)[STEPS]
    check_last_line(result, folder)


def test_in_another_folder(four_epochs, tmp_path):
    """It gets a best.ckpt of its own, here no better than the run was before, and the last line
    says so.
    """
    folder, saved = tmp_path / "other", tmp_path / "saved.ckpt"
    found = checkpoint.load(four_epochs / "epoch_0002.ckpt")
    write(saved, found, found.config, found.state | {"best_mse": 1.0})
    result = run("train.py", "--resume", saved, "--train_path", folder, "--epochs", 3)
    assert step_of(folder / "best.ckpt") == 3 * STEPS
    assert result.stdout.splitlines()[-1].endswith("in another folder or set aside")
    check_last_line(result, folder)


def test_epochs_of_five_digits(four_epochs, tmp_path):
    """Found, in the order of their numbers, and pruned; one state stands for 9,999 epochs."""
    found = checkpoint.load(four_epochs / "last.ckpt")
    state = found.state | {"epoch": 9999, "step": 9999 * STEPS}
    training = dataclasses.replace(found.config.training, epochs=10_003)
    config = dataclasses.replace(found.config, training=training)
    for name in ("epoch_9998.ckpt", "epoch_9999.ckpt"):
        write(tmp_path / name, found, config, state)
    for epochs, names in (
        (10_002, ["epoch_9999.ckpt", "epoch_10000.ckpt", "epoch_10001.ckpt", "epoch_10002.ckpt"]),
        (10_003, ["epoch_10002.ckpt", "epoch_10003.ckpt"]),
    ):
        for name in ("last.ckpt", "previous.ckpt", "best.ckpt"):
            (tmp_path / name).unlink(missing_ok=True)
        result = run(
            "train.py", "--resume", "--train_path", tmp_path, "--epochs", epochs, "--keep",
            len(names),
        )  # fmt: skip
        assert sorted(p.name for p in tmp_path.glob("epoch_*")) == sorted(names)
    assert f"resuming from {tmp_path / 'epoch_10002.ckpt'}: epoch 10002" in result.stdout


def test_no_limit_of_epochs(tmp_path, begin):
    """--epochs 0 needs another limit, which ends the run: so much work, or so many minutes."""
    (line,) = run_here("train.py", *begin, "--epochs", 0, expect=2).stderr.splitlines()
    assert "epochs is 0: a run without a limit of epochs needs --max_minutes or" in line
    for name, limit, epochs in (
        ("work", ("--max_work", 15), 3),
        ("time", ("--max_minutes", 1e-5), 1),
    ):
        run("train.py", *begin, "--epochs", 0, *limit, "--train_path", tmp_path / name)
        state = checkpoint.load(tmp_path / name / "last.ckpt").state
        assert state["epoch"] == epochs
    assert checkpoint.load(tmp_path / "work" / "last.ckpt").state["step"] == 8  # of two sequences


FINISHED = [
    *FEW, "2+1:0.5", "--batch_size", 2, "--lr_schedule", "cosine", "--warmup_steps", 0,
    "--log_every", 1,
]  # fmt: skip


def rows_of(folder):
    """The rows of metrics.csv, numbers all, but for evaluations."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {k: float(v or "nan") for k, v in row.items() if not k.startswith("val_")} for row in rows
    ]


def test_a_finished_run_is_extended(tmp_path, one_stage):
    """On whole sequences, which it had come to, and from its last rate down; a run that was stopped
    in what was added ends as one that was not.
    """
    folder, other = tmp_path / "run", tmp_path / "other"
    begin = ["--pretrained_model", one_stage, *FINISHED]
    run("train.py", *begin, "--epochs", 2, "--train_path", folder)
    result = run("train.py", "--resume", "--train_path", folder, "--epochs", 4)
    rows = rows_of(folder)
    before, after = rows[: 2 * STEPS], rows[2 * STEPS :]
    work = np.diff([row["work"] for row in rows])
    assert work.tolist()[:2] == [1.5, 1.5]  # three of four frames of two sequences
    assert work[2 * STEPS - 1 :].tolist() == [2] * 2 * STEPS
    rates = [row["learning_rate"] for row in after]
    assert rates[0] == before[-1]["learning_rate"]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < rates[0] / 4
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("extending a")]
    assert f"falls from {rates[0]:.3g} to 0 along half a cosine" in line

    run("train.py", "--resume", folder / "epoch_0003.ckpt", "--train_path", other)
    assert [row["learning_rate"] for row in rows_of(other)] == rates[STEPS:]
    for name, weights in checkpoint.load(folder / "last.ckpt").weights.items():
        np.testing.assert_array_equal(checkpoint.load(other / "last.ckpt").weights[name], weights)

    result = run(
        "train.py", "--resume", folder / "last.ckpt", "--train_path", tmp_path / "third",
        "--epochs", 5, "--learning_rate", "1e-4",
    )  # fmt: skip
    assert [row["learning_rate"] for row in rows_of(tmp_path / "third")][0] == 1e-4


def test_from_another_folder(four_epochs, tmp_path, data_path):
    """A run of relative paths goes on from anywhere; what has moved is named anew, relative too."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    shutil.copytree(data_path, first / "digits")
    shutil.copy(four_epochs / "best.ckpt", first / "start.ckpt")
    run("train.py", *OPTIONS, "--pretrained_model", "start.ckpt", "--data_path", "digits",
        "--epochs", 1, "--train_path", "run", cwd=first)  # fmt: skip
    config = checkpoint.load(first / "run" / "last.ckpt").config
    assert config.data.data_path == str(first / "digits")
    assert config.training.pretrained_model == str(first / "start.ckpt")

    resume = ["train.py", "--resume", "--train_path", first / "run"]
    run(*resume, "--epochs", 2, cwd=second)
    shutil.move(first / "digits", second / "moved")
    assert f"{first / 'digits'}: holds neither" in refuse(second, *resume, "--epochs", 3)
    shutil.move(first / "start.ckpt", second / "moved.ckpt")
    moved = ["--data_path", "moved", "--pretrained_model", "moved.ckpt"]
    result = run(*resume, *moved, "--epochs", 3, cwd=second)
    assert "pretrained_model is not read" in result.stdout
    config = checkpoint.load(first / "run" / "last.ckpt").config
    assert config.data.data_path == str(second / "moved")
    assert config.training.pretrained_model == str(second / "moved.ckpt")

    saved = json.loads((first / "run" / "config.json").read_text())
    saved["data"]["data_path"] = "moved"
    (second / "config.json").write_text(json.dumps(saved))
    run("train.py", "--config", "config.json", "--epochs", 1, "--train_path", "run", cwd=second)
    config = checkpoint.load(second / "run" / "last.ckpt").config
    assert config.data.data_path == str(second / "moved")


def check_last_line(result, folder):
    """What a training says of its best.ckpt is what it measured there."""
    line = result.stdout.splitlines()[-1]
    said = re.match(r"trained: (.*best.ckpt) has validation MSE ([0-9.e+-]+)", line)
    assert said[1] == str(folder / "best.ckpt")
    measured = validations(folder)[step_of(folder / "best.ckpt")]
    assert float(said[2]) == pytest.approx(measured, rel=1e-3)
