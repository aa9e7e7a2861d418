"""The Moving MNIST generator.

Source: Srivastava et al. 2015 (arXiv:1502.04681) and the generator that the field has used since:
digits start anywhere in the free range, move in any direction by a tenth of it a frame, and bounce
off its walls.

Sequence i of epoch e is a pure function of (seed, split, e, i): its random numbers are the Philox
stream with key (seed, split) and counter (0, 0, i, e), so that neither the number of workers nor a
resume can change it.
"""

import numpy as np

from src.data.idx import DIGIT_SIZE
from src.data.normalizer import Encoding
from src.data.scale import PIXELS

SPEED = 0.1
SPLITS = {"train": 0, "validation": 1, "test": 2}


class MovingMNIST:
    """Sequences of moving digits, made when they are asked for.

    Args:
        digits: (N, 28, 28), uint8.
        size: sequences in an epoch.
        frames: frames in a sequence.
        image_size: (height, width) in pixels, each more than 28.
        num_digits: numbers of digits; of several each sequence draws one.
        seed: seed of the sequences.
        split: "train", "validation" or "test".
        name: what to call the data in messages.
    """

    def __init__(self, digits, size, frames, image_size, num_digits, seed, split, name):
        self.digits = digits
        self.size = size
        self.num_frames = frames
        self.image_size = tuple(image_size)
        self.num_digits = tuple(num_digits)
        self.key = np.array([seed, SPLITS[split]], np.uint64)
        self.name = name
        self.value_range = PIXELS
        self.encoding = Encoding()

    def __len__(self):
        return self.size

    def frames(self, indices, epoch=0):
        """Makes the sequences `indices` of `epoch`.

        Returns:
            (len(indices), frames, 1, height, width), uint8.
        """
        count, digit, start, direction = self._draw(indices, epoch)
        offsets = trajectories(start, direction, self.num_frames, self._free_range())
        batch = np.zeros((len(indices), self.num_frames, *self.image_size), np.uint8)
        for sequence, n, corners, images in zip(
            batch, count, offsets, self.digits[digit], strict=True
        ):
            _paint(sequence, corners[:n], images[:n])
        return batch[:, :, None]

    def _draw(self, indices, epoch):
        """Of each sequence the number of digits, and each digit's image, start and direction."""
        most = max(self.num_digits)
        draws = 1 + 4 * most
        raw = [
            np.random.Philox(key=self.key, counter=[0, 0, int(i), epoch]).random_raw(draws)
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
    """Draws digits along their paths; where they overlap the brighter pixel stays."""
    for path, digit in zip(corners.tolist(), digits, strict=True):
        for frame, (y, x) in zip(sequence, path, strict=True):
            window = frame[y : y + DIGIT_SIZE, x : x + DIGIT_SIZE]
            np.maximum(window, digit, out=window)


def trajectories(start, direction, frames, free_range):
    """Moves points in the unit square and scales them to pixels.

    A step comes before the first frame. A point that reaches a wall stops there, and that component
    of its velocity turns round.

    Args:
        start: (..., 2), y and x in [0, 1].
        direction: (...), radians; x moves with the cosine, y with the sine.
        frames: number of frames.
        free_range: (2,), pixels that an upper left corner can move down and right.

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
