"""Arrays in .npy and .npz files: reading, checks and statistics of their values.

A .npy file is memory-mapped; an .npz file cannot be and is read whole.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError

import numpy as np

from src.errors import InputError
from src.runtime.files import is_hidden
from src.runtime.progress import progress

# Exceptions that NumPy raises on damaged headers, found by fuzzing.
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TokenError,
    TypeError,
    OverflowError,
    MemoryError,
)
# Exceptions that NumPy raises on damaged archives.
UNREADABLE_ARCHIVE = (
    *UNREADABLE,
    KeyError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
# The axes of sequences and of a record: sequence, frame, channel, row, column.
SEQUENCES, RECORD = "NTCHW", "TCHW"
# Numbers of channels of pictures, and the shape of mnist_test_seq.npy but for its second axis.
CHANNELS, MNIST_TEST = (1, 3), (20, 64, 64)
# The number of sequences or frames in a fingerprint.
SAMPLED = 16
# Bytes to read at a time.
PIECE_BYTES = 1 << 24
# Progress is shown from this size on.
SHOWN_BYTES = 1 << 29


def read_array(path, axes=None, frames=()):
    """Reads the sequences of a file, (N, T, C, H, W), in the type in which they are stored.

    Args:
        path: .npy, or .npz with one array; (N, T, H, W) or (N, T, C, H, W) unless `axes` is given.
        axes, frames: as for `in_order`.

    Raises:
        InputError: the file is missing, has another shape, or does not hold numbers.
    """
    array = read_file(path)
    if axes is None and (array.ndim not in (4, 5) or 0 in array.shape):
        remedy = "; save one sequence as array[None], (1, T, H, W)" if array.ndim == 3 else ""
        raise InputError(
            f"{path}: has the shape {array.shape}, and (N, T, H, W) or (N, T, C, H, W) is needed"
            + remedy
        )
    return in_order(array, path, SEQUENCES, axes, frames)


def in_order(array, path, wanted, axes=None, frames=()):
    """An array with its axes in another order; one that it lacks has the size 1.

    Args:
        array: the array.
        path: name of the data in messages.
        wanted: the order, `SEQUENCES` or `RECORD`.
        axes: the array's own order, such as "TNHW"; default: as `wanted`, if need be without C.
        frames: the numbers of frames that a sequence should have, of whole ones first. Without
            `axes`, an array that fits by another order alone is refused.

    Raises:
        InputError: the axes are none that the array can have.
    """
    shape, usual = array.shape, wanted[-array.ndim :]
    if array.ndim < len(wanted):
        usual = wanted.replace("C", "")
    likely = None if axes else _likely_order(shape, array.dtype, usual, frames)
    if likely:
        raise InputError(
            f"{path}: has the shape {shape}, which looks like {likely}, and without --axes is read "
            f"as {usual}: say which it is, --axes {likely} or --axes {usual}"
        )
    order = check_axes(axes) if axes else usual
    if len(order) != array.ndim or 0 in shape:
        raise InputError(f"{path}: has the shape {shape}, and axes is {order}")
    if not set(order) <= set(wanted):
        raise InputError(
            f"{path}: is read as one record, (T, H, W) or (T, C, H, W): axes is {order}"
        )
    array = array.transpose([order.index(axis) for axis in wanted if axis in order])
    return array[tuple(slice(None) if axis in order else None for axis in wanted)]


def check_axes(axes):
    """The order of axes in capital letters; raises `InputError` unless it can be one."""
    order = axes.upper()
    if len(set(order)) == len(order) and {*"THW"} <= set(order) <= set(SEQUENCES):
        return order
    raise InputError(
        f"axes is {axes!r}: it must have T (frames), H (rows) and W (columns), and may have N "
        "(sequences) and C (channels), each once: THW, TNHW or NTHWC for example"
    )


def _likely_order(shape, dtype, usual, frames):
    """The one order of axes that fits a shape where the usual one does not; else None."""
    whole = frames[0] if frames else None
    channels_last = shape[-1] in CHANNELS and shape[-3] == shape[-2]
    if len(usual) < 4 or usual == RECORD:
        return "THWC" if usual == RECORD and channels_last else None
    of_test_set = dtype == np.uint8 and (shape[0], *shape[2:]) == MNIST_TEST
    time_first = (shape[0] == whole or of_test_set) and shape[1] not in frames
    if usual == SEQUENCES:
        if shape[1] in CHANNELS and shape[2] == whole and shape[1] not in frames:
            return "NCTHW"
        order = ("TN" if time_first else "NT") + ("HWC" if channels_last else "CHW")
        return order if order != usual else None
    time_last = shape[-1] == whole and shape[1] == shape[2] and shape[1] not in frames
    fitting = {"TNHW": time_first and shape[-1] not in CHANNELS, "NHWT": time_last}
    fitting["THWC"] = shape[-1] in CHANNELS and shape[1] == shape[2] and not time_last
    found = [order for order, fits in fitting.items() if fits]
    return found[0] if len(found) == 1 else None


def read_file(path):
    """Reads a .npy or .npz file of numbers of any shape; raises as `read_array` does."""
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
    return array


def is_archive(path):
    """Whether a file's content, not its name, is that of an .npz file."""
    return zipfile.is_zipfile(path)


def _read(path):
    if not is_archive(path):
        return np.lib.format.open_memmap(path, mode="r")
    # The file is opened here because NumPy does not close damaged archives.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = [name for name in archive.files if not is_hidden(Path(name))]
        if len(names) != 1:
            found = ", ".join(names) or "none"
            raise InputError(f"{path}: holds the arrays {found}; exactly one is needed")
        return archive[names[0]]


def npy_header(shape, dtype="<f4"):
    """The header of a .npy file of this shape and type."""
    header = io.BytesIO()
    layout = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    return header.getvalue()


def check_values(array, path, first_frame=0, missing=False):
    """Checks that values are finite; returns the smallest and the largest.

    Args:
        array: (N, T, C, H, W).
        path: name of the data in messages.
        first_frame: the number of the array's first frame, for messages.
        missing: whether values may be missing; a whole frame may not.

    Raises:
        InputError: values are NaN or infinite; it says how many, and where the first is.
    """
    found, length = Statistics(), array.shape[1]
    with progress(len(array), f"check {path}", hidden=array.nbytes < SHOWN_BYTES) as bar:
        for n, sequence in enumerate(array):
            found.add(sequence, n * length)
            bar.update()
    if found.first_missing and not missing:
        frame, c, y, x = found.first_missing
        n, t = divmod(frame, length)
        raise InputError(
            f"{path}: {found.missing:,} values are NaN or infinite, the first in sequence {n}, "
            f"frame {t + first_frame}, channel {c}, row {y}, column {x} (all from 0): fill them, "
            "or leave these sequences out",
            missing="--missing mask leaves the values out",
        )
    if found.empty:
        n, t = divmod(found.empty[0], length)
        raise InputError(
            f"{path}: {len(found.empty):,} frames hold no value at all, the first in sequence {n}, "
            f"frame {t + first_frame} (from 0): leave these sequences out"
        )
    return found.lowest, found.highest


def out_of_range(values, value_range):
    """How (lowest, highest) exceed `value_range`, in words; "" if they do not, up to rounding."""
    (lowest, highest), (low, high) = values, value_range
    tolerance = 1e-6 * max(abs(low), abs(high))
    if low - tolerance <= lowest and highest <= high + tolerance:
        return ""
    return f"its values reach from {lowest:g} to {highest:g}, beyond value_range {low:g} {high:g}"


def fingerprint(array):
    """A CRC-32 of shape, type and some sequences, which identifies a file of sequences.

    The split depends on the order of sequences in the file: in a changed file, the test split could
    hold sequences that were trained on.
    """
    crc = zlib.crc32(repr((array.shape, array.dtype.str)).encode())
    for n in np.unique(np.linspace(0, len(array) - 1, SAMPLED).astype(int)):
        crc = zlib.crc32(np.ascontiguousarray(array[n]), crc)
    return crc


@dataclass
class Statistics:
    """Counts and extremes of the values in some frames, collected in one pass.

    `values` and `missing` are numbers of values, `total` is the sum of the former. `out_of_range`
    counts values beyond a range. `first_missing` is (frame, channel, row, column) of the first
    missing value; `empty` lists the frames without any value.
    """

    lowest: float = np.inf
    highest: float = -np.inf
    total: float = 0.0
    values: int = 0
    missing: int = 0
    out_of_range: int = 0
    first_missing: tuple | None = None
    empty: list = field(default_factory=list)

    @property
    def mean(self):
        """The mean of the values that are not missing; NaN if all are."""
        return self.total / self.values if self.values else np.nan

    def add(self, piece, start, value_range=None):
        """Adds frames, (n, C, H, W), of which the first has the number `start`."""
        with np.errstate(invalid="ignore"):
            low, high = float(piece.min()), float(piece.max())
        if not np.isfinite((low, high)).all():
            piece = self._valid_values(piece, start)
            if not len(piece):
                return
            low, high = float(piece.min()), float(piece.max())
        self.values += piece.size
        self.total += float(piece.sum(dtype=np.float64 if piece.dtype.kind == "f" else None))
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        if value_range and (low < value_range[0] or high > value_range[1]):
            outside = (piece < value_range[0]) | (piece > value_range[1])
            self.out_of_range += int(outside.sum())

    def _valid_values(self, piece, start):
        """Counts the missing values; returns the others, flat."""
        valid = np.isfinite(piece)
        self.missing += piece.size - int(valid.sum())
        if self.first_missing is None:
            frame, *position = np.argwhere(~valid)[0].tolist()
            self.first_missing = (start + frame, *position)
        self.empty += [start + int(n) for n in np.flatnonzero(~valid.any((1, 2, 3)))]
        return piece[valid]


def collect_statistics(read, start, stop, frame_bytes, name, value_range=None):
    """Collects statistics of frames `start` to `stop` - 1, read in pieces.

    Args:
        read: function of (first, end) that returns frames first to end - 1, (n, C, H, W).
        start, stop: numbers of frames.
        frame_bytes: size of a frame in bytes.
        name: name of the data in the progress display.
        value_range: also count the values beyond this range.

    Returns:
        A `Statistics`.
    """
    found = Statistics()
    for first, piece in pieces(read, start, stop, frame_bytes, f"check {name}"):
        found.add(piece, first, value_range)
    return found


def pieces(read, start, stop, frame_bytes, title):
    """Yields frames in pieces, each with the number of its first frame; shows the progress.

    Args:
        read, start, stop, frame_bytes: as for `collect_statistics`.
        title: name of the work in the progress display.
    """
    step, hidden = max(1, PIECE_BYTES // frame_bytes), (stop - start) * frame_bytes < SHOWN_BYTES
    with progress(stop - start, title, hidden=hidden, unit="frames") as bar:
        for first in range(start, stop, step):
            last = min(first + step, stop)
            yield first, read(first, last)
            bar.update(last - first)
