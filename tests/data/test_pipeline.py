"""The MindSpore dataset: the same sequences for any number of workers and shards."""

import numpy as np
import pytest

from src.data.moving_mnist import MovingMNIST
from src.data.pipeline import make_dataset


@pytest.fixture(scope="module")
def source(digits):
    return MovingMNIST(digits, 14, 6, (64, 64), (2,), 1, "train", "test")


def passes(dataset, number):
    """The inputs and targets of every batch of every pass."""
    iterator = dataset.create_tuple_iterator(num_epochs=number, output_numpy=True)
    return [list(iterator) for _ in range(number)]


def expected(source, epoch, indices):
    """What a batch of sequences should hold."""
    frames = source.at_epoch(epoch)[indices] / np.float32(255)
    return frames[:, :4], frames[:, 4:]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers(source, workers):
    """From within the third epoch to the end of the fourth, twice, after a look at types and
    shapes; the two sequences that fill no batch are left out.
    """
    steps = range(7, 12)
    dataset = make_dataset(source, 4, 4, steps=steps, num_parallel_workers=workers)
    assert dataset.get_dataset_size() == 5
    assert dataset.output_types() == [np.float32] * 2
    assert dataset.output_shapes() == [[4, 4, 1, 64, 64], [4, 2, 1, 64, 64]]
    for batches in passes(dataset, 2):
        for step, (inputs, targets) in zip(steps, batches, strict=True):
            k = step % 3
            want_inputs, want_targets = expected(source, step // 3, range(4 * k, 4 * k + 4))
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
