"""The order of an array's axes: the usual one, one that is given, and one that is asked for."""

import numpy as np
import pytest

from src.config.schema import DataConfig
from src.data.own_data import open_file
from src.errors import InputError
from src.formats.arrays import RECORD, SEQUENCES, in_order, read_array
from src.formats.images import read_sequences
from src.formats.options import ReadOptions
from src.formats.readers import open_readers

# Shapes as people have them, all in the usual order; 10 frames are read and 10 forecast.
VALID = [
    (1, 20, 64, 64), (20, 20, 64, 64), (100, 20, 64, 64), (10_000, 20, 64, 64), (7, 25, 64, 64),
    (5, 40, 32, 32), (3, 20, 48, 64), (64, 20, 64, 64), (2, 20, 20, 20), (30, 24, 20, 20),
    (8, 20, 1, 64, 64), (20, 20, 3, 64, 64), (3, 20, 3, 32, 32), (1, 20, 2, 480, 640),
    (50, 30, 1, 128, 128), (500, 64, 64), (20, 64, 64), (1000, 480, 640), (64, 64, 64),
    (365, 18, 432),
]  # fmt: skip


def array_of(shape, dtype=np.float32):
    """An array without memory of its own: only its shape counts here."""
    return np.broadcast_to(np.zeros((), dtype), shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", VALID)
def test_twenty_shapes_in_the_usual_order(shape, dtype):
    wanted = RECORD if len(shape) == 3 else SEQUENCES
    got = in_order(array_of(shape, dtype), "x.npy", wanted, None, (20,))
    assert got.shape == (shape if len(shape) == 5 else (*shape[:-2], 1, *shape[-2:]))


@pytest.mark.parametrize(
    ("shape", "dtype", "likely"),
    [
        ((20, 10_000, 64, 64), np.uint8, "TNHW"),
        ((20, 12, 48, 80), np.float32, "TNHW"),
        ((20, 5, 1, 64, 64), np.float32, "TNCHW"),
        ((100, 64, 64, 20), np.float32, "NHWT"),
        ((500, 64, 64, 1), np.uint8, "THWC"),
        ((500, 64, 64, 3), np.uint8, "THWC"),
        ((100, 20, 64, 64, 3), np.uint8, "NTHWC"),
        ((20, 100, 64, 64, 1), np.uint8, "TNHWC"),
        ((100, 3, 20, 64, 64), np.uint8, "NCTHW"),
    ],
)
def test_what_looks_like_another_order_is_asked_for(tmp_path, shape, dtype, likely):
    """The flag that the message names reads the array, and the usual order is read if asked for."""
    array = array_of(shape, dtype)
    usual = "NTHW" if len(shape) == 4 else "NTCHW"
    with pytest.raises(
        InputError, match=f"looks like {likely}, .*--axes {likely} or --axes {usual}"
    ):
        in_order(array, "x.npy", SEQUENCES, None, (20,))
    assert in_order(array, "x.npy", SEQUENCES, usual, (20,)).shape[:2] == shape[:2]
    sizes = dict(zip(likely, shape, strict=True))
    got = in_order(array, "x.npy", SEQUENCES, likely.lower(), (20,)).shape
    assert got == tuple(sizes.get(axis, 1) for axis in SEQUENCES)


def test_the_test_set_is_known_with_any_number_of_frames():
    """uint8 (20, N, 64, 64), for a network of other lengths too; but for one that fits as it is."""
    for frames in ((6,), (15, 10)):
        with pytest.raises(InputError, match="looks like TNHW"):
            in_order(array_of((20, 500, 64, 64), np.uint8), "x.npy", SEQUENCES, None, frames)
    as_it_is = array_of((20, 6, 64, 64), np.uint8)
    assert in_order(as_it_is, "x.npy", SEQUENCES, None, (6,)).shape == (20, 6, 1, 64, 64)
    inputs = array_of((20, 10, 48, 48))
    assert in_order(inputs, "x.npy", SEQUENCES, None, (20, 10)).shape == (20, 10, 1, 48, 48)


@pytest.mark.parametrize("axes", ["NTHW", "TNHW", "NHWT", "HWTN", "tnwh"])
def test_values_in_a_given_order(tmp_path, axes, rng):
    """Whatever the order in the file, the same sequences are read, as arrays and as own data."""
    values = rng.integers(0, 9, (3, 6, 8, 10), np.uint8)
    letters = axes.upper()
    np.save(tmp_path / "x.npy", values.transpose(["NTHW".index(each) for each in letters]))
    for got in (
        read_array(tmp_path / "x.npy", axes),
        read_sequences(tmp_path / "x.npy", 1, axes),
        open_file(
            tmp_path / "x.npy", DataConfig(axes=axes, input_frames=3, forecast_frames=3)
        ).array,
    ):
        np.testing.assert_array_equal(got[:, :, 0], values)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("axes", ["THWC", "HWTC", "CTHW"])
def test_a_record_in_a_given_order(tmp_path, axes, suffix, rng):
    values = rng.integers(0, 9, (12, 3, 8, 10), np.uint8)
    path = tmp_path / f"x.{suffix}"
    array = values.transpose(["TCHW".index(each) for each in axes])
    (np.save if suffix == "npy" else np.savez)(path, array)
    reader = open_readers(path, ReadOptions(axes=axes))[0]
    assert reader.shape == values.shape
    np.testing.assert_array_equal(reader.read(2, 7), values[2:7])
    file = open_file(path, DataConfig(axes=axes))
    assert file.is_record
    np.testing.assert_array_equal(file.record.read(0, 12), values)


def test_a_record_with_channels_last_is_asked_for(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((50, 16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="looks like THWC, and without --axes is read as TCHW"):
        open_readers(tmp_path / "x.npy", ReadOptions())[0]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("NTH", "axes is 'NTH': it must have T .frames., H .rows. and W"),
        ("NTHX", "axes is 'NTHX': it must have"),
        ("TTHW", "axes is 'TTHW': it must have"),
        ("THW", r"has the shape \(3, 6, 8, 10\), and axes is THW"),
        ("NTCHW", r"has the shape \(3, 6, 8, 10\), and axes is NTCHW"),
    ],
)
def test_orders_that_cannot_be(tmp_path, axes, message):
    np.save(tmp_path / "x.npy", np.zeros((3, 6, 8, 10), np.uint8))
    with pytest.raises(InputError, match=message):
        open_file(tmp_path / "x.npy", DataConfig(axes=axes))
