"""Own data (--dataset): what kind of file it is, and the splits of it as datasets.

| file                                            | is                                           |
|-------------------------------------------------|----------------------------------------------|
| NetCDF, Zarr, a folder, a pattern (`*`)         | one record in time                           |
| .npy, .npz of (T, H, W)                         | one record in time                           |
| .npy, .npz of (N, T, H, W)                      | sequences; with window_stride a record of    |
|                                                 | (T, C, H, W)                                 |
| .npy, .npz of (N, T, C, H, W)                   | sequences                                    |
| .npy, .npz with axes                            | sequences if they have N, else a record      |
"""

import copy
import dataclasses
from functools import lru_cache
from pathlib import Path

import numpy as np

from src.data.agreement import check_identity, convert_units, settings_of
from src.data.normalizer import check_value_range, make_normalizer
from src.data.rain import draw_by_rain, thresholds_of, warn_if_dry
from src.data.record import RecordFile
from src.data.sequences import SequencesFile, check_frames
from src.data.tiles import Tiles
from src.errors import InputError
from src.formats.arrays import check_axes, read_file
from src.formats.images import holds_pictures
from src.formats.options import ReadOptions
from src.formats.readers import files_of, holds_record, is_array

# Checkpoints from before this version do not say how their dataset was read (read_by).
READ_DIFFERENTLY = "0.3.0"
# The settings of how own data are read, and those of them that only files with names have.
READING = {f.name for f in dataclasses.fields(ReadOptions)}
OF_NAMES = {"variable", "group", "time", "latitude", "longitude"}
# The most windows that a mean image is computed from.
SAMPLED_WINDOWS = 1000


def open_file(path, data, needed=None):
    """The `SequencesFile` or `RecordFile` at a path.

    Args:
        path: a file, a folder or a pattern.
        data: a `DataConfig`, or an object with its fields that `ReadOptions` has and `frequency`.
        needed: the number of frames that are needed of a sequence; default: all that the network
            reads and forecasts.
    """
    files, options = files_of(path), ReadOptions.of(data)
    is_one_array = files == [Path(path)] and is_array(path)
    if is_one_array and _holds_sequences(read_file(path).ndim, data):
        frames = data.input_frames + data.forecast_frames
        return SequencesFile(path, options, (frames, needed or frames))
    if not all(file.is_file() for file in files):
        return RecordFile(path, options, data.frequency)
    found = [file.stat() for file in files]
    stamps = tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in found)
    file = copy.copy(_open_record(path, options, data.frequency, stamps))
    file.record = copy.copy(file.record)
    return file


@lru_cache(maxsize=1)
def _open_record(path, options, frequency, stamps):
    """The `RecordFile` at a path, opened once as long as its files have the same stamps: a record
    of ten thousand files takes a while.
    """
    return RecordFile(path, options, frequency)


def log_frequency(file, known):
    """Prints the frequency of a file's times unless it is that which a checkpoint has."""
    if file.frequency not in (known, None):
        print(f"frequency: {file.frequency}, found in {file.path}")


def check_reading(path, given):
    """Raises `InputError` for a setting of how own data are read that the data cannot follow.

    Args:
        path: a file, a folder, or a pattern.
        given: the settings that were given, by name.
    """
    given = {name for name, value in given.items() if value} & READING
    if not given:
        return
    if holds_pictures(path) and not holds_record(path):
        what, wrong = "is made of pictures", given - {"nodata"}
    elif is_array(files_of(path)[0]):
        what, wrong = "is neither NetCDF nor Zarr: its axes have no names", given & OF_NAMES
    else:
        what, wrong = "has names of its axes, and axes is for .npy and .npz", given & {"axes"}
    if wrong:
        raise InputError(f"{path}: {what}; leave --{' and --'.join(sorted(wrong))} out")


def _holds_sequences(dimensions, data):
    """Whether an array is of whole sequences, not one record."""
    if data.axes:
        return "N" in check_axes(data.axes)
    return dimensions == 5 or (dimensions == 4 and data.window_stride is None)


def _difference(file, data, words="is another file than the run began with"):
    """Why a dataset has not the fingerprint that a checkpoint holds, in words.

    Args:
        file: the dataset.
        data: the checkpoint's `DataConfig`.
        words: what is said of a dataset that the checkpoint's version reads as this one does.
    """
    if data.read_by is not None or not file.has_names:
        return words
    changes = "; ".join(file.changes) or "times, missing values, axes and units as CF says"
    return (
        f"is read differently since version {READ_DIFFERENTLY}: {changes}; or it has changed since "
        "the run began"
    )


def training_sources(config, file=None, is_new=True):
    """The training and the validation split of a run's dataset.

    Args:
        config: the run's `Config`.
        file: the dataset, if it is already open.
        is_new: whether the run has yet to begin; a warning then says where the splits are dry.

    Raises:
        InputError: the file is not the one that the run began with, or its values cannot be used.
    """
    data = config.data
    if file is None:
        file = open_file(data.dataset, data)
        if file.fingerprint() != data.dataset_crc:
            raise InputError(
                f"{file.path}: {_difference(file, data)} (dataset): its split into training, "
                "validation and test would differ"
            )
        file.check_length(data)
        log_frequency(file, data.frequency)
        convert_units(file, data, known=True)
    normalizer = make_normalizer(config, file.frame_shape[1:])
    file.check_values(data, normalizer)
    train = file.split(data, "train", normalizer, data.epoch_size, config.training.seed)
    if data.wet_sampling:
        draw_by_rain(train, file, data.wet_sampling)
    validation = file.split(data, "validation", normalizer)
    thresholds = thresholds_of(file, config)
    if is_new and thresholds:
        warn_if_dry(validation, "validation", thresholds, file.path)
        warn_if_dry(file.split(data, "test", normalizer), "test", thresholds, file.path)
    if data.tile:
        train = Tiles(train, data.tile, config.training.seed)
    return train, validation


def evaluation_source(config, dataset=None, value_range=None):
    """The test split of the file that a checkpoint was trained on, or all of another file.

    Args:
        config: the checkpoint's `Config`.
        dataset: the file; default: the one that the checkpoint was trained on.
        value_range: the file's value range; default: the checkpoint's.
    """
    data = config.data
    path, scale = dataset or data.dataset, value_range or data.value_range
    check_value_range(scale, path, data.transform)
    file = open_file(path, data)
    known = file.fingerprint() == data.dataset_crc
    if not known and dataset is None:
        gone = "is no longer the file that the checkpoint was trained on"
        raise InputError(
            f"{path}: {_difference(file, data, gone)}, so its test split is unknown; to use all of "
            "it, name it with test.py --dataset or predict.py --input"
        )
    check_frames(file.frame_shape, path, config)
    if not known:
        data = with_dataset_named(data, file)
        check_identity(file, data)
    grown = not known and _begins_with_dataset(file, data)
    if (known or grown) and scale != data.value_range:
        low, high = data.value_range
        raise InputError(
            f"{path}: was trained on with value_range {low:g} {high:g}; leave --value_range out"
        )
    log_frequency(file, data.frequency)
    convert_units(file, data, value_range, known or grown)
    normalizer = make_normalizer(config, file.frame_shape[1:], scale)
    if not known:
        return _source_of_other(file, data, normalizer, grown)
    file.check_length(data)
    file.warn_of_values(data, normalizer, "test")
    return file.split(data, "test", normalizer)


def _source_of_other(file, data, normalizer, grown):
    """What is measured of another file than that of the training: all, or if it has grown from that
    one what was not trained on; says so.
    """
    if grown:
        print(
            f"{file.path}: its first {data.dataset_size:,} are the dataset that the network was "
            "trained on, whose training and validation splits are left out"
        )
        return file.after_training(data, normalizer)
    source = file.whole(data, normalizer)
    file.warn_of_values(data, normalizer)
    is_from_before = data.dataset_size is None and data.read_by is None and file.changes
    if _is_part_of_dataset(file.path, data.dataset) or is_from_before:
        changed = (
            "shares files with the dataset that the network was trained on, but is not that "
            "dataset as it was"
        )
        print(
            f"{file.path}: {_difference(file, data, changed)}: frames that it was trained on may "
            "be among those that are measured"
        )
    return source


def _is_part_of_dataset(path, dataset):
    """Whether a file, folder or pattern has a file in common with the dataset of a training."""
    if dataset is None:
        return False
    try:
        files, trained = ({each.resolve() for each in files_of(p)} for p in (path, dataset))
    except InputError:
        return False
    return not files.isdisjoint(trained)


def with_dataset_named(data, file):
    """A `DataConfig` with what its dataset holds, if it is from before that was stored.

    Args:
        data: the `DataConfig` of a checkpoint.
        file: the new file that will be compared with it.

    Returns:
        `data` itself if it is complete, or its dataset is no longer where and what it was.
    """
    if data.found_variable or data.dataset_crc is None or not file.has_names:
        return data
    try:
        dataset = open_file(data.dataset, data)
    except InputError:
        return data
    if not dataset.has_names or dataset.fingerprint() != data.dataset_crc:
        return data
    found = settings_of(dataset)
    found["units"] = data.units or found["units"]
    print(f"variable: {found['found_variable']}, in {found['units']}, as {data.dataset} says")
    return dataclasses.replace(data, **found)


def _begins_with_dataset(file, data):
    """Whether a file goes on from the dataset that a network was trained on."""
    size = data.dataset_size
    return bool(size and size < len(file) and file.fingerprint(size) == data.dataset_crc)


def training_split(config, dataset=None):
    """At most 1,000 training sequences of a checkpoint, evenly spread and in order.

    Args:
        config: the checkpoint's `Config`.
        dataset: the file; default: the one that the checkpoint was trained on.

    Returns:
        A dataset, or None if the checkpoint was not trained on this file.
    """
    data = config.data
    file = open_file(dataset or data.dataset, data)
    if file.fingerprint() != data.dataset_crc:
        return None
    convert_units(file, data, known=True, quiet=True)
    normalizer = make_normalizer(config, file.frame_shape[1:])
    source = file.split(data, "train", normalizer)
    spread = np.linspace(0, len(source) - 1, min(len(source), SAMPLED_WINDOWS)).astype(int)
    source.indices = source.indices[spread]
    source.size = len(spread)
    return source
