"""Own data: whole sequences in one file, split by sequence into parts."""

import sys
from dataclasses import dataclass

import numpy as np

from src.config import DataConfig
from src.data.array_file import check_values, fingerprint, out_of_range, read_array
from src.data.scale import check_value_range
from src.errors import InputError

PARTS = ("train", "validation", "test")
# Values that span less than this share of their scale are likely to have another one.
NARROW = 0.02


@dataclass(frozen=True)
class Split:
    """Which sequences of a file belong to which part."""

    held_out: float
    seed: int

    def sizes(self, count):
        """The numbers of sequences of `PARTS`: a share each to validate and to test, at least 1."""
        held_out = max(1, min(round(self.held_out * count), (count - 1) // 2))
        return count - 2 * held_out, held_out, held_out

    def indices(self, count, part):
        """The places in the file of the sequences of a part."""
        order = np.random.default_rng(self.seed).permutation(count)
        ends = np.cumsum(self.sizes(count))
        k = PARTS.index(part)
        return order[ends[k] - self.sizes(count)[k] : ends[k]]


class OwnSequences:
    """Some sequences of an array, each of them once in as many as there are.

    Args:
        array: (N, T, C, H, W), of `read_array`.
        indices: the sequences that are used.
        frames: frames of each that are used, the first ones.
        value_range: the two values that become 0 and 1.
        name: what to call the data in messages.
        size: sequences in an epoch; default: one for each index.
        seed: seed of the order, another for each pass over the indices; None: as they come.
    """

    def __init__(self, array, indices, frames, value_range, name, size=None, seed=None):
        self.array = array
        self.indices = indices
        self.num_frames = frames
        self.value_range = value_range
        self.name = name
        self.size = len(indices) if size is None else size
        self.seed = seed

    def __len__(self):
        return self.size

    def frames(self, indices, epoch=0):
        """(len(indices), frames, C, H, W), of the array's type."""
        places = epoch * self.size + np.asarray(indices)
        rounds, positions = np.divmod(places, len(self.indices))
        batch = np.empty((len(places), self.num_frames, *self.array.shape[2:]), self.array.dtype)
        for number in np.unique(rounds):
            now = rounds == number
            batch[now] = self.array[self._order(number)[positions[now]], : self.num_frames]
        return batch

    def _order(self, number):
        """The indices in the order of a pass, a pure function of seed and number."""
        if self.seed is None:
            return self.indices
        return np.random.default_rng((self.seed, number)).permutation(self.indices)


def options_of(options):
    """What a dataset decides of a new run's configuration, by the names of flags.

    Args:
        options: the flags that are given.

    Raises:
        InputError: the file cannot be used, or a flag contradicts it.
    """
    path = options["dataset"]
    check_value_range(options.get("value_range"), path)
    array = read_array(path)
    count, size = len(array), array.shape[3:]
    given = options.get("image_size", size)
    if given != size:
        raise InputError(
            f"{path}: has frames of {size[0]}x{size[1]}, and image_size is {given[0]} {given[1]}; "
            "leave --image_size out"
        )
    if count < len(PARTS):
        raise InputError(
            f"{path}: holds {count} sequences; at least {len(PARTS)} are needed, to train, to "
            "validate and to test on"
        )
    split = Split(
        options.get("held_out", DataConfig.held_out),
        options.get("split_seed", DataConfig.split_seed),
    )
    return {
        "image_size": size,
        "channels": array.shape[2],
        "epoch_size": split.sizes(count)[0],
        "dataset_crc": fingerprint(array),
    }


def training_sources(config):
    """The training and the validation part of `dataset`, whose values are all inside its scale.

    Raises:
        InputError: it is not the file that the configuration was made for, or has values that it
            cannot have.
    """
    data = config.data
    path, array = data.dataset, read_array(data.dataset)
    if fingerprint(array) != data.dataset_crc:
        raise InputError(
            f"{path}: is another file than the run began with (dataset): its split into training, "
            "validation and test would no longer hold"
        )
    check_length(array, path, data)
    outside = out_of_range(check_values(array, path), data.value_range)
    if outside:
        raise InputError(f"{path}: {outside}: widen --value_range, or clip the file (np.clip)")
    train = part_of(array, path, data, "train", data.epoch_size, config.training.seed)
    return train, part_of(array, path, data, "validation")


def evaluation_source(config, dataset=None, value_range=None):
    """The test part of the checkpoint's own file, or all sequences of another.

    Args:
        config: the checkpoint's `Config`.
        dataset: the file; default: the checkpoint's own.
        value_range: its scale; default: the checkpoint's.
    """
    data = config.data
    path, scale = dataset or data.dataset, value_range or data.value_range
    check_value_range(scale, path)
    array = read_array(path)
    known = fingerprint(array) == data.dataset_crc
    if not known and dataset is None:
        raise InputError(
            f"{path}: is no longer the file that the checkpoint was trained on, so that its test "
            "part is not known; of a file that is named (test.py --dataset, predict.py --input) "
            "all is used"
        )
    if known and scale != data.value_range:
        low, high = data.value_range
        raise InputError(f"{path}: was trained on with value_range {low:g} {high:g}; leave it out")
    check_frames(array, path, config.model)
    check_length(array, path, data)
    warn_of_scale(check_values(array, path), scale, path)
    if known:
        return part_of(array, path, data, "test")
    name = f"{path} (all {len(array):,} sequences{_frames_used(array, data)})"
    return OwnSequences(array, np.arange(len(array)), _frames(data), scale, name)


def training_part(config, dataset=None):
    """The sequences that the checkpoint was trained on, as they come; None if the file has none."""
    path = dataset or config.data.dataset
    array = read_array(path)
    if fingerprint(array) != config.data.dataset_crc:
        return None
    return part_of(array, path, config.data, "train")


def part_of(array, path, data, part, size=None, seed=None):
    """A part of a file: "train", "validation" or "test"."""
    indices = Split(data.held_out, data.split_seed).indices(len(array), part)
    name = (
        f"{path}, {part} part ({len(indices):,} of {len(array):,} sequences, split_seed "
        f"{data.split_seed}{_frames_used(array, data)})"
    )
    return OwnSequences(array, indices, _frames(data), data.value_range, name, size, seed)


def check_frames(array, path, model):
    """Raises `InputError` unless a network of `model` can read the frames of (N, T, C, H, W)."""
    if array.shape[2] != model.channels:
        raise InputError(
            f"{path}: has {array.shape[2]} channels, and the network reads {model.channels}"
        )
    model.check_image_size(array.shape[3:], path)


def warn_of_scale(values, value_range, path):
    """Says on stderr where (lowest, highest) and a scale hardly fit each other."""
    doubt, (lowest, highest), (low, high) = out_of_range(values, value_range), values, value_range
    if not doubt and 0 < highest - lowest < NARROW * (high - low):
        doubt = (
            f"its values reach from {lowest:g} to {highest:g} only, value_range is {low:g} {high:g}"
        )
    if doubt:
        print(f"warning: {path}: {doubt}; is that its scale?", file=sys.stderr)


def check_length(array, path, data):
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
