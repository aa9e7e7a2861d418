"""The length of an epoch of a dataset, and how often it is validated, by default and by flags."""

import numpy as np
import pytest

from src.tools import new_run

FLAGS = {"preset": "small", "recipe": None, "config": None, "value_range": (0.0, 100.0)}
FRAMES = {"input_frames": 3, "forecast_frames": 2}


@pytest.mark.parametrize(
    ("windows", "per_step", "size"),
    [(27, 8, 60 * 27), (1600, 8, 1600), (1599, 8, 3198), (5000, 8, 5000), (1, 1, 200)],
)
def test_an_epoch_is_whole_passes_of_two_hundred_steps(windows, per_step, size):
    """59 times 27 windows are 199 steps of 8."""
    assert new_run.epoch_size(windows, per_step) == size


@pytest.mark.parametrize(
    ("size", "held_out", "every"),
    [(1600, 20, 1), (1600, 533, 1), (1600, 534, 2), (8, 1, 1), (8, 9, 4), (1000, 125, 1)],
)
def test_validation_is_a_tenth_of_the_work(size, held_out, every):
    """A validation window is a third of a training one: 178 of 1600 + 178 are a tenth."""
    assert new_run.eval_every(size, held_out) == every
    assert held_out / 3 <= 0.1 * (every * size + held_out / 3) + 1e-9
    assert every == 1 or held_out / 3 > 0.1 * ((every - 1) * size + held_out / 3)


def config_of(path, **flags):
    flags = FLAGS | FRAMES | {"dataset": str(path)} | flags
    return new_run.new_config(flags, "CPU")[0]


def test_a_short_record(tmp_path, capsys):
    """38 training frames are 34 windows; of batches of 8, or of 2 times 4, 48 passes are 204."""
    np.save(tmp_path / "r.npy", np.zeros((60, 8, 12), np.float32))
    for sizes in ({}, {"batch_size": 4, "accumulate_steps": 2}):
        config = config_of(tmp_path / "r.npy", **sizes)
        assert (config.data.epoch_size, config.training.eval_every) == (48 * 34, 1)
        assert config.steps_per_epoch() == 204
        assert "epoch: 34 training windows, 48 times (--epoch_size)" in capsys.readouterr().out
    assert config_of(tmp_path / "r.npy", recipe="published").data.epoch_size == 189 * 34


def test_flags_win(tmp_path, capsys):
    """With epochs of two sequences, two validation windows are due every third epoch."""
    np.save(tmp_path / "r.npy", np.zeros((60, 8, 12), np.float32))
    short = {"epoch_size": 2, "batch_size": 1}
    config = config_of(tmp_path / "r.npy", **short)
    assert (config.data.epoch_size, config.training.eval_every) == (2, 3)
    assert "validation: every 3 epochs, so that its 2 windows take" in capsys.readouterr().out
    config = config_of(tmp_path / "r.npy", **short, eval_every=1)
    assert config.training.eval_every == 1
    assert config_of(tmp_path / "r.npy", **short, eval_size=1).training.eval_every == 2
    again = FLAGS | {"preset": None}
    del again["value_range"]
    assert new_run.new_config(again, "CPU", saved=config)[0] == config


def test_whole_sequences(tmp_path):
    """8 of 10 sequences are trained on, 200 times for steps of 8."""
    np.save(tmp_path / "s.npy", np.zeros((10, 5, 1, 8, 12), np.float32))
    assert config_of(tmp_path / "s.npy").data.epoch_size == 200 * 8
