"""The generator's rules as plain loops, frame by frame: what `src.data.moving_mnist` has to equal.

The benchmark of the data measures against it too.
"""

import math

import numpy as np


def plain_path(y, x, direction, frames):
    """The upper left corners of one digit, step by step, on 36 free pixels."""
    vy, vx = 0.1 * math.sin(direction), 0.1 * math.cos(direction)
    corners = []
    for _ in range(frames):
        y, x = y + vy, x + vx
        if y <= 0:
            y, vy = 0.0, -vy
        if y >= 1:
            y, vy = 1.0, -vy
        if x <= 0:
            x, vx = 0.0, -vx
        if x >= 1:
            x, vx = 1.0, -vx
        corners.append((math.floor(36 * y), math.floor(36 * x)))
    return corners


def plain_sequence(digits, seed, split, epoch, index, num_digits, frames):
    """One sequence, (frames, 64, 64), uint8, from the Philox stream that its numbers name."""
    raw = np.random.Philox(
        key=np.array([seed, split], np.uint64), counter=[0, 0, index, epoch]
    ).random_raw(1 + 4 * num_digits)
    uniform = [(int(r) >> 11) / 2**53 for r in raw[1:]]
    sequence = np.zeros((frames, 64, 64), np.uint8)
    for d in range(num_digits):
        image, x, y, turn = uniform[4 * d : 4 * d + 4]
        digit = digits[int(image * len(digits))]
        for t, (top, left) in enumerate(plain_path(y, x, 2 * math.pi * turn, frames)):
            old = sequence[t, top : top + 28, left : left + 28]
            sequence[t, top : top + 28, left : left + 28] = np.where(old > digit, old, digit)
    return sequence
