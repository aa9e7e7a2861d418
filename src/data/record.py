"""One long record, cut into windows and split by time.

Windows overlap, so with a random split the network would train on frames that it is tested on.
Instead the record is cut into three parts, training first, with gaps of one window between them.
"""

import sys
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np

from src.data.agreement import check_alike, conversions_to_first
from src.data.sequences import Windows, axes_used, warn_of_scale
from src.data.splits import split_by_time, split_from
from src.errors import InputError
from src.formats.arrays import SAMPLED, collect_statistics
from src.formats.cf.frequency import Step
from src.formats.cf.time_steps import TimeSteps, time_steps
from src.formats.cf.times import as_numbers, is_dated, joined, time_order
from src.formats.codes import sample_of, warn_of_codes
from src.formats.readers import open_readers

# If a larger fraction of the training split is beyond the value range, a warning is printed.
CLIPPED = 0.01


class Record:
    """The frames of one or more files in order of time, (T, C, H, W), read in pieces.

    Args:
        path: what `files_of` takes: a file, a folder or a pattern.
        options: the `ReadOptions` of the files.
        known: the frequency that a network was trained with, as a text, or None.

    Raises:
        InputError: a file cannot be read, the files do not belong together, or their times follow
            no rule, or another one than is known.
    """

    def __init__(self, path, options, known=None):
        self.path = path
        self.readers = open_readers(path, options)
        first = self.readers[0]
        for other in self.readers[1:]:
            check_alike(first, other)
        self.grid = first.grid.shared_with([reader.grid for reader in self.readers])
        self.frame_shape = first.shape[1:]
        self.dtype = np.result_type(*(reader.dtype for reader in self.readers))
        counts = [reader.shape[0] for reader in self.readers]
        files = np.repeat(np.arange(len(counts)), counts)
        self.places = np.stack([files, np.concatenate([np.arange(n) for n in counts])], 1)
        self.known = {}
        for note in dict.fromkeys(note for reader in self.readers for note in reader.notes):
            print(f"{path}: {note}")
        self.conversion = None
        self.times, total = joined(self.readers), len(self.places)
        self.steps = TimeSteps(np.arange(total), np.zeros(total, int))
        if self.times is not None:
            self.steps = time_steps(self.times, known, path)
            self.places = self.places[self.steps.order]
            self.times = self.times[self.steps.order]
        self.conversions = conversions_to_first(self.readers, path, self.step)
        for each in self.conversions.values():
            self.dtype = each.dtype(self.dtype)
        self.file_dtype = self.dtype

    @property
    def step(self):
        """Seconds from one frame to the next, if that is constant but for gaps; else None."""
        rule = self.steps.frequency
        return rule.length if isinstance(rule, Step) and rule.dated else None

    @property
    def added(self):
        """The largest constant that unpacking and conversions add to a value, in its units; None if
        values are as they are stored.
        """
        added = max((r.added for r in self.readers if r.added is not None), default=None)
        each = list(self.conversions.values())
        if each:
            added = max(conversion.added(added or 0.0) for conversion in each)
        return self.conversion.added(added or 0.0) if self.conversion else added

    def convert(self, conversion):
        """Converts all values that are read from now on."""
        self.conversion = conversion
        attributes = conversion.attributes(self.grid.attributes)
        self.grid = replace(self.grid, units=conversion.target, attributes=attributes)
        self.dtype = conversion.dtype(self.dtype)
        self.known = {}

    def __len__(self):
        return len(self.places)

    @property
    def frame_bytes(self):
        """Size of a frame in bytes."""
        return int(np.prod(self.frame_shape)) * self.dtype.itemsize

    def read(self, start, stop):
        """Frames start to stop - 1, (n, C, H, W)."""
        frames = self._read(start, stop)
        return self.conversion(frames) if self.conversion else frames

    def _read(self, start, stop):
        """Frames in the units of the first file."""
        places = self.places[start:stop]
        jumps = np.flatnonzero((np.diff(places, axis=0) != (0, 1)).any(1)) + 1
        pieces = []
        for first, last in pairwise((0, *jumps, len(places))):
            (file, begin), count = places[first], last - first
            piece = self.readers[file].read(begin, begin + count)
            pieces.append(self.conversions[file](piece) if file in self.conversions else piece)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def windows(self, frames, window, stride):
        """The numbers of the first frames of all windows in a range of frames; a window with a gap
        or duplicate in it is left out.
        """
        starts = np.arange(frames.start, frames.stop - window + 1, stride)
        segments = self.steps.segments
        return starts[segments[starts] == segments[starts + window - 1]]

    def splits(self, data):
        """The frames of each split, a dict of ranges: by the dates that are given for them, else
        by `split_by_time`.

        Raises:
            InputError: a split does not hold a single window.
        """
        window, dates = data.input_frames + data.forecast_frames, None
        if data.validate_from is not None:
            dates = data.validate_from, data.test_from
        if dates is None and len(self) < 5 * window:
            raise InputError(
                f"{self.path}: holds {len(self)} frames; three splits of at least one window, "
                f"{window} frames (input_frames + forecast_frames), and two gaps of a window need "
                f"{5 * window}"
            )
        if dates:
            splits = split_from(self, dates, window)
        else:
            splits = split_by_time(len(self), window, data.held_out)
        for name, frames in splits.items():
            if not len(self.windows(frames, window, data.window_stride or 1)):
                self._refuse_split(name, frames, window, dates)
        return splits

    def _refuse_split(self, name, frames, window, dates):
        """Raises an `InputError` for a split without a window."""
        steps, where = self.steps, self.describe(frames) if frames else "which is empty"
        short = f", {steps.short_steps} short steps" if steps.short_steps else ""
        rule = ""
        if dates:
            rule = (
                f"; with validate_from {dates[0]} and test_from {dates[1]}, and a gap of {window} "
                "frames before each"
            )
        raise InputError(
            f"{self.path}: its {name} split, {where}, has no {window} "
            "frames in a row (input_frames + forecast_frames): the record has "
            f"{steps.gaps} gaps{short} and {steps.duplicates} duplicates in time{rule}"
        )

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

    def fingerprint(self, size=None):
        """A CRC-32 of shape, type, times and some frames, in the units of the files.

        Args:
            size: the number of frames that count, from the first; default: all.
        """
        size, long_steps = size or len(self), self.steps.long_steps
        crc = zlib.crc32(repr((size, self.frame_shape, self.file_dtype.str)).encode())
        if self.times is not None:
            if size < len(self):
                long_steps = time_order(as_numbers(self.times[:size]))[2]
            ends = self.times[0], self.times[size - 1], long_steps
            crc = zlib.crc32(repr(ends).encode(), crc)
        for t in np.unique(np.linspace(0, size - 1, SAMPLED).astype(int)):
            crc = zlib.crc32(np.ascontiguousarray(self._read(t, t + 1)), crc)
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
        """What is unusual in the times, in words; "" if nothing is."""
        counts = self.steps.counts()
        notes = [f"{counts}, which no window contains"] if counts else []
        if self.times is None and self.readers[0].has_names:
            notes.append("no times: frames count as evenly spaced")
        elif self.times is not None and not is_dated(self.times):
            units = self.grid.time_attributes.get("units")
            notes.append(f"times are plain numbers, {units or 'without units'}, and no dates")
        assumed = {reader.grid.time_note for reader in self.readers} - {None}
        return "; ".join([*notes, *sorted(assumed)])


class RecordFile:
    """A record as own data; `SequencesFile` has the same methods.

    Args:
        path: a file, a folder or a pattern.
        options: the `ReadOptions` of the files.
        known: the frequency that a network was trained with, as a text, or None.

    Raises:
        InputError: as `Record` does.
    """

    is_record = True

    def __init__(self, path, options, known=None):
        self.path = path
        self.record = Record(path, options, known)
        self.frame_shape = self.record.frame_shape
        self.has_names = self.record.readers[0].has_names
        rule = self.record.steps.frequency
        self.frequency = None if rule is None else str(rule)

    def __len__(self):
        return len(self.record)

    @property
    def units(self):
        """The units of the values as they are read, or None."""
        return self.record.grid.units

    @property
    def changes(self):
        """What is read otherwise than before version 0.3.0, in words, among the frames read."""
        readers = self.record.readers
        return list(dict.fromkeys(change for reader in readers for change in reader.changes))

    def fingerprint(self, size=None):
        """A CRC-32 that identifies the record, or its first `size` frames."""
        return self.record.fingerprint(size)

    def window_stride(self, data):
        """The frames from the start of one window to the next."""
        return data.window_stride or 1

    def check_length(self, data):
        """Raises `InputError` unless each split holds a window."""
        self.record.splits(data)

    def split_size(self, data, split):
        """The number of windows in a split."""
        return len(self._starts(self.record.splits(data)[split], data))

    def training_statistics(self, data, value_range=None):
        """The `Statistics` of the training split."""
        return self.record.statistics(self.record.splits(data)["train"], value_range)

    def check_values(self, data, normalizer):
        """Raises `InputError` for missing values unless masked, and for frames without any value;
        warns if the value range clips more than 1 % of the training split.
        """
        train = self.record.splits(data)["train"]
        found = self._check(train, normalizer, normalizer.value_range)
        self._warn_of_codes(train, found)
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
            self._warn_of_codes(frames, found)
            warn_of_scale((found.lowest, found.highest), normalizer.value_range, self.path)

    def _check(self, frames, normalizer, value_range=None):
        """The `Statistics` of a range of frames, after a check for missing values."""
        found = self.record.statistics(frames, value_range)
        if found.missing and normalizer.fill is None:
            self.refuse_missing(found)
        self._refuse_empty(found)
        return found

    def _warn_of_codes(self, frames, found):
        """Warns of values in a range of frames that look like codes for missing ones."""
        sample = sample_of(lambda t: self.record.read(t, t + 1), frames)
        reader, extremes = self.record.readers[0], (found.lowest, found.highest)
        warn_of_codes(
            self.path, sample, extremes, reader.stored_dtype, reader.stored, reader.grid.units
        )

    def refuse_missing(self, found):
        """Raises an `InputError` that says how many values are missing, and where the first is."""
        frame, channel, row, column = found.first_missing
        why = f" ({'; '.join(self.changes)})" if self.changes else ""
        raise InputError(
            f"{self.path}: {found.missing:,} values are missing{why}, the first in frame {frame:,}"
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

    def after_training(self, data, normalizer):
        """The windows of the frames that were not trained on, where the first `data.dataset_size`
        frames are the record that was: those of its test split, and all later ones.
        """
        if data.validate_from is None:
            window = data.input_frames + data.forecast_frames
            test = split_by_time(data.dataset_size, window, data.held_out)["test"]
        else:
            test = self.record.splits(data)["test"]
        frames = range(test.start, len(self))
        found = self._check(frames, normalizer)
        warn_of_scale((found.lowest, found.highest), normalizer.value_range, self.path)
        return self._source(data, frames, "test split and later frames", normalizer)

    def end(self, count, normalizer):
        """The last `count` frames of the record as a dataset of one window.

        Raises:
            InputError: there is a gap among them, or values are missing and not masked; or the
                times of the frames that follow are unknown.
        """
        frames = range(len(self.record) - count, len(self.record))
        times = self.record.describe(frames)
        steps = self.record.steps
        if steps.segments[frames.start] != steps.segments[frames.stop - 1]:
            raise InputError(
                f"{self.path}: its last {count} frames, {times}, are not in a row: there is a step "
                f"that is not {steps.frequency}, or a duplicate in time"
            )
        self._check_follows()
        found = self._check(frames, normalizer)
        self._warn_of_codes(frames, found)
        warn_of_scale((found.lowest, found.highest), normalizer.value_range, self.path)
        name = f"{self.path}, its last {count} frames ({times})"
        return Windows(self.record, np.array([frames.start]), count, normalizer, name)

    def _check_follows(self):
        """Raises `InputError` unless the rule of the times tells which follow the last."""
        times, rule = self.record.times, self.record.steps.frequency
        if times is None or (rule is not None and rule.holds(times[-1:]).all()):
            return
        problem = (
            f"is none of {rule}" if rule else "is the only one, and the network's step unknown"
        )
        raise InputError(
            f"{self.path}: its last time, {self.record.time_of(len(times) - 1)}, {problem}, so the "
            "times of its forecast are unknown: give a file with the frames before it"
        )

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
        notes, axes = self.record.notes(), "" if self.has_names else axes_used(data)
        name = (
            f"{self.path}, {what} ({len(starts):,} windows of {window} frames{axes}, "
            f"{self.record.describe(frames)}{notes and '; ' + notes})"
        )
        return Windows(self.record, starts, window, normalizer, name, size, seed)

    def _starts(self, frames, data):
        window = data.input_frames + data.forecast_frames
        return self.record.windows(frames, window, self.window_stride(data))
