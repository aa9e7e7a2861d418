"""Pictures as input: their pixels exactly, in the right order."""

import numpy as np
import pytest
from PIL import Image

from src.errors import InputError
from src.formats.images import holds_pictures, read_sequences


@pytest.fixture
def frames(rng):
    return rng.integers(0, 256, (12, 8, 10), np.uint8)


def test_gif(tmp_path, frames):
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "x.gif", save_all=True, append_images=others)
    np.testing.assert_array_equal(read_sequences(tmp_path / "x.gif", 1), frames[None, :, None])
    coloured = read_sequences(tmp_path / "x.gif", 3)
    np.testing.assert_array_equal(coloured, np.repeat(frames[None, :, None], 3, 2))


def test_png_folder(tmp_path, frames):
    """Frame 2 comes before frame 10; other files do not count; colours stay or turn grey."""
    for k, frame in enumerate(frames):
        pixels = np.stack([frame] * 3, -1) if k == 5 else frame
        Image.fromarray(pixels).save(tmp_path / f"frame_{k}.png")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "._frame_3.png").write_bytes(b"what macOS puts beside a file")
    np.testing.assert_array_equal(read_sequences(tmp_path, 1), frames[None, :, None])
    assert read_sequences(tmp_path, 3).shape == (1, 12, 3, 8, 10)
    with pytest.raises(InputError, match="pictures have 1 or 3 channels, and the network reads 4"):
        read_sequences(tmp_path, 4)


def test_png_of_16_bits(tmp_path, rng):
    pixels = rng.integers(0, 65536, (8, 10), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_sequences(tmp_path, 1)[0, 0, 0], pixels)
    np.testing.assert_array_equal(read_sequences(tmp_path, 3)[0, 0], [pixels] * 3)


def test_what_is_no_picture(tmp_path, frames):
    (tmp_path / "._x.png").touch()
    assert not holds_pictures(tmp_path)
    with pytest.raises(InputError, match="holds no .png file"):
        read_sequences(tmp_path, 1)
    with pytest.raises(InputError, match=r"x.gif: not found"):
        read_sequences(tmp_path / "x.gif", 1)
    (tmp_path / "x.gif").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"x.gif: cannot be read"):
        read_sequences(tmp_path / "x.gif", 1)
    Image.fromarray(frames[0]).save(tmp_path / "a.png")
    Image.fromarray(frames[0, :4]).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="b.png is 4x10 uint8, and a.png is 8x10 uint8"):
        read_sequences(tmp_path, 1)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"b.png: cannot be read"):
        read_sequences(tmp_path, 1)
