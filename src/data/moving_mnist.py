"""Moving MNIST: its digits, its generator, and the official test set.

Digits: MNIST's idx image files (http://yann.lecun.com/exdb/mnist): big-endian 32-bit magic 2051,
count, rows, columns, then one byte per pixel; plain or gzip.

Generator: that of Srivastava et al. 2015 (arXiv:1502.04681), which the field has used since. Each
digit starts at a random position, moves in a random direction by a tenth of its free range per
frame, and bounces off the edges of the frame.

Sequence i of epoch e is a pure function of (seed, split, e, i): its random numbers are the Philox
stream with key (seed, split) and counter (0, 0, i, e). Neither the number of workers nor resuming
changes it.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from src.data.dataset import Dataset
from src.data.normalizer import Normalizer
from src.errors import InputError
from src.formats.arrays import UNREADABLE

IMAGE_MAGIC = 2051
HEADER_BYTES = 16
DIGIT_SIZE = 28
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
SPEED = 0.1
SPLITS = {"train": 0, "validation": 1, "test": 2}
TEST_FRAMES = 20


def read_idx_images(path):
    """Reads the images of an idx file.

    Args:
        path: the file; its first bytes, not its name, tell whether it is gzip.

    Returns:
        (N, 28, 28), uint8.

    Raises:
        InputError: the file is missing or unreadable, is not an idx image file, holds images of
            another size, or its length does not fit its header.
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
            f"bytes, and it holds {held}; download it again"
        )
    return np.frombuffer(pixels, np.uint8).reshape(count, DIGIT_SIZE, DIGIT_SIZE)


def _check_header(path, header):
    """Checks an idx header and returns its number of images."""
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
    """Reads up to `limit` bytes in pieces, so that a damaged header cannot exhaust the memory."""
    data = bytearray()
    while len(data) < limit:
        piece = file.read(min(_CHUNK, limit - len(data)))
        if not piece:
            break
        data += piece
    return data


class MovingMNIST(Dataset):
    """Sequences of moving digits, generated when they are read.

    Args:
        digits: (N, 28, 28), uint8.
        size: sequences in an epoch.
        frames: frames in a sequence.
        image_size: (height, width) in pixels, each more than 28.
        num_digits: numbers of digits, of which each sequence takes one at random.
        seed: seed of the sequences.
        split: "train", "validation" or "test".
        name: name of the data in messages.
    """

    def __init__(self, digits, size, frames, image_size, num_digits, seed, split, name):
        self.digits = digits
        self.size = size
        self.image_size = tuple(image_size)
        self.shape = frames, 1, *self.image_size
        self.num_digits = tuple(num_digits)
        self.key = np.array([seed, SPLITS[split]], np.uint64)
        self.name = name
        self.normalizer = Normalizer()

    def __len__(self):
        return self.size

    def __getitem__(self, indices):
        """The sequences, (len(indices), frames, 1, height, width), uint8."""
        count, digit, start, direction = self._draw(indices)
        offsets = trajectories(start, direction, self.shape[0], self._free_range())
        batch = np.zeros((len(indices), self.shape[0], *self.image_size), np.uint8)
        for sequence, n, corners, images in zip(
            batch, count, offsets, self.digits[digit], strict=True
        ):
            _paint(sequence, corners[:n], images[:n])
        return batch[:, :, None]

    def _draw(self, indices):
        """Draws each sequence's number of digits, and each digit's image, start and direction."""
        most = max(self.num_digits)
        draws = 1 + 4 * most
        raw = [
            np.random.Philox(key=self.key, counter=[0, 0, int(i), self.epoch]).random_raw(draws)
            for i in indices
        ]
        uniform = (np.array(raw, np.uint64) >> np.uint64(11)) * 2.0**-53
        count = (uniform[:, 0] * len(self.num_digits)).astype(int)
        image, x, y, turn = uniform[:, 1:].reshape(-1, most, 4).transpose(2, 0, 1)
        return (
            np.array(self.num_digits)[count],
            (image * len(self.digits)).astype(int),
            np.stack([y, x], -1),
            2 * np.pi * turn,
        )

    def _free_range(self):
        return np.array(self.image_size) - DIGIT_SIZE


def _paint(sequence, corners, digits):
    """Paints digits along their paths; where they overlap, the brighter pixel counts."""
    for path, digit in zip(corners.tolist(), digits, strict=True):
        for frame, (y, x) in zip(sequence, path, strict=True):
            window = frame[y : y + DIGIT_SIZE, x : x + DIGIT_SIZE]
            np.maximum(window, digit, out=window)


def trajectories(start, direction, frames, free_range):
    """The paths of digits: points that move in the unit square, scaled to pixels.

    The points take a step before the first frame. A point that would leave the square stops at its
    edge, and that component of its velocity changes sign.

    Args:
        start: (..., 2), y and x in [0, 1].
        direction: (...), radians; x moves with the cosine, y with the sine.
        frames: number of frames.
        free_range: (2,), pixels by which the upper left corner can move down and right.

    Returns:
        (..., frames, 2), the upper left corners y and x in pixels, int.
    """
    position = np.array(start)
    velocity = SPEED * np.stack([np.sin(direction), np.cos(direction)], -1)
    path = np.empty((*position.shape[:-1], frames, 2))
    for t in range(frames):
        position += velocity
        outside = (position <= 0) | (position >= 1)
        np.clip(position, 0, 1, out=position)
        np.negative(velocity, out=velocity, where=outside)
        path[..., t, :] = position
    return (path * free_range).astype(int)


class SequenceFile(Dataset):
    """The official test set, mnist_test_seq.npy: uint8, (20, N, H, W), time first; memory-mapped.

    Args:
        path: the file.
        frames: number of frames to use of each sequence, at most 20.
        image_size: (height, width) that the frames must have.

    Raises:
        InputError: the file is missing or not such an array, or its frames do not fit.
    """

    def __init__(self, path, frames, image_size):
        path = Path(path)
        self.name = str(path)
        self.shape = frames, 1, *image_size
        self.normalizer = Normalizer()
        try:
            self.array = np.lib.format.open_memmap(path, mode="r")
        except FileNotFoundError:
            raise InputError(
                f"{path}: not found; it is the Moving MNIST test set, 819 MB"
            ) from None
        except UNREADABLE as error:
            raise InputError(
                f"{path}: not a readable .npy array: {str(error).splitlines()[0]}"
            ) from None
        shape, expected = self.array.shape, (TEST_FRAMES, "N", *image_size)
        if self.array.dtype != np.uint8:
            raise InputError(f"{path}: holds {self.array.dtype}, and uint8 is needed")
        if (
            len(shape) != 4
            or shape[0] != TEST_FRAMES
            or shape[1] < 1
            or shape[2:] != tuple(image_size)
        ):
            wanted = ", ".join(map(str, expected))
            raise InputError(f"{path}: has the shape {shape}, and ({wanted}) is needed, time first")
        if frames > TEST_FRAMES:
            raise InputError(
                f"{path}: has {TEST_FRAMES} frames a sequence, and the checkpoint needs {frames} "
                "(input_frames + forecast_frames)"
            )

    def __len__(self):
        return self.array.shape[1]

    def __getitem__(self, indices):
        """The sequences, (len(indices), frames, 1, H, W), uint8; the same in every epoch."""
        batch = self.array[: self.shape[0], indices]
        return np.ascontiguousarray(batch.swapaxes(0, 1))[:, :, None]
