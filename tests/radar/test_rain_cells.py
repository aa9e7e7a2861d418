"""Rain that depends on seed, record and frame alone, moves with its wind, and has all rates."""

import numpy as np
import pytest

from src.radar.rain_cells import RainCells

THRESHOLDS = (1, 5, 10)


@pytest.fixture(scope="module")
def rain():
    """60 sequences of 10 frames from frame 95 on, (60, 10, 64, 64)."""
    cells = RainCells(seed=1)
    return np.stack([cells.frames(record, 95, 105) for record in range(60)])


def test_a_frame_is_a_function_of_seed_record_and_time(rain):
    cells = RainCells(seed=1)
    np.testing.assert_array_equal(cells.frames(3, 99, 101), rain[3, 4:6])
    for other in (RainCells(seed=2).frames(3, 95, 96), cells.frames(4, 95, 96)):
        assert (other != rain[3, :1]).any()


def test_rates(rain):
    """mm/h, several percent of all pixels above each threshold, none of them nearly dry."""
    assert rain.dtype == np.float32
    assert rain.max() <= 60
    assert rain[rain > 0].min() >= np.float32(0.1)
    shares = [(rain >= threshold).mean() for threshold in THRESHOLDS]
    for share, low, high in zip(shares, (0.12, 0.04, 0.015), (0.3, 0.12, 0.05), strict=True):
        assert low < share < high


def csi(forecast, truth, threshold):
    told, came = forecast >= threshold, truth >= threshold
    return (told & came).sum() / (told | came).sum()


def test_it_moves(rain):
    """Frame 5, moved by the prevailing wind, is nearer to frame 10 than frame 5 as it is, but not
    the same: cells grow and decay. 9 m/s are 1.62 pixels of 2 km in 6 minutes.
    """
    shift = round(1.62 * 5)
    now, later = rain[:, 4, :, : 64 - shift], rain[:, 9, :, shift:]
    still = rain[:, 4, :, shift:]
    for threshold in THRESHOLDS:
        assert csi(now, later, threshold) > 1.2 * csi(still, later, threshold)
        assert csi(now, later, threshold) < 0.8


def test_cells_grow_and_decay(rain):
    """The rain of a whole sequence changes by half and more in both directions within an hour."""
    change = rain[:, -1].mean((1, 2)) / rain[:, 0].mean((1, 2))
    assert change.min() < 0.67
    assert change.max() > 1.5
