"""Which data are used for training, validation and test.

|                  | train               | validate             | test                       |
|------------------|---------------------|----------------------|----------------------------|
| no path          | embedded 0-7,999    | embedded 8,000-8,999 | generated, 9,000-9,999     |
| data_path DIR    | all but last 1,000  | last 1,000           |                            |
| workroot DIR     |                     |                      | DIR/mnist_test_seq.npy     |
| dataset FILE     | 80 % at random      | 10 %                 | 10 %; all of another file  |
| ... of a record  | its beginning       | a later part         | its end; all of another    |
"""

from pathlib import Path

import numpy as np

from src import ROOT
from src.data import own_data
from src.data.dataset import First
from src.data.moving_mnist import MovingMNIST, SequenceFile, read_idx_images
from src.errors import InputError

EMBEDDED_DIGITS = ROOT / "data" / "t10k-images-idx3-ubyte.gz"
TRAINING_FILE = "train-images-idx3-ubyte"
TEST_FILE = "mnist_test_seq.npy"
HELD_OUT = 1_000
TEST_SIZE = 10_000
# The seed of validation and test sequences: they are the same in every run.
FIXED_SEED = 2015


def training_sources(config, dataset=None, is_new=True):
    """The training and the validation sequences of a run's `Config`.

    Args:
        config: the `Config`.
        dataset: the run's dataset, if it is already open.
        is_new: whether the run has yet to begin; if so, a warning says where its dataset is dry.

    Raises:
        InputError: `data_path` does not hold a readable file with enough digits, or `dataset` is
            not the file that the run began with, or has values that cannot be used.
    """
    data = config.data
    if data.dataset is not None:
        train, validation = own_data.training_sources(config, dataset, is_new)
        return train, First(validation, data.eval_size or len(validation))
    if data.data_path is None:
        digits, name = read_idx_images(EMBEDDED_DIGITS), "embedded MNIST test digits"
        validation = slice(8 * HELD_OUT, 9 * HELD_OUT)
    else:
        path = _training_file(Path(data.data_path))
        digits, name = read_idx_images(path), f"digits of {path}"
        if len(digits) <= HELD_OUT:
            raise InputError(
                f"{path}: holds {len(digits):,} digits; more than {HELD_OUT:,} are needed, "
                "because the last 1,000 are kept for validation"
            )
        validation = slice(len(digits) - HELD_OUT, len(digits))
    train, seed = slice(0, validation.start), config.training.seed
    counts, size = data.num_digits, config.eval_size
    return (
        _generator(digits, train, name, data, counts, data.epoch_size, seed, "train"),
        _generator(digits, validation, name, data, counts, size, FIXED_SEED, "validation"),
    )


def evaluation_source(
    config, workroot=None, num_digits=(2,), limit=None, dataset=None, value_range=None
):
    """The test sequences: of `workroot` or `dataset` if given, else of the dataset that the
    checkpoint was trained on, else 10,000 generated ones.

    Args:
        config: the checkpoint's `Config`.
        workroot: folder with mnist_test_seq.npy, or None.
        num_digits: numbers of digits in the generated sequences.
        limit: the number of sequences to use, from the first; None: all.
        dataset: file of own data, or None. Only the test split is used of the file that the
            checkpoint was trained on, and all of any other file.
        value_range: the value range of `dataset`; default: the checkpoint's.

    Raises:
        InputError: a file cannot be used, or the arguments contradict each other.
    """
    data = config.data
    if workroot is not None and dataset is not None:
        raise InputError("--workroot and --dataset are both given: name one test set")
    if value_range is not None and dataset is None:
        raise InputError("--value_range is given without --dataset, to which it belongs")
    if workroot is not None:
        frames = data.input_frames + data.forecast_frames
        source = SequenceFile(Path(workroot) / TEST_FILE, frames, data.image_size)
    elif dataset is not None or data.dataset is not None:
        source = own_data.evaluation_source(config, dataset, value_range)
    else:
        digits, held_out = read_idx_images(EMBEDDED_DIGITS), slice(9 * HELD_OUT, 10 * HELD_OUT)
        name = "embedded MNIST test digits"
        source = _generator(digits, held_out, name, data, num_digits, TEST_SIZE, FIXED_SEED, "test")
    return source if limit is None else First(source, limit)


def sample_inputs(config, count):
    """Example inputs for a network, (count, input_frames, C, H, W), float32 in [0, 1].

    They are generated sequences of digits, or noise for a network that was trained on a dataset,
    because its file may no longer exist.
    """
    data = config.data
    if data.dataset is None:
        source = evaluation_source(config)
        return source.normalizer.normalize(source[range(count)][:, : data.input_frames])
    shape = (count, data.input_frames, config.model.channels, *config.network_size)
    return np.random.default_rng(FIXED_SEED).random(shape, np.float32)


def mean_image_source(config, workroot=None, num_digits=(2,), dataset=None):
    """Training sequences for the mean image that an `evaluation_source` is compared with; None if
    its file has no training split.
    """
    data = config.data
    if workroot is not None or (data.dataset is None and dataset is None):
        digits, train = read_idx_images(EMBEDDED_DIGITS), slice(0, 8 * HELD_OUT)
        name = "embedded MNIST test digits"
        return _generator(digits, train, name, data, num_digits, TEST_SIZE, FIXED_SEED, "train")
    return own_data.training_split(config, dataset)


def _generator(digits, part, name, data, num_digits, size, seed, split):
    counts = " or ".join(map(str, num_digits))
    label = (
        f"generated {split} set ({size:,} sequences of {counts} digits, seed {seed}; "
        f"{name} {part.start:,}-{part.stop - 1:,})"
    )
    frames = data.input_frames + data.forecast_frames
    return MovingMNIST(digits[part], size, frames, data.image_size, num_digits, seed, split, label)


def _training_file(folder):
    """The idx file of training digits in `folder`, gzip or plain."""
    for name in (f"{TRAINING_FILE}.gz", TRAINING_FILE):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: holds neither {TRAINING_FILE}.gz nor {TRAINING_FILE} (data_path)")
