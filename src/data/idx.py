"""Reads MNIST's idx image files, plain or gzip.

Format: http://yann.lecun.com/exdb/mnist: big-endian 32-bit magic 2051, count, rows, columns, then
one byte a pixel.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from src.errors import InputError

IMAGE_MAGIC = 2051
HEADER_BYTES = 16
DIGIT_SIZE = 28
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


def read_idx_images(path):
    """Reads the images of an idx file.

    Args:
        path: the file; whether it is gzip is read from its first bytes, not from its name.

    Returns:
        (N, 28, 28), uint8.

    Raises:
        InputError: the file is missing or unreadable, is no idx image file, holds images of another
            size, or its length does not fit its header.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == _GZIP_MAGIC
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = file.read(HEADER_BYTES)
            count = _check_header(path, header)
            pixels = _read_at_most(file, count * DIGIT_SIZE**2 + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"{path}: cannot be read: {reason}") from None
    if len(pixels) != count * DIGIT_SIZE**2:
        held = "more" if len(pixels) > count * DIGIT_SIZE**2 else f"{len(pixels):,} bytes"
        raise InputError(
            f"{path}: damaged: its header promises {count:,} images, {count * DIGIT_SIZE**2:,} "
            f"bytes, and it holds {held}; fetch it again"
        )
    return np.frombuffer(pixels, np.uint8).reshape(count, DIGIT_SIZE, DIGIT_SIZE)


def _check_header(path, header):
    """Returns the number of images that a good header promises."""
    if len(header) < HEADER_BYTES:
        raise InputError(
            f"{path}: damaged: {len(header)} bytes are too few for an idx header of 16"
        )
    magic, count, rows, columns = np.frombuffer(header, ">u4").tolist()
    if magic != IMAGE_MAGIC:
        raise InputError(
            f"{path}: not an idx image file: its magic number is {magic}, images have 2051"
        )
    if (rows, columns) != (DIGIT_SIZE, DIGIT_SIZE):
        raise InputError(
            f"{path}: holds images of {rows}x{columns} pixels; digits of 28x28 are needed"
        )
    if not count:
        raise InputError(f"{path}: holds no image")
    return count


def _read_at_most(file, limit):
    """Reads up to `limit` bytes in pieces, so that a false header cannot ask for memory."""
    data = bytearray()
    while len(data) < limit:
        piece = file.read(min(_CHUNK, limit - len(data)))
        if not piece:
            break
        data += piece
    return data
