"""Own data (--dataset): what kind of file it is, and the splits of it as datasets.

| file                                            | is                                           |
|-------------------------------------------------|----------------------------------------------|
| NetCDF, Zarr, a folder, a pattern (`*`)         | one record in time                           |
| .npy, .npz of (T, H, W)                         | one record in time                           |
| .npy, .npz of (N, T, H, W)                      | sequences; with window_stride a record of    |
|                                                 | (T, C, H, W)                                 |
| .npy, .npz of (N, T, C, H, W)                   | sequences                                    |
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from src.data.normalizer import check_value_range, make_normalizer
from src.data.record import RecordFile
from src.data.sequences import SequencesFile, check_frames
from src.errors import InputError
from src.formats.arrays import read_file
from src.formats.options import ReadOptions
from src.formats.readers import files_of, is_array

# Spellings of mm/h; a kilogram of rain on a square metre is a millimetre.
MILLIMETRES_PER_HOUR = (
    "mm/h",
    "mm/hr",
    "mm/hour",
    "mm h-1",
    "mm hr-1",
    "mm hour-1",
    "mm h^-1",
    "mm.h-1",
    "mm h**-1",
    "kg m-2 h-1",
)
# The most windows that a mean image is computed from.
SAMPLED_WINDOWS = 1000


def open_file(path, data):
    """The `SequencesFile` or `RecordFile` at a path.

    Args:
        path: a file, a folder or a pattern.
        data: a `DataConfig`, or an object with its fields that `ReadOptions` has.
    """
    files = files_of(path)
    if files == [Path(path)] and is_array(path):
        dimensions = read_file(path).ndim
        if dimensions == 5 or (dimensions == 4 and data.window_stride is None):
            return SequencesFile(path)
    stamps = None
    if all(file.is_file() for file in files):
        found = [file.stat() for file in files]
        stamps = tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in found)
    opened = _open_record if stamps else _open_record.__wrapped__
    return opened(path, ReadOptions.of(data), stamps)


@lru_cache(maxsize=1)
def _open_record(path, options, stamps):
    """The `RecordFile` at a path, opened once as long as its files have the same stamps: a record
    of ten thousand files takes a while.
    """
    return RecordFile(path, options)


def check_units(file, transform):
    """Raises `InputError` unless a file has the units that a transform needs."""
    if transform != "dbz" or file.units in MILLIMETRES_PER_HOUR or not file.has_names:
        return
    has = f"has the units {file.units!r}" if file.units else "has no units"
    raise InputError(
        f"{file.path}: {has}, and transform dbz needs rain in mm/h: convert the values and set "
        "the variable's attribute units = 'mm/h'"
    )


def training_sources(config, file=None):
    """The training and the validation split of a run's dataset.

    Args:
        config: the run's `Config`.
        file: the dataset, if it is already open.

    Raises:
        InputError: the file is not the one that the run began with, or its values cannot be used.
    """
    data = config.data
    if file is None:
        file = open_file(data.dataset, data)
        if file.fingerprint() != data.dataset_crc:
            raise InputError(
                f"{file.path}: is another file than the run began with (dataset): its split into "
                "training, validation and test would differ"
            )
        file.check_length(data)
    normalizer = make_normalizer(config, file.frame_shape[1:])
    file.check_values(data, normalizer)
    train = file.split(data, "train", normalizer, data.epoch_size, config.training.seed)
    return train, file.split(data, "validation", normalizer)


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
        raise InputError(
            f"{path}: is no longer the file that the checkpoint was trained on, so its test split "
            "is unknown; to use all of it, name it with test.py --dataset or predict.py --input"
        )
    if known and scale != data.value_range:
        low, high = data.value_range
        raise InputError(
            f"{path}: was trained on with value_range {low:g} {high:g}; leave --value_range out"
        )
    check_frames(file.frame_shape, path, config)
    check_units(file, data.transform)
    normalizer = make_normalizer(config, file.frame_shape[1:], scale)
    if known:
        file.check_length(data)
        file.warn_of_values(data, normalizer, "test")
        return file.split(data, "test", normalizer)
    source = file.whole(data, normalizer)
    file.warn_of_values(data, normalizer)
    return source


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
    normalizer = make_normalizer(config, file.frame_shape[1:])
    source = file.split(data, "train", normalizer)
    spread = np.linspace(0, len(source) - 1, min(len(source), SAMPLED_WINDOWS)).astype(int)
    source.indices = source.indices[spread]
    source.size = len(spread)
    return source
