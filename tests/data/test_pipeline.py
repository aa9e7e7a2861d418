"""The MindSpore dataset: the same sequences for any number of workers and shards."""

import numpy as np
import pytest

from src.data.moving_mnist import MovingMNIST
from src.data.pipeline import make_dataset


@pytest.fixture(scope="module")
def source(digits):
    return MovingMNIST(digits, 14, 6, (64, 64), (2,), 1, "train", "test")


def passes(dataset, epochs):
    """The inputs and targets of every batch of every epoch."""
    iterator = dataset.create_tuple_iterator(num_epochs=epochs, output_numpy=True)
    return [list(iterator) for _ in range(epochs)]


def expected(source, epoch, indices):
    """What a batch of sequences should hold."""
    frames = source.at_epoch(epoch)[indices] / np.float32(255)
    return frames[:, :4], frames[:, 4:]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers(source, workers):
    """Two epochs from the third on; the two sequences that fill no batch are left out."""
    dataset = make_dataset(source, 4, 4, first_epoch=2, num_parallel_workers=workers)
    assert dataset.get_dataset_size() == 3
    for epoch, batches in enumerate(passes(dataset, 2), start=2):
        assert len(batches) == 3
        for k, (inputs, targets) in enumerate(batches):
            want_inputs, want_targets = expected(source, epoch, range(4 * k, 4 * k + 4))
            assert inputs.dtype == targets.dtype == np.float32
            np.testing.assert_array_equal(inputs, want_inputs)
            np.testing.assert_array_equal(targets, want_targets)


def test_two_shards_share_an_epoch(source):
    """Each sequence once, and step k of both shards together is batch k of the doubled size."""
    shards = [make_dataset(source, 2, 4, num_shards=2, shard_id=r) for r in range(2)]
    (first,), (second,) = (passes(shard, 1) for shard in shards)
    assert len(first) == len(second) == 3
    for k, batches in enumerate(zip(first, second, strict=True)):
        inputs = np.concatenate([inputs for inputs, _ in batches])
        np.testing.assert_array_equal(inputs, expected(source, 0, range(4 * k, 4 * k + 4))[0])


def test_keep_all_fills_the_last_batch(source):
    """14 sequences in batches of 4: four batches, the last with two copies of the last sequence."""
    (batches,) = passes(make_dataset(source, 4, 4, keep_all=True), 1)
    inputs = np.concatenate([inputs for inputs, _ in batches])
    np.testing.assert_array_equal(inputs, expected(source, 0, [*range(14), 13, 13])[0])
