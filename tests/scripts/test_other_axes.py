"""The official test set given as own data: refused by its looks, and the same scores by --axes."""

import json

import numpy as np
import pytest

from src.config.presets import make_config
from src.data.sources import evaluation_source
from tests.scripts.conftest import run_here
from tests.scripts.test_bad_input import refuse


@pytest.fixture(scope="module")
def test_set(tmp_path_factory):
    """A file as mnist_test_seq.npy, of four sequences of moving digits, (20, 4, 64, 64)."""
    folder = tmp_path_factory.mktemp("test set")
    frames = evaluation_source(make_config("small", {}))[range(4)]
    np.save(folder / "mnist_test_seq.npy", frames[:, :, 0].swapaxes(0, 1))
    return folder / "mnist_test_seq.npy"


@pytest.mark.parametrize(
    "command",
    [
        ["train.py", "--train_path", "run", "--dataset"],
        ["test.py", "--dataset"],
        ["predict.py", "--output", "out", "--input"],
    ],
)
def test_time_first_is_asked_for(tmp_path, test_set, command):
    line = refuse(tmp_path, *command, test_set, "--value_range", 0, 255)
    assert "has the shape (20, 4, 64, 64), which looks like TNHW" in line
    assert line.endswith("say which it is, --axes TNHW or --axes NTHW")


def test_the_same_scores_by_either_flag(tmp_path, test_set):
    """--dataset with --axes TNHW and --workroot measure the same four sequences."""
    options = ["--batch_size", 4, "--json"]
    given = ["--dataset", test_set, "--axes", "TNHW", "--value_range", 0, 255]
    own = run_here("test.py", *given, *options, tmp_path / "own.json").stdout
    run_here("test.py", "--workroot", test_set.parent, *options, tmp_path / "official.json")
    found, expected = (json.loads((tmp_path / f"{name}.json").read_text()) for name in
        ("own", "official"))  # fmt: skip
    assert found["sequences"] == expected["sequences"] == 4
    assert found["mse"] == expected["mse"]
    assert "(all 4 sequences, axes TNHW)" in own
