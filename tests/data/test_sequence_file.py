"""The test set's file: read by memory map, refused when it is anything else."""

import numpy as np
import pytest

from src.data.moving_mnist import SequenceFile
from src.errors import InputError


@pytest.fixture
def array(rng):
    return rng.integers(0, 256, (20, 3, 64, 64), np.uint8)


def test_time_first_becomes_batch_first(tmp_path, array):
    path = tmp_path / "mnist_test_seq.npy"
    np.save(path, array)
    source = SequenceFile(path, 14, (64, 64))
    assert len(source) == 3
    assert isinstance(source.array, np.memmap)
    got = source[[2, 0, 2]]
    assert got.shape == (3, 14, 1, 64, 64)
    for sequence, index in zip(got, [2, 0, 2], strict=True):
        np.testing.assert_array_equal(sequence[:, 0], array[:14, index])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.astype(np.float32), "holds float32"),
        (lambda a: a[0], r"shape \(3, 64, 64\)"),
        (lambda a: a.swapaxes(0, 1), "time first"),
        (lambda a: a[:, :0], r"shape \(20, 0, 64, 64\)"),
        (lambda a: a[..., :32], r"shape \(20, 3, 64, 32\)"),
    ],
)
def test_wrong_arrays(tmp_path, array, change, message):
    path = tmp_path / "mnist_test_seq.npy"
    np.save(path, change(array))
    with pytest.raises(InputError, match=message):
        SequenceFile(path, 20, (64, 64))


def test_objects_are_never_unpickled(tmp_path):
    path = tmp_path / "mnist_test_seq.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable .npy array"):
        SequenceFile(path, 20, (64, 64))


def test_cut_file_and_false_header(tmp_path, array):
    path = tmp_path / "mnist_test_seq.npy"
    np.save(path, array)
    content = path.read_bytes()
    huge = content.replace(b"(20, 3, 64, 64), }  ", b"(20,3000000,64,64),}")
    for broken in (content[:-1], content[:50], content[:5], b"", b"not an array", huge):
        assert broken != content
        path.write_bytes(broken)
        with pytest.raises(InputError, match="not a readable .npy array"):
            SequenceFile(path, 20, (64, 64))


def test_missing_file_and_too_many_frames(tmp_path, array):
    path = tmp_path / "mnist_test_seq.npy"
    with pytest.raises(InputError, match="not found"):
        SequenceFile(path, 20, (64, 64))
    np.save(path, array)
    with pytest.raises(InputError, match="needs 21"):
        SequenceFile(path, 21, (64, 64))
