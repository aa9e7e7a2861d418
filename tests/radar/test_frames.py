"""Rain rates and reflectivities, parts of frames, and means that know what is missing."""

import numpy as np
import pytest

from src.errors import InputError
from src.formats.cf.units import rain_rate
from src.radar.frames import Frame, RadarGrid, to_dbz


def frame_of(values, unit="mm/h", minutes=None):
    rows, columns = values.shape
    return Frame(values, unit, RadarGrid(None, np.arange(columns), -np.arange(rows)), minutes)


def test_there_and_back():
    """Z = 200 R^1.6: 1 mm/h is 23.01 dBZ; no rain is -32 dBZ."""
    rates = np.array([0.1, 1, 10, 100])
    np.testing.assert_allclose(to_dbz(1.0, (200, 1.6)), 10 * np.log10(200))
    np.testing.assert_allclose(rain_rate(to_dbz(rates, (200, 1.6)), (200, 1.6)), rates)
    assert to_dbz(0.0, (200, 1.6)) == -32


def test_a_dry_amount_and_a_missing_one_stay_so():
    frame = frame_of(np.array([[0.0, np.nan, 2.0]]), "mm", 10.0)
    np.testing.assert_array_equal(frame.as_unit("mm/h").values, [[0, np.nan, 12]])
    np.testing.assert_allclose(
        frame.as_unit("dBZ").values, [[-32, np.nan, 10 * np.log10(200 * 12**1.6)]]
    )


@pytest.mark.parametrize(("missing", "mean"), [(4, 1.0), (5, np.nan), (9, np.nan)])
def test_a_pixel_is_missing_if_more_than_half_is(missing, mean):
    values = np.ones(9)
    values[:missing] = np.nan
    coarse = frame_of(values.reshape(3, 3)).coarsen(3)
    np.testing.assert_array_equal(coarse.values, [[mean]])


def test_the_rest_is_left_out():
    """7x8 by 3 leaves row 6 and columns 6 and 7."""
    values = np.arange(56.0).reshape(7, 8)
    coarse = frame_of(values).coarsen(3)
    np.testing.assert_allclose(coarse.values[1, 1], values[3:6, 3:6].mean())
    np.testing.assert_array_equal(coarse.grid.x, [1, 4])
    np.testing.assert_array_equal(coarse.grid.y, [-1, -4])
    with pytest.raises(InputError, match="coarsen is 8: the frames have 7x8 pixels"):
        frame_of(values).coarsen(8)


def test_a_crop_beyond_the_frame_is_refused():
    frame = frame_of(np.zeros((7, 8)))
    assert frame.crop(2, 3, 5, 5).grid.shape == (5, 5)
    with pytest.raises(InputError, match="crop takes rows 2 to 7 and columns 3 to 7"):
        frame.crop(2, 3, 6, 5)


def test_grids_differ_by_more_than_a_hundredth_of_a_pixel():
    grid = RadarGrid(None, np.array([0.0, 1000]), np.array([1000.0, 0]))
    near = RadarGrid(None, grid.x + 9, grid.y)
    assert not grid.difference(near)
    assert grid.difference(RadarGrid(None, grid.x + 11, grid.y)) == "other values of x"
