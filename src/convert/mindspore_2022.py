"""The checkpoints of the 2022 MindSpore version."""

import math

from src import checkpoint
from src.errors import InputError

MOMENTS = ("moment1.", "moment2.")


def read(path):
    """The network's parameters in a checkpoint, arrays by name, and the names of all that is left
    out: Adam's moments, and the single numbers that optimizer and loss scale keep.

    Raises:
        InputError: the file cannot be read or is no checkpoint of MindSpore.
    """
    arrays = checkpoint.read_arrays(path)
    left_out = [
        name
        for name, array in arrays.items()
        if name.startswith(MOMENTS) or (math.prod(array.shape) == 1 and not array.ndim > 1)
    ]
    weights = {name: array for name, array in arrays.items() if name not in left_out}
    if not weights:
        raise InputError(f"{path}: holds no weights")
    return weights, left_out
