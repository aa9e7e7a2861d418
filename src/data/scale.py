"""The one place where values change their scale: those of the data <-> [0, 1] of the network."""

import numpy as np

from src.errors import InputError

# Black and white of uint8 pixels.
PIXELS = (0.0, 255.0)


def to_unit_range(frames, value_range=PIXELS):
    """Values -> float32, contiguous; the two values of `value_range` become 0 and 1.

    Args:
        frames: (B, ...), any real type.
        value_range: (low, high), in the units of `frames`.
    """
    low, high = value_range
    scaled = np.empty(frames.shape, np.float32)
    # What a float32 cannot hold exactly is shifted before it is rounded: 280.15 K - 273.15 K.
    exact = np.result_type(frames.dtype, np.float32)
    # One sequence at a time stays in the cache between the two steps.
    for k in range(len(frames)):
        piece, values = scaled[k : k + 1], frames[k : k + 1]
        piece[:] = np.subtract(values, low, dtype=exact) if low else values
        piece /= np.float32(high - low)
    return scaled


def from_unit_range(frames, value_range=PIXELS):
    """The way back, float32; nothing is clipped."""
    low, high = value_range
    return (frames.astype(np.float64) * (high - low) + low).astype(np.float32)


def check_value_range(value_range, file):
    """Raises `InputError` unless a file's scale is given and its second value is the greater."""
    if value_range is None:
        raise InputError(
            f"{file}: needs --value_range LOW HIGH, the two values that become 0 and 1: 0 255 for "
            "8-bit pixels"
        )
    low, high = value_range
    if not -np.inf < low < high < np.inf:
        raise InputError(
            f"value_range is {low:g} {high:g}: the second value must be the greater, both finite"
        )
