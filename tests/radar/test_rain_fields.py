"""Synthetic rain of many kinds: what is drawn is what is seen."""

import dataclasses

import numpy as np
import pytest

from src.radar import rain_fields
from src.radar.rain_fields import RainFields, draw_kind
from tests.scripts.conftest import run_here


@pytest.fixture
def steady(monkeypatch):
    """Fields that last, and move by 1.5 pixels down and 2 to the right in a frame."""

    def kind(rng):
        steady = {"life": np.inf, "wind": np.array([1.5, 2.0]), "gradient": np.zeros((2, 2))}
        return dataclasses.replace(draw_kind(rng), wet=0.4, **steady)

    monkeypatch.setattr(rain_fields, "draw_kind", kind)
    monkeypatch.setattr(rain_fields, "RADAR_CHANCE", 0.0)


def test_rain_moves_with_the_wind(steady):
    """After two frames every pixel is 3 rows further down and 4 columns further right."""
    frames = RainFields(1, 3, (48, 40)).sequence(0)
    np.testing.assert_allclose(frames[2, 3:, 4:], frames[0, :-3, :-4], rtol=1e-4)
    assert 0.39 < (frames[0] > 0).mean() < 0.41


def test_a_sequence_is_a_function_of_seed_and_number():
    first = RainFields(1, 4, (32, 32))
    np.testing.assert_array_equal(first.sequence(5), RainFields(1, 4, (32, 32)).sequence(5))
    assert not np.array_equal(first.sequence(5), first.sequence(6), equal_nan=True)
    assert not np.array_equal(
        first.sequence(5), RainFields(2, 4, (32, 32)).sequence(5), equal_nan=True
    )


def test_what_is_drawn():
    """Rates are 0 or from 0.1 to 100 mm/h; about half have an edge of range, at all times one."""
    sequences = [RainFields(1, 3, (32, 32)).sequence(n) for n in range(40)]
    for frames in sequences:
        rates = frames[frames > 0]
        assert rates.min() >= 0.1 - 1e-6
        assert rates.max() <= 100
        assert (np.isnan(frames) == np.isnan(frames[:1])).all()
    assert 10 < sum(np.isnan(frames).any() for frames in sequences) < 30


def test_the_script(tmp_path):
    path = tmp_path / "f.npy"
    command = ["scripts/make_rain_fields.py", path, "--sequences", 2, "--image_size", 24, 32]
    run_here(*command, "--frames", 3)
    array = np.load(path)
    assert (array.shape, array.dtype) == ((2, 3, 24, 32), np.float16)
    expected = RainFields(1, 3, (24, 32)).sequence(1).astype(np.float16)
    np.testing.assert_array_equal(array[1], expected)
    assert "exists already" in run_here(*command, expect=2).stderr
