"""Values of the data <-> [0, 1] of the network."""

import numpy as np
import pytest

from src.data.normalizer import check_value_range, denormalize, normalize
from src.errors import InputError


def test_pixels():
    """0 and 255 become 0 and 1 exactly, and nothing else comes near."""
    values = normalize(np.arange(256, dtype=np.uint8))
    assert values.dtype == np.float32
    assert values[0] == 0
    assert values[255] == 1
    np.testing.assert_allclose(np.diff(values), 1 / 255, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i2", "u2", "i8", "u1"])
def test_every_type_and_back(dtype):
    values = np.array([[10, 20, 35, 60]], dtype)
    scaled = normalize(values, (10.0, 60.0))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0, 0.2, 0.5, 1]], rtol=1e-6)
    np.testing.assert_allclose(denormalize(scaled, (10.0, 60.0)), values, rtol=1e-6)


def test_an_offset_costs_no_digits():
    """Of 1e6 + x a float32 keeps no more than a sixteenth of x."""
    values = 1e6 + np.array([[0.01, 0.5, 0.99]])
    np.testing.assert_allclose(normalize(values, (1e6, 1e6 + 1)), values - 1e6, rtol=1e-6)


def test_nothing_is_clipped():
    np.testing.assert_allclose(denormalize(np.float32([-0.5, 1.5]), (0.0, 10.0)), [-5, 15])


@pytest.mark.parametrize("wrong", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_wrong_ranges(wrong):
    with pytest.raises(InputError, match="the second value must be the greater"):
        check_value_range(wrong, "file.npy")
    with pytest.raises(InputError, match="file.npy: needs --value_range LOW HIGH"):
        check_value_range(None, "file.npy")
