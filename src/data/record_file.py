"""A long record as own data: its scale, its missing values, and its parts as sources."""

import sys

import numpy as np

from src.data.record import Record, Windows
from src.data.sequences import warn_of_scale
from src.errors import InputError

# More of the training part beyond the scale than this is a warning.
CLIPPED = 0.01


class RecordFile:
    """A record as own data; `SequencesFile` has the same methods.

    Args:
        path: a file, a folder or a pattern.
        names: `Names`, of what to read.

    Raises:
        InputError: it cannot be read.
    """

    is_record = True

    def __init__(self, path, names):
        self.path = path
        self.record = Record(path, names)
        self.frame_shape = self.record.frame_shape
        self.units = self.record.grid.units
        self.has_names = self.record.readers[0].has_names

    def fingerprint(self):
        """A CRC-32 that tells one record from another."""
        return self.record.fingerprint()

    def window_stride(self, data):
        """Frames between the first frames of two windows."""
        return data.window_stride or 1

    def check_length(self, data):
        """Raises `InputError` unless each part has a window."""
        self.record.parts(data)

    def training_size(self, data):
        """Windows of the training part."""
        return len(self._starts(self.record.parts(data)["train"], data))

    def training_scan(self, data, value_range=None):
        """A `Scan` of the training part."""
        return self.record.scan(self.record.parts(data)["train"], value_range)

    def check_values(self, data, encoding):
        """Refuses values that are missing and may not be, and frames without any; says how much of
        the training part the scale clips, if it is more than a hundredth.
        """
        train = self.record.parts(data)["train"]
        found = self._check(train, encoding, encoding.value_range)
        self._check(range(train.stop, len(self.record)), encoding)
        share = found.beyond / found.values
        if share > CLIPPED:
            low, high = encoding.value_range
            print(
                f"warning: {self.path}: value_range {low:g} {high:g} clips {share:.1%} of the "
                f"training part, whose values reach from {found.lowest:g} to {found.highest:g}",
                file=sys.stderr,
            )

    def warn_of_values(self, data, encoding, part=None):
        """Refuses what `check_values` does; says where values hardly fit the scale."""
        frames = self.record.parts(data)[part] if part else range(len(self.record))
        found = self._check(frames, encoding)
        if part is None:
            warn_of_scale((found.lowest, found.highest), encoding.value_range, self.path)

    def _check(self, frames, encoding, value_range=None):
        """The `Scan` of a range of frames, in which nothing is missing that may not be."""
        found = self.record.scan(frames, value_range)
        if found.missing and encoding.fill is None:
            self.refuse_missing(found)
        self._refuse_empty(found)
        return found

    def refuse_missing(self, found):
        """Raises the `InputError` that says how many values are missing, and where the first is."""
        frame, channel, row, column = found.place
        raise InputError(
            f"{self.path}: {found.missing:,} values are missing, the first in frame {frame:,}"
            f"{self._when(frame)}, channel {channel}, row {row}, column {column} (all from 0): "
            "fill them, or leave them out with --missing mask"
        )

    def _refuse_empty(self, found):
        if found.empty:
            frame = found.empty[0]
            remedy = "leave them out of the files; a gap in time is understood"
            if self.record.times is None:
                remedy = "fill them: without times a gap could not be told"
            raise InputError(
                f"{self.path}: {len(found.empty):,} frames hold no value at all, the first is "
                f"frame {frame:,}{self._when(frame)}: {remedy}"
            )

    def _when(self, frame):
        return "" if self.record.times is None else f" ({self.record.time_of(frame)})"

    def part(self, data, part, encoding, size=None, seed=None):
        """A part of the record, "train", "validation" or "test", as a source."""
        frames = self.record.parts(data)[part]
        return self._source(data, frames, f"{part} part", encoding, size, seed)

    def end(self, count, encoding):
        """The last frames as a source of one window.

        Raises:
            InputError: they are not in a row, or values are missing that may not be.
        """
        frames = range(len(self.record) - count, len(self.record))
        place = self.record.describe(frames)
        if self.record.runs[frames.start] != self.record.runs[frames.stop - 1]:
            raise InputError(
                f"{self.path}: its last {count} frames, {place}, are not in a row: there is a gap "
                "or a repeat in time"
            )
        found = self._check(frames, encoding)
        warn_of_scale((found.lowest, found.highest), encoding.value_range, self.path)
        name = f"{self.path}, its last {count} frames ({place})"
        return Windows(self.record, np.array([frames.start]), count, encoding, name)

    def whole(self, data, encoding):
        """All of the record as a source."""
        frames, window = range(len(self.record)), data.input_frames + data.forecast_frames
        if not len(self.record.windows(frames, window, 1)):
            raise InputError(
                f"{self.path}: has no {window} frames in a row (input_frames + forecast_frames); "
                f"it holds {len(self.record)} frames"
            )
        return self._source(data, frames, "all", encoding)

    def _source(self, data, frames, what, encoding, size=None, seed=None):
        starts, window = self._starts(frames, data), data.input_frames + data.forecast_frames
        notes = self.record.notes()
        name = (
            f"{self.path}, {what} ({len(starts):,} windows of {window} frames, "
            f"{self.record.describe(frames)}{notes and '; ' + notes})"
        )
        return Windows(self.record, starts, window, encoding, name, size, seed)

    def _starts(self, frames, data):
        window = data.input_frames + data.forecast_frames
        return self.record.windows(frames, window, self.window_stride(data))
