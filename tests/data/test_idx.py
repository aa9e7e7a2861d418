"""The idx reader on good and on broken files."""

import gzip
import struct

import numpy as np
import pytest

from src.data.moving_mnist import read_idx_images
from src.errors import InputError


def idx_bytes(images, magic=2051, count=None, size=(28, 28)):
    """An idx file's bytes, with a header that may lie."""
    count = len(images) if count is None else count
    return struct.pack(">4I", magic, count, *size) + images.tobytes()


@pytest.fixture
def images(digits):
    return digits[:20]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_good_files(tmp_path, images, compress):
    """Plain and gzip, whatever the name says."""
    path = tmp_path / "images.gz"
    path.write_bytes(compress(idx_bytes(images)))
    np.testing.assert_array_equal(read_idx_images(path), images)


def test_embedded_digits(digits):
    """The MNIST test set: 10,000 images; the first is a seven with 116 bright pixels of 784."""
    assert digits.shape == (10_000, 28, 28)
    assert digits.dtype == np.uint8
    assert (digits[0] > 0).sum() == 116


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: idx_bytes(i, magic=2049), "magic number is 2049"),
        (lambda i: idx_bytes(i, size=(32, 32)), "32x32"),
        (lambda i: idx_bytes(i, count=0), "no image"),
        (lambda i: idx_bytes(i, count=21), "promises 21 images"),
        (lambda i: idx_bytes(i, count=2**32 - 1), "promises 4,294,967,295 images"),
        (lambda i: idx_bytes(i, count=19), "holds more"),
        (lambda i: idx_bytes(i)[:-1], "promises 20 images"),
        (lambda i: idx_bytes(i)[:9], "too few"),
        (lambda i: b"", "too few"),
    ],
)
def test_broken_files(tmp_path, images, compress, change, message):
    path = tmp_path / "images"
    path.write_bytes(compress(change(images)))
    with pytest.raises(InputError, match=message) as error:
        read_idx_images(path)
    assert str(path) in str(error.value)


def test_cut_and_damaged_gzip(tmp_path, images):
    whole = gzip.compress(idx_bytes(images))
    path = tmp_path / "images.gz"
    for content in (whole[: len(whole) // 2], whole[:-8], whole[:200] + b"\0\0\0\0" + whole[204:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read|damaged"):
            read_idx_images(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_idx_images(tmp_path / "nothing")
