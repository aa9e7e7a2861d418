"""Which data is used when, and what it is called."""

import gzip
import struct

import numpy as np
import pytest

from src.config.presets import make_config
from src.data.sources import evaluation_source, training_sources
from src.errors import InputError


def write_training_file(folder, images, name="train-images-idx3-ubyte.gz"):
    """Real digits as the file that --data_path needs."""
    content = struct.pack(">4I", 2051, len(images), 28, 28) + images.tobytes()
    (folder / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)


def test_embedded_digits_by_default(digits):
    """0-7,999 to train, 8,000-8,999 to validate, 9,000-9,999 to test: never a shared digit."""
    config = make_config("small", {"eval_size": 50})
    train, validation = training_sources(config)
    test = evaluation_source(config)
    np.testing.assert_array_equal(train.digits, digits[:8000])
    np.testing.assert_array_equal(validation.digits, digits[8000:9000])
    np.testing.assert_array_equal(test.digits, digits[9000:])
    assert (len(train), len(validation), len(test)) == (10_000, 50, 10_000)
    assert "embedded MNIST test digits 0-7,999" in train.name
    assert "embedded MNIST test digits 8,000-8,999" in validation.name
    assert "embedded MNIST test digits 9,000-9,999" in test.name


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"])
def test_data_path(tmp_path, digits, name):
    """The last 1,000 digits of the file validate."""
    write_training_file(tmp_path, digits[:1500], name)
    train, validation = training_sources(make_config("small", {"data_path": str(tmp_path)}))
    np.testing.assert_array_equal(train.digits, digits[:500])
    np.testing.assert_array_equal(validation.digits, digits[500:1500])
    assert str(tmp_path / name) in train.name


def test_seeds():
    """The run's seed changes the training sequences and nothing else."""
    one, two = (make_config("small", {"seed": seed}) for seed in (1, 2))
    (train, validation), (other_train, other_validation) = map(training_sources, (one, two))
    assert (train[[0]] != other_train[[0]]).any()
    np.testing.assert_array_equal(validation[[0]], other_validation[[0]])
    np.testing.assert_array_equal(evaluation_source(one)[[0]], evaluation_source(two)[[0]])


def test_limit():
    source = evaluation_source(make_config("small", {}), limit=7)
    assert len(source) == 7
    assert source[[6]].shape == (1, 20, 1, 64, 64)


def test_missing_and_too_small(tmp_path, digits):
    config = make_config("small", {"data_path": str(tmp_path)})
    with pytest.raises(InputError, match="holds neither train-images-idx3-ubyte.gz nor"):
        training_sources(config)
    write_training_file(tmp_path, digits[:1000])
    with pytest.raises(InputError, match="holds 1,000 digits"):
        training_sources(config)
    with pytest.raises(InputError, match="mnist_test_seq.npy: not found"):
        evaluation_source(config, workroot=tmp_path)
