"""Files of own sequences: what is read, and what is refused."""

import zipfile

import numpy as np
import pytest

from src.errors import InputError
from src.formats.arrays import check_values, fingerprint, out_of_range, read_array


@pytest.fixture
def array(rng):
    return rng.random((4, 3, 2, 8, 12), np.float32)


def test_both_layouts_and_both_formats(tmp_path, array):
    """A .npy file is not loaded but mapped."""
    np.save(tmp_path / "five.npy", array)
    np.save(tmp_path / "four.npy", array[:, :, 0])
    np.savez_compressed(tmp_path / "five.npz", any_name=array)
    for name, expected in (("five.npy", array), ("four.npy", array[:, :, :1]), ("five.npz", array)):
        got = read_array(tmp_path / name)
        np.testing.assert_array_equal(got, expected)
        assert isinstance(got, np.memmap) == (not name.endswith("npz"))


def test_an_archive_that_macos_packed(tmp_path, array):
    """It has a hidden file beside each."""
    np.savez(tmp_path / "x.npz", array)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as file:
        file.writestr("__MACOSX/._arr_0.npy", b"no array")
    np.testing.assert_array_equal(read_array(tmp_path / "x.npz"), array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[0, :, 0], r"has the shape \(3, 8, 12\).*array\[None\]"),
        (lambda a: a[None], r"has the shape \(1, 4, 3, 2, 8, 12\)"),
        (lambda a: a[:0], r"has the shape \(0, 3, 2, 8, 12\)"),
        (lambda a: a > 0.5, "holds bool; integers or floats"),
        (lambda a: a.astype("M8[s]"), "holds datetime64"),
        (lambda a: a + 1j, "holds complex"),
    ],
)
def test_other_arrays(tmp_path, array, change, message):
    np.save(tmp_path / "x.npy", change(array))
    with pytest.raises(InputError, match=message):
        read_array(tmp_path / "x.npy")


def test_other_files(tmp_path, array):
    np.savez(tmp_path / "two.npz", a=array, b=array)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", np.array([{}], object))
    np.savez_compressed(tmp_path / "cut.npz", array)
    content = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[:400] + b"damaged" + content[407:])
    (tmp_path / "text.npy").write_text("1 2 3\n")
    with pytest.raises(InputError, match="holds the arrays a, b; exactly one"):
        read_array(tmp_path / "two.npz")
    for name in ("objects.npy", "objects.npz", "cut.npz", "text.npy", "."):
        with pytest.raises(InputError, match="not a readable .npy or .npz file"):
            read_array(tmp_path / name)
    with pytest.raises(InputError, match=r"none.npy: not found"):
        read_array(tmp_path / "none.npy")


def test_missing_values_and_their_place(array):
    array[2, 1, 1, 5, 7] = np.nan
    array[3] = np.inf
    message = (
        f"f.npy: {1 + 3 * 2 * 8 * 12} values .* sequence 2, frame 11, channel 1, row 5, column 7"
    )
    with pytest.raises(InputError, match=message):
        check_values(array, "f.npy", first_frame=10)
    assert check_values(array[:2], "f.npy") == (array[:2].min(), array[:2].max())


def test_values_beyond_the_scale():
    assert not out_of_range((np.float32(0.1), np.float32(0.7)), (0.1, 0.7))
    assert "from -9999 to 0.7" in out_of_range((-9999.0, 0.7), (0.0, 0.7))
    assert "from 0 to 0.71" in out_of_range((0.0, 0.71), (0.0, 0.7))


def test_fingerprint(array):
    """Whatever makes a split another one: order, number, type."""
    marks = [array, array[::-1], array[:3], array.astype(np.float64), array + 1]
    assert len({fingerprint(a) for a in marks}) == len(marks)
    assert fingerprint(array.copy()) == fingerprint(array)
