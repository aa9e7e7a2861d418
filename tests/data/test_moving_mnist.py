"""The generator against a plain-loop restatement of its rules."""

import numpy as np
import pytest

from src.data.moving_mnist import MovingMNIST, trajectories
from tests.plain_generator import plain_path, plain_sequence


def make(digits, **changes):
    settings = {
        "size": 100, "frames": 20, "image_size": (64, 64), "num_digits": (2,), "seed": 3,
        "split": "train", "name": "test",
    }  # fmt: skip
    return MovingMNIST(digits, **{**settings, **changes})


@pytest.mark.parametrize("num_digits", [1, 2, 3])
def test_equals_plain_loops(digits, num_digits):
    source = make(digits, num_digits=(num_digits,))
    got = source.at_epoch(5)[[0, 7, 99]]
    assert got.shape == (3, 20, 1, 64, 64)
    assert got.dtype == np.uint8
    for sequence, index in zip(got, [0, 7, 99], strict=True):
        np.testing.assert_array_equal(
            sequence[:, 0], plain_sequence(digits, 3, 0, 5, index, num_digits, 20)
        )


def test_trajectories_equal_plain_loops(rng):
    start, direction = rng.random((500, 2)), 2 * np.pi * rng.random(500)
    got = trajectories(start, direction, 40, np.array([36, 36]))
    expected = [plain_path(*s, d, 40) for s, d in zip(start, direction, strict=True)]
    np.testing.assert_array_equal(got, expected)


def test_speed_and_bounce():
    """3.6 pixels a frame, a stop at the wall, and back at the same speed."""
    path = trajectories(np.array([0.5, 0.75]), np.array(0.0), 8, np.array([36, 36]))
    np.testing.assert_array_equal(
        path[:, 1], np.floor(36 * np.array([0.85, 0.95, 1, 0.9, 0.8, 0.7, 0.6, 0.5]) + 1e-9)
    )
    np.testing.assert_array_equal(path[:, 0], np.full(8, 18))


def test_a_list_of_digit_counts(digits):
    """Each number of digits comes up about as often as the other."""
    several = make(digits, num_digits=(1, 3))[range(100)].astype(bool).sum((1, 2, 3, 4))
    one = make(digits, num_digits=(1,))[range(100)].astype(bool).sum((1, 2, 3, 4))
    three = make(digits, num_digits=(3,))[range(100)].astype(bool).sum((1, 2, 3, 4))
    ones = several == one
    assert (several[~ones] == three[~ones]).all()
    assert 30 <= ones.sum() <= 70


def test_pure_function_of_seed_split_epoch_and_index(digits):
    source = make(digits)
    whole = source.at_epoch(2)[range(10)]
    np.testing.assert_array_equal(make(digits).at_epoch(2)[[8, 3]], whole[[8, 3]])
    for other in (
        source.at_epoch(3)[range(10)],
        make(digits, seed=4).at_epoch(2)[range(10)],
        make(digits, split="validation").at_epoch(2)[range(10)],
    ):
        assert (other != whole).any((1, 2, 3, 4)).all()


def test_mean_pixel_and_baselines_are_the_fields(digits):
    """1,000 sequences: all zeros 172.4, mean image 151.9, copy of the last frame 283.0."""
    frames = make(digits, size=1000)[range(1000)].astype(np.float32) / 255
    targets, last = frames[:, 10:], frames[:, 9:10]
    assert (targets**2).sum((2, 3, 4)).mean() == pytest.approx(172.4, rel=0.03)
    mean = targets.mean((0, 1))
    assert ((targets - mean) ** 2).sum((2, 3, 4)).mean() == pytest.approx(151.9, rel=0.03)
    assert ((targets - last) ** 2).sum((2, 3, 4)).mean() == pytest.approx(283.0, rel=0.03)


def test_oblong_frames(digits):
    source = make(digits, image_size=(32, 80))
    frames = source[range(20)]
    assert frames.shape == (20, 20, 1, 32, 80)
    assert frames[..., 60:].any()
