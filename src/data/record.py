"""One long record, cut into windows and split by time.

Windows overlap, so with a random split the network would train on frames that it is tested on.
Instead the record is cut into three parts, training first, with gaps of one window between them.
"""

import sys
import zlib
from itertools import pairwise

import numpy as np

from src.data.sequences import SPLITS, OwnSequences, warn_of_scale
from src.errors import InputError
from src.formats.arrays import SAMPLED, collect_statistics
from src.formats.grid import time_order
from src.formats.readers import files_of, open_reader

# If a larger fraction of the training split is beyond the value range, a warning is printed.
CLIPPED = 0.01


def split_by_time(steps, window, held_out):
    """The frames of each split, a dict of ranges, with a gap of one window between two splits.

    Args:
        steps: number of frames in the record.
        window: number of frames in a window.
        held_out: fraction of the frames for validation, and the same again for testing. Each split
            has at least one window.

    Raises:
        ValueError: the record is shorter than five windows.
    """
    if steps < 5 * window:
        raise ValueError(f"{steps} frames are fewer than five windows of {window}")
    held = min(max(window, round(held_out * steps)), (steps - 3 * window) // 2)
    test, validation = steps - held, steps - 2 * held - window
    splits = (0, validation - window), (validation, validation + held), (test, steps)
    return {name: range(*split) for name, split in zip(SPLITS, splits, strict=True)}


class Record:
    """The frames of one or more files in order of time, (T, C, H, W), read in pieces.

    Args:
        path: what `files_of` takes: a file, a folder or a pattern.
        options: the `ReadOptions` of the files.

    Raises:
        InputError: a file cannot be read, or the files do not belong together.
    """

    def __init__(self, path, options):
        self.path = path
        self.readers = [open_reader(file, options) for file in files_of(path)]
        first = self.readers[0]
        for other in self.readers[1:]:
            _check_alike(first, other)
        self.grid = first.grid.shared_with([reader.grid for reader in self.readers])
        self.frame_shape = first.shape[1:]
        self.dtype = np.result_type(*(reader.dtype for reader in self.readers))
        counts = [reader.shape[0] for reader in self.readers]
        files = np.repeat(np.arange(len(counts)), counts)
        self.places = np.stack([files, np.concatenate([np.arange(n) for n in counts])], 1)
        self.known = {}
        self.times, self.segments = None, np.zeros(len(self.places), int)
        self.duplicates = self.gaps = 0
        if all(reader.times is not None for reader in self.readers):
            times = np.concatenate([reader.times for reader in self.readers])
            numbers = _as_numbers(times, first)
            kept, self.segments, self.duplicates, self.gaps = time_order(numbers)
            self.places, self.times = self.places[kept], times[kept]

    def __len__(self):
        return len(self.places)

    @property
    def frame_bytes(self):
        """Size of a frame in bytes."""
        return int(np.prod(self.frame_shape)) * self.dtype.itemsize

    def read(self, start, stop):
        """Frames start to stop - 1, (n, C, H, W)."""
        places = self.places[start:stop]
        jumps = np.flatnonzero((np.diff(places, axis=0) != (0, 1)).any(1)) + 1
        pieces = []
        for first, last in pairwise((0, *jumps, len(places))):
            (file, begin), count = places[first], last - first
            pieces.append(self.readers[file].read(begin, begin + count))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def windows(self, frames, window, stride):
        """The numbers of the first frames of all windows in a range of frames; a window with a gap
        or duplicate in it is left out.
        """
        starts = np.arange(frames.start, frames.stop - window + 1, stride)
        return starts[self.segments[starts] == self.segments[starts + window - 1]]

    def splits(self, data):
        """The frames of each split, as `split_by_time` returns them.

        Raises:
            InputError: a split does not hold a single window.
        """
        window = data.input_frames + data.forecast_frames
        if len(self) < 5 * window:
            raise InputError(
                f"{self.path}: holds {len(self)} frames; three splits of at least one window, "
                f"{window} frames (input_frames + forecast_frames), and two gaps of a window need "
                f"{5 * window}"
            )
        splits = split_by_time(len(self), window, data.held_out)
        for name, frames in splits.items():
            if not len(self.windows(frames, window, data.window_stride or 1)):
                raise InputError(
                    f"{self.path}: its {name} split, {self.describe(frames)}, has no {window} "
                    f"frames in a row (input_frames + forecast_frames): the record has {self.gaps} "
                    f"gaps and {self.duplicates} duplicates in time"
                )
        return splits

    def statistics(self, frames, value_range=None):
        """The `Statistics` of a range of frames; they are remembered, so the frames are read once.

        Args:
            frames: the range of frames.
            value_range: also count the values beyond this range.
        """
        key, found = (frames, value_range), self.known.get((frames, None))
        if key not in self.known:
            if found and value_range[0] <= found.lowest and found.highest <= value_range[1]:
                return found
            self.known[key] = collect_statistics(
                self.read, frames.start, frames.stop, self.frame_bytes, self.path, value_range
            )
        return self.known[key]

    def fingerprint(self):
        """A CRC-32 of shape, type, times and some frames, which identifies the record."""
        crc = zlib.crc32(repr((len(self), self.frame_shape, self.dtype.str)).encode())
        if self.times is not None:
            crc = zlib.crc32(repr((self.times[0], self.times[-1], self.gaps)).encode(), crc)
        for t in np.unique(np.linspace(0, len(self) - 1, SAMPLED).astype(int)):
            crc = zlib.crc32(np.ascontiguousarray(self.read(t, t + 1)), crc)
        return crc

    def describe(self, frames):
        """A range of frames in words."""
        if self.times is None:
            return f"frames {frames.start:,} to {frames.stop - 1:,}"
        return f"{self.time_of(frames.start)} to {self.time_of(frames.stop - 1)}"

    def time_of(self, frame):
        """The time of a frame, or its number, in words."""
        if self.times is None:
            return f"frame {frame:,}"
        time = self.times[frame]
        if isinstance(time, np.datetime64):
            time = np.datetime_as_string(time.astype("datetime64[m]"))
        return str(time)

    def notes(self):
        """The gaps and duplicates in time, in words; "" if there are none."""
        found = [
            f"{count} {name if count > 1 else name.removesuffix('s')}"
            for count, name in ((self.gaps, "gaps"), (self.duplicates, "duplicates"))
            if count
        ]
        return f"{' and '.join(found)} in time, which no window contains" if found else ""


class Windows(OwnSequences):
    """Windows of a record; each is used once before any is used again.

    Args:
        record: the `Record`.
        indices: the numbers of the windows' first frames.
        frames: number of frames in a window.
        normalizer, name, size, seed: as in `OwnSequences`.
    """

    @property
    def grid(self):
        """The `Grid` of the frames; None for files of NumPy, which have none."""
        return self.array.grid if self.array.readers[0].has_names else None

    def frame_shape(self):
        """(C, H, W) of a frame."""
        return self.array.frame_shape

    def record_times(self):
        """The times of all frames of the record, (T,)."""
        return self.array.times

    def times(self, index):
        """The times of a window's frames, as in the files; None if they have none."""
        start, times = self.indices[index], self.array.times
        return None if times is None else times[start : start + self.shape[0]]

    def read(self, indices):
        """The windows that start at these frames of the record, (B, T, C, H, W)."""
        return np.stack([self.array.read(start, start + self.shape[0]) for start in indices])


def _check_alike(first, other):
    """Raises `InputError` unless two files have frames on the same grid."""
    if first.shape[1:] != other.shape[1:]:
        difference = f"frames (C, H, W) of {other.shape[1:]}, not {first.shape[1:]}"
    else:
        difference = first.grid.difference(other.grid)
    if difference:
        raise InputError(
            f"{other.path}: differs from {first.path.name}: {difference}; all files of a record "
            "must have the same grid"
        )


def _as_numbers(times, reader):
    """Times as numbers, (T,), float64: in seconds, or unchanged if the files hold plain numbers."""
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise InputError(f"{reader.path}: {reader.grid.time_name} has missing times")
        return times.astype("datetime64[us]").astype(np.int64) / 1e6
    if times.dtype == object:
        import cftime

        return np.asarray(cftime.date2num(times, "seconds since 1970-01-01"), np.float64)
    if not np.isfinite(times).all():
        raise InputError(f"{reader.path}: {reader.grid.time_name} has missing times")
    return times.astype(np.float64)


class RecordFile:
    """A record as own data; `SequencesFile` has the same methods.

    Args:
        path: a file, a folder or a pattern.
        options: the `ReadOptions` of the files.

    Raises:
        InputError: a file cannot be read, or the files do not belong together.
    """

    is_record = True

    def __init__(self, path, options):
        self.path = path
        self.record = Record(path, options)
        self.frame_shape = self.record.frame_shape
        self.units = self.record.grid.units
        self.has_names = self.record.readers[0].has_names

    def fingerprint(self):
        """A CRC-32 that identifies the record."""
        return self.record.fingerprint()

    def window_stride(self, data):
        """The frames from the start of one window to the next."""
        return data.window_stride or 1

    def check_length(self, data):
        """Raises `InputError` unless each split holds a window."""
        self.record.splits(data)

    def training_size(self, data):
        """The number of windows in the training split."""
        return len(self._starts(self.record.splits(data)["train"], data))

    def training_statistics(self, data, value_range=None):
        """The `Statistics` of the training split."""
        return self.record.statistics(self.record.splits(data)["train"], value_range)

    def check_values(self, data, normalizer):
        """Raises `InputError` for missing values unless masked, and for frames without any value;
        warns if the value range clips more than 1 % of the training split.
        """
        train = self.record.splits(data)["train"]
        found = self._check(train, normalizer, normalizer.value_range)
        self._check(range(train.stop, len(self.record)), normalizer)
        fraction = found.out_of_range / found.values
        if fraction > CLIPPED:
            low, high = normalizer.value_range
            print(
                f"warning: {self.path}: value_range {low:g} {high:g} clips {fraction:.1%} of the "
                f"training split, whose values reach from {found.lowest:g} to {found.highest:g}",
                file=sys.stderr,
            )

    def warn_of_values(self, data, normalizer, split=None):
        """Raises `InputError` as `check_values` does, for a split or the whole record; for the
        latter, warns if the value range hardly fits.
        """
        frames = self.record.splits(data)[split] if split else range(len(self.record))
        found = self._check(frames, normalizer)
        if split is None:
            warn_of_scale((found.lowest, found.highest), normalizer.value_range, self.path)

    def _check(self, frames, normalizer, value_range=None):
        """The `Statistics` of a range of frames, after a check for missing values."""
        found = self.record.statistics(frames, value_range)
        if found.missing and normalizer.fill is None:
            self.refuse_missing(found)
        self._refuse_empty(found)
        return found

    def refuse_missing(self, found):
        """Raises an `InputError` that says how many values are missing, and where the first is."""
        frame, channel, row, column = found.first_missing
        raise InputError(
            f"{self.path}: {found.missing:,} values are missing, the first in frame {frame:,}"
            f"{self._when(frame)}, channel {channel}, row {row}, column {column} (all from 0): "
            "fill them",
            missing="--missing mask leaves them out of loss and scores",
        )

    def _refuse_empty(self, found):
        if found.empty:
            frame = found.empty[0]
            remedy = "remove them from the files; gaps in time are allowed"
            if self.record.times is None:
                remedy = "fill them; in files without times a gap would not be noticed"
            raise InputError(
                f"{self.path}: {len(found.empty):,} frames hold no value at all, the first is "
                f"frame {frame:,}{self._when(frame)}: {remedy}"
            )

    def _when(self, frame):
        return "" if self.record.times is None else f" ({self.record.time_of(frame)})"

    def split(self, data, split, normalizer, size=None, seed=None):
        """A split of the record, "train", "validation" or "test", as a dataset of windows."""
        frames = self.record.splits(data)[split]
        return self._source(data, frames, f"{split} split", normalizer, size, seed)

    def end(self, count, normalizer):
        """The last `count` frames of the record as a dataset of one window.

        Raises:
            InputError: there is a gap among them, or values are missing and not masked.
        """
        frames = range(len(self.record) - count, len(self.record))
        times = self.record.describe(frames)
        if self.record.segments[frames.start] != self.record.segments[frames.stop - 1]:
            raise InputError(
                f"{self.path}: its last {count} frames, {times}, are not in a row: there is a gap "
                "or a duplicate in time"
            )
        found = self._check(frames, normalizer)
        warn_of_scale((found.lowest, found.highest), normalizer.value_range, self.path)
        name = f"{self.path}, its last {count} frames ({times})"
        return Windows(self.record, np.array([frames.start]), count, normalizer, name)

    def whole(self, data, normalizer):
        """All windows of the record as a dataset."""
        frames, window = range(len(self.record)), data.input_frames + data.forecast_frames
        if not len(self.record.windows(frames, window, 1)):
            raise InputError(
                f"{self.path}: has no {window} frames in a row (input_frames + forecast_frames); "
                f"it holds {len(self.record)} frames"
            )
        return self._source(data, frames, "all", normalizer)

    def _source(self, data, frames, what, normalizer, size=None, seed=None):
        starts, window = self._starts(frames, data), data.input_frames + data.forecast_frames
        notes = self.record.notes()
        name = (
            f"{self.path}, {what} ({len(starts):,} windows of {window} frames, "
            f"{self.record.describe(frames)}{notes and '; ' + notes})"
        )
        return Windows(self.record, starts, window, normalizer, name, size, seed)

    def _starts(self, frames, data):
        window = data.input_frames + data.forecast_frames
        return self.record.windows(frames, window, self.window_stride(data))
