"""The official Moving MNIST test set: one .npy file, read by memory map."""

from pathlib import Path
from tokenize import TokenError

import numpy as np

from src.data.normalizer import Encoding
from src.data.scale import PIXELS
from src.errors import InputError

TEST_FRAMES = 20
# What NumPy is known to raise over damaged headers; found by fuzzing.
UNREADABLE = (
    OSError, ValueError, EOFError, SyntaxError, TokenError, TypeError, OverflowError, MemoryError,
)  # fmt: skip


class SequenceFile:
    """Sequences of `mnist_test_seq.npy`, uint8, (20, N, H, W), time first; never loaded whole.

    Args:
        path: the file.
        frames: frames that are needed of each sequence, at most 20.
        image_size: (height, width) that the frames must have.

    Raises:
        InputError: the file is missing, is no such array, or its frames do not fit.
    """

    def __init__(self, path, frames, image_size):
        path = Path(path)
        self.name = str(path)
        self.num_frames = frames
        self.value_range = PIXELS
        self.encoding = Encoding()
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

    def frames(self, indices, epoch=0):
        """(len(indices), frames, 1, H, W), uint8; every epoch is the same."""
        batch = self.array[: self.num_frames, indices]
        return np.ascontiguousarray(batch.swapaxes(0, 1))[:, :, None]
