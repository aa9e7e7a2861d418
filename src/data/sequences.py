"""Own data: whole sequences in one file, split by sequence."""

import sys
from dataclasses import dataclass

import numpy as np

from src.data.dataset import Dataset
from src.errors import InputError
from src.formats.arrays import Statistics, check_values, fingerprint, out_of_range, read_array

SPLITS = ("train", "validation", "test")
# Values that span less than this share of their scale are likely to have another one.
NARROW = 0.02


@dataclass(frozen=True)
class Split:
    """Which sequences of a file belong to which split."""

    held_out: float
    seed: int

    def sizes(self, count):
        """The number of sequences in each of `SPLITS`; at least 1 to validate and to test on."""
        held_out = max(1, min(round(self.held_out * count), (count - 1) // 2))
        return count - 2 * held_out, held_out, held_out

    def indices(self, count, split):
        """The places in the file of the sequences of a split."""
        order = np.random.default_rng(self.seed).permutation(count)
        ends = np.cumsum(self.sizes(count))
        k = SPLITS.index(split)
        return order[ends[k] - self.sizes(count)[k] : ends[k]]


class OwnSequences(Dataset):
    """Some sequences of an array, each of them once in as many as there are.

    Args:
        array: (N, T, C, H, W), of `read_array`.
        indices: the sequences that are used.
        frames: frames of each that are used, the first ones.
        normalizer: the `Normalizer` of the frames.
        name: what to call the data in messages.
        size: sequences in an epoch; default: one for each index.
        seed: seed of the order, another for each pass over the indices; None: as they come.
    """

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
        """(len(indices), frames, C, H, W), of the array's type."""
        places = self.epoch * self.size + np.asarray(indices)
        rounds, positions = np.divmod(places, len(self.indices))
        chosen = np.empty(len(places), int)
        for number in np.unique(rounds):
            now = rounds == number
            chosen[now] = self._order(number)[positions[now]]
        return self.read(chosen)

    def frame_shape(self):
        """(C, H, W)."""
        return self.array.shape[2:]

    def read(self, indices):
        """The sequences at places of the array."""
        return self.array[indices, : self.shape[0]]

    def _order(self, number):
        """The indices in the order of a pass, a pure function of seed and number."""
        if self.seed is None:
            return self.indices
        return np.random.default_rng((self.seed, number)).permutation(self.indices)


class SequencesFile:
    """A file of whole sequences as own data; see `own_data` for what both kinds can do.

    Args:
        path: the file.

    Raises:
        InputError: it cannot be read.
    """

    is_record = False
    has_names = False
    units = None

    def __init__(self, path):
        self.path = path
        self.array = read_array(path)
        self.frame_shape = self.array.shape[2:]

    def fingerprint(self):
        """A CRC-32 that tells one file from another."""
        return fingerprint(self.array)

    def check_length(self, data):
        """Raises `InputError` unless there are enough sequences, and long enough ones."""
        _check_length(self.array, self.path, data)
        if len(self.array) < len(SPLITS):
            raise InputError(
                f"{self.path}: holds {len(self.array)} sequences; at least {len(SPLITS)} are "
                "needed, to train, to validate and to test on"
            )

    def window_stride(self, data):
        """Sequences have none."""
        return None

    def training_size(self, data):
        """Sequences of the training split."""
        return _split(data).sizes(len(self.array))[0]

    def training_statistics(self, data, value_range=None):
        """A `Statistics` of the training split."""
        found = Statistics()
        for n in _split(data).indices(len(self.array), "train"):
            found.add(self.array[n, : _frames(data)], 0, value_range)
        return found

    def check_values(self, data, normalizer):
        """Raises `InputError` where values are beyond the scale, or missing and may not be."""
        values = check_values(self.array, self.path, missing=normalizer.fill is not None)
        outside = out_of_range(values, normalizer.value_range)
        if outside:
            raise InputError(
                f"{self.path}: {outside}: widen --value_range, or clip the file (np.clip)"
            )

    def warn_of_values(self, data, normalizer, split=None):
        """Refuses missing values as `check_values` does; says where a scale hardly fits."""
        values = check_values(self.array, self.path, missing=normalizer.fill is not None)
        warn_of_scale(values, normalizer.value_range, self.path)

    def split(self, data, split, normalizer, size=None, seed=None):
        """A split of the file, "train", "validation" or "test", as a source."""
        array, path = self.array, self.path
        indices = _split(data).indices(len(array), split)
        name = (
            f"{path}, {split} split ({len(indices):,} of {len(array):,} sequences, split_seed "
            f"{data.split_seed}{_frames_used(array, data)})"
        )
        return OwnSequences(array, indices, _frames(data), normalizer, name, size, seed)

    def whole(self, data, normalizer):
        """All of the file as a source."""
        array = self.array
        _check_length(array, self.path, data)
        name = f"{self.path} (all {len(array):,} sequences{_frames_used(array, data)})"
        return OwnSequences(array, np.arange(len(array)), _frames(data), normalizer, name)


def _split(data):
    return Split(data.held_out, data.split_seed)


def check_frames(frame_shape, path, config):
    """Raises `InputError` unless the network of a `Config` can read frames of (C, H, W)."""
    channels, *size = frame_shape
    if channels != config.model.channels:
        raise InputError(
            f"{path}: has {channels} channels, and the network reads {config.model.channels}"
        )
    if not config.data.pad:
        config.model.check_image_size(size, path)


def warn_of_scale(values, value_range, path):
    """Says on stderr where (lowest, highest) and a scale hardly fit each other."""
    doubt, (lowest, highest), (low, high) = out_of_range(values, value_range), values, value_range
    if not doubt and 0 < highest - lowest < NARROW * (high - low):
        doubt = (
            f"its values reach from {lowest:g} to {highest:g} only, value_range is {low:g} {high:g}"
        )
    if doubt:
        print(f"warning: {path}: {doubt}; is that its scale?", file=sys.stderr)


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
    there, needed = array.shape[1], _frames(data)
    return "" if there == needed else f", the first {needed} of {there} frames"
