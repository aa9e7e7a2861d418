"""Own data as sequences: those of one file, split at random, and windows of a record."""

import sys

import numpy as np

from src.data.dataset import Dataset
from src.data.splits import SPLITS, Split
from src.errors import InputError
from src.formats import codes
from src.formats.arrays import (
    SHOWN_BYTES,
    Statistics,
    check_values,
    fingerprint,
    out_of_range,
    pieces,
    read_array,
)
from src.formats.cf.missing import without_nodata
from src.runtime.progress import progress

# Values that span less than this fraction of the value range suggest that it is a wrong one.
NARROW = 0.02


class OwnSequences(Dataset):
    """Some sequences of an array; each is used once before any is used again.

    With `weights` set, one for each index, a pass over n sequences uses one of weight w, of a sum
    of 1, n w times, rounded up or down at random.

    Args:
        array: (N, T, C, H, W), as `read_array` returns it.
        indices: the indices of the sequences to use.
        frames: number of frames to use of each sequence, from its first.
        normalizer: the `Normalizer` of the frames.
        name: name of the data in messages.
        size: sequences in an epoch; default: as many as indices.
        seed: seed of the order, which differs in each pass over the indices; None: in their order.
    """

    weights = None

    def __init__(self, array, indices, frames, normalizer, name, size=None, seed=None):
        self.array = array
        self.indices = indices
        self.shape = frames, *self.frame_shape()
        self.normalizer = normalizer
        self.name = name
        self.size = len(indices) if size is None else size
        self.seed = seed

    def __len__(self):
        return self.size

    def __getitem__(self, indices):
        """The sequences, (len(indices), frames, C, H, W), in the array's type."""
        counts = self.epoch * self.size + np.asarray(indices)
        passes, positions = np.divmod(counts, len(self.indices))
        chosen = np.empty(len(counts), int)
        for number in np.unique(passes):
            in_pass = passes == number
            chosen[in_pass] = self._order(number)[positions[in_pass]]
        return self.read(chosen)

    def frame_shape(self):
        """(C, H, W) of a frame."""
        return self.array.shape[2:]

    def read(self, indices):
        """The sequences at these indices of the array."""
        return self.array[indices, : self.shape[0]]

    def _order(self, number):
        """The indices in the order of pass `number`, a pure function of it and the seed."""
        if self.seed is None:
            return self.indices
        rng = np.random.default_rng((self.seed, number))
        if self.weights is None:
            return rng.permutation(self.indices)
        count = len(self.indices)
        order = rng.permutation(count)
        ends = np.cumsum(self.weights[order])
        places = (np.arange(count) + rng.random()) / count * ends[-1]
        drawn = np.minimum(np.searchsorted(ends, places, side="right"), count - 1)
        return self.indices[rng.permutation(order[drawn])]

    def sums(self, measure, title):
        """The sums of some measures over the frames of each sequence, (len(indices), k).

        Args:
            measure: a function from frames, (n, C, H, W), to the measures of each, (n, k).
            title: name of the work in the progress display.
        """
        hidden = self.array.nbytes < SHOWN_BYTES
        with progress(len(self.indices), title, hidden=hidden) as bar:
            rows = []
            for index in self.indices:
                rows.append(measure(self.read([index])[0]).sum(0))
                bar.update()
        return np.stack(rows)


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

    @property
    def frequency(self):
        """The rule of the record's times; None if they have none, or are unknown."""
        return self.array.steps.frequency

    @property
    def added(self):
        """The largest constant that reading adds to a value; None if it changes none."""
        return self.array.added

    def times(self, index):
        """The times of a window's frames, as in the files; None if they have none."""
        start, times = self.indices[index], self.array.times
        return None if times is None else times[start : start + self.shape[0]]

    def read(self, indices):
        """The windows that start at these frames of the record, (B, T, C, H, W)."""
        return np.stack([self.array.read(start, start + self.shape[0]) for start in indices])

    def sums(self, measure, title):
        """As in `OwnSequences`; each frame is read once, whatever the number of its windows."""
        start, stop, count = self.indices.min(), self.indices.max() + self.shape[0], self.shape[0]
        measures = [
            measure(piece)
            for _, piece in pieces(self.array.read, start, stop, self.array.frame_bytes, title)
        ]
        totals = np.cumsum(np.concatenate(measures), 0)
        totals = np.concatenate([np.zeros_like(totals[:1]), totals])
        return totals[self.indices - start + count] - totals[self.indices - start]


class SequencesFile:
    """A file of whole sequences as own data; `RecordFile` has the same methods.

    Args:
        path: the file.
        options: the `ReadOptions` of the file.
        frames: as for `read_array`.

    Raises:
        InputError: the file cannot be read.
    """

    is_record = False
    has_names = False
    units = frequency = None
    changes = ()

    def __init__(self, path, options, frames=()):
        self.path = path
        stored = read_array(path, options.axes, frames)
        self.stored_dtype = stored.dtype
        self.array = without_nodata(stored, options.nodata)
        self.frame_shape = self.array.shape[2:]

    def __len__(self):
        return len(self.array)

    def fingerprint(self, size=None):
        """A CRC-32 that identifies the file, or its first `size` sequences."""
        return fingerprint(self.array[:size])

    def check_length(self, data):
        """Raises `InputError` unless the sequences are enough, and long enough."""
        _check_length(self.array, self.path, data)
        if len(self.array) < len(SPLITS):
            raise InputError(
                f"{self.path}: holds {len(self.array)} sequences; at least {len(SPLITS)} are "
                "needed, for training, validation and test"
            )

    def window_stride(self, data):
        """None: whole sequences have no windows."""
        return None

    def split_size(self, data, split):
        """The number of sequences in a split."""
        return _split(data).sizes(len(self.array))[SPLITS.index(split)]

    def training_statistics(self, data, value_range=None):
        """The `Statistics` of the training split."""
        found = Statistics()
        for n in _split(data).indices(len(self.array), "train"):
            found.add(self.array[n, : _frames(data)], 0, value_range)
        return found

    def check_values(self, data, normalizer):
        """Raises `InputError` for values beyond the range, and for missing ones unless masked."""
        values = check_values(self.array, self.path, missing=normalizer.fill is not None)
        self.warn_of_codes(values)
        outside = out_of_range(values, normalizer.value_range)
        if outside:
            raise InputError(
                f"{self.path}: {outside}: widen --value_range, or clip the file (np.clip)"
            )

    def warn_of_values(self, data, normalizer, split=None):
        """Raises `InputError` for missing values as `check_values` does; warns if the value range
        hardly fits.
        """
        values = check_values(self.array, self.path, missing=normalizer.fill is not None)
        if split is None:
            self.warn_of_codes(values)
        warn_of_scale(values, normalizer.value_range, self.path)

    def warn_of_codes(self, extremes):
        """Warns of values that look like codes for missing ones."""
        sample = codes.sample_of(self.array.__getitem__, range(len(self.array)))
        codes.warn_of_codes(self.path, sample, extremes, self.stored_dtype)

    def split(self, data, split, normalizer, size=None, seed=None):
        """A split of the file, "train", "validation" or "test", as a dataset."""
        array, path = self.array, self.path
        indices = _split(data).indices(len(array), split)
        name = (
            f"{path}, {split} split ({len(indices):,} of {len(array):,} sequences, split_seed "
            f"{data.split_seed}{_frames_used(array, data)})"
        )
        return OwnSequences(array, indices, _frames(data), normalizer, name, size, seed)

    def after_training(self, data, normalizer):
        """The sequences that were not trained on, where the first `data.dataset_size` ones are the
        file that was: those of its test split, and all later ones.
        """
        size, count = data.dataset_size, len(self.array)
        test = _split(data).indices(size, "test")
        indices = np.concatenate([test, np.arange(size, count)])
        self.warn_of_values(data, normalizer)
        name = (
            f"{self.path}, test split and later ones ({len(indices):,} of {count:,} sequences"
            f"{_frames_used(self.array, data)})"
        )
        return OwnSequences(self.array, indices, _frames(data), normalizer, name)

    def whole(self, data, normalizer):
        """All sequences of the file as a dataset."""
        array = self.array
        _check_length(array, self.path, data)
        name = f"{self.path} (all {len(array):,} sequences{_frames_used(array, data)})"
        return OwnSequences(array, np.arange(len(array)), _frames(data), normalizer, name)


def _split(data):
    return Split(data.held_out, data.split_seed)


def check_frames(frame_shape, path, config):
    """Raises `InputError` unless the network of a `Config` can read frames of this (C, H, W)."""
    channels, *size = frame_shape
    if channels != config.model.channels:
        raise InputError(
            f"{path}: has {channels} channels, and the network reads {config.model.channels}"
        )
    if not config.data.pad:
        config.model.check_image_size(size, path)


def warn_of_scale(values, value_range, path):
    """Warns on stderr if a value range hardly fits the values, given as (lowest, highest)."""
    doubt, (lowest, highest), (low, high) = out_of_range(values, value_range), values, value_range
    if not doubt and 0 < highest - lowest < NARROW * (high - low):
        doubt = (
            f"its values reach from {lowest:g} to {highest:g} only, value_range is {low:g} {high:g}"
        )
    if doubt:
        print(f"warning: {path}: {doubt}; is that right?", file=sys.stderr)


def _check_length(array, path, data):
    """Raises `InputError` unless the sequences are long enough for inputs and targets."""
    if array.shape[1] < _frames(data):
        raise InputError(
            f"{path}: has {array.shape[1]} frames a sequence; input_frames {data.input_frames} and "
            f"forecast_frames {data.forecast_frames} need {_frames(data)}"
        )


def _frames(data):
    return data.input_frames + data.forecast_frames


def _frames_used(array, data):
    held, needed = array.shape[1], _frames(data)
    used = "" if held == needed else f", the first {needed} of {held} frames"
    return axes_used(data) + used


def axes_used(data):
    """The order in which an array's axes were read, in words; "" if it was the usual one."""
    return f", axes {data.axes.upper()}" if data.axes else ""
