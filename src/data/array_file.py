"""Arrays of sequences in .npy and .npz files: reading and checking them.

A .npy file is read by memory map; an .npz file, which has no such way, is read whole.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from src.data.sequence_file import UNREADABLE
from src.errors import InputError
from src.tools.progress import progress

# What NumPy raises over damaged archives beside that.
UNREADABLE_ARCHIVE = (
    *UNREADABLE, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
# Sequences that a fingerprint looks at, and bytes that take so long to read that it is shown.
SAMPLED = 16
SHOWN_BYTES = 1 << 29


def read_array(path):
    """The sequences of a file, (N, T, C, H, W), of the type that they are stored in.

    Args:
        path: .npy, or .npz with one array; (N, T, H, W) or (N, T, C, H, W).

    Raises:
        InputError: the file is missing, is no such array, or does not hold numbers.
    """
    path = Path(path)
    try:
        array = _read(path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except UNREADABLE_ARCHIVE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not a readable .npy or .npz file: {reason}") from None
    if not np.issubdtype(array.dtype, np.integer) and not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{path}: holds {array.dtype}; integers or floats are needed")
    if array.ndim not in (4, 5) or 0 in array.shape:
        remedy = "; of one sequence array[None] makes (1, T, H, W)" if array.ndim == 3 else ""
        raise InputError(
            f"{path}: has the shape {array.shape}, and (N, T, H, W) or (N, T, C, H, W) is needed"
            + remedy
        )
    return array if array.ndim == 5 else array[:, :, None]


def _read(path):
    if not zipfile.is_zipfile(path):
        return np.lib.format.open_memmap(path, mode="r")
    # Opened here, because NumPy leaves damaged archives open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            names = ", ".join(archive.files) or "none"
            raise InputError(f"{path}: holds the arrays {names}; exactly one is needed")
        return archive[archive.files[0]]


def check_values(array, path, first_frame=0):
    """The smallest and the largest value, which are to be finite.

    Args:
        array: (N, T, C, H, W).
        path: what to call it in messages.
        first_frame: the number of the array's first frame, for messages.

    Raises:
        InputError: naming how many values are NaN or infinite, and the place of the first.
    """
    lowest, highest, missing, place = np.inf, -np.inf, 0, None
    with progress(len(array), f"check {path}", hidden=array.nbytes < SHOWN_BYTES) as bar:
        for n, sequence in enumerate(array):
            with np.errstate(invalid="ignore"):
                low, high = float(sequence.min()), float(sequence.max())
            if not np.isfinite((low, high)).all():
                wrong = ~np.isfinite(sequence)
                missing += int(wrong.sum())
                place = place or (n, *np.argwhere(wrong)[0].tolist())
            lowest, highest = min(lowest, low), max(highest, high)
            bar.update()
    if place:
        n, t, c, y, x = place
        raise InputError(
            f"{path}: {missing:,} values are NaN or infinite, the first in sequence {n}, frame "
            f"{t + first_frame}, channel {c}, row {y}, column {x} (all from 0): fill them, or "
            "leave these sequences out"
        )
    return lowest, highest


def out_of_range(values, value_range):
    """Says how (lowest, highest) leave `value_range`; "" where they do not, but for rounding."""
    (lowest, highest), (low, high) = values, value_range
    tolerance = 1e-6 * max(abs(low), abs(high))
    if low - tolerance <= lowest and highest <= high + tolerance:
        return ""
    return f"its values reach from {lowest:g} to {highest:g}, beyond value_range {low:g} {high:g}"


def fingerprint(array):
    """A CRC-32 of shape, type and some sequences, which tells one file of sequences from another.

    The split goes by a sequence's place in the file: in another file the test part would be
    sequences that were trained on.
    """
    crc = zlib.crc32(repr((array.shape, array.dtype.str)).encode())
    for n in np.unique(np.linspace(0, len(array) - 1, SAMPLED).astype(int)):
        crc = zlib.crc32(np.ascontiguousarray(array[n]), crc)
    return crc
