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


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
@pytest.mark.parametrize("kind", ["png", "gif"])
def test_colours_are_not_values_in_silence(tmp_path, capsys, mode, kind):
    """A radar's red is brighter than its blue, whatever the rain: 76 to 29 of 255."""
    pixels = np.zeros((8, 10, 3), np.uint8)
    pixels[:, :5, 0] = pixels[:, 5:, 2] = 255
    first, second = (Image.fromarray(p).convert(mode) for p in (pixels, pixels[::, ::-1]))
    path = tmp_path / "x.gif"
    if kind == "gif":
        first.save(path, save_all=True, append_images=[second])
    else:
        path = tmp_path
        first.save(path / "1.png")
        second.save(path / "2.png")
    assert np.unique(read_sequences(path, 1)).tolist() == [29, 76]
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {path}: colours are read as brightness, 0.299 R + ")
    assert said.count("\n") == 1
    assert read_sequences(path, 3).shape == (1, 2, 3, 8, 10)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("mode", ["LA", "RGBA", "L", "P"])
def test_hidden_colours_are_not_values_in_silence(tmp_path, capsys, frames, mode):
    """Where a map shows nothing it may hide white: of a whole frame, a colour, or a part."""
    opacity = np.full_like(frames[0], 255)
    opacity[2:4] = 0
    image, options = Image.fromarray(frames[0]), {}
    if "A" in mode:
        image.putalpha(Image.fromarray(opacity))
        image = image.convert(mode)
    else:
        image, options = image.convert(mode), {"transparency": int(frames[0, 0, 0])}
    image.save(tmp_path / "1.png", **options)
    np.testing.assert_array_equal(read_sequences(tmp_path, 1)[0, 0, 0], frames[0])
    said = capsys.readouterr().err
    assert (
        said == f"warning: {tmp_path}: transparent pixels are read as the colour that they hide\n"
    )


@pytest.mark.parametrize("equal", [(1, 2), (3, 4, 5), (10, 11)])
def test_equal_frames_of_a_gif_are_one(tmp_path, capsys, frames, equal):
    """Those in a row are stored as one that is shown for longer: so much is said."""
    for k in equal[1:]:
        frames[k] = frames[equal[0]]
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "x.gif", save_all=True, append_images=others, duration=100)
    assert read_sequences(tmp_path / "x.gif", 1).shape[1] == 13 - len(equal)
    longest = 100 * len(equal)
    assert f"x.gif: its frames are shown for 100 to {longest} ms" in capsys.readouterr().err


def test_grey_pictures_are_read_without_a_word(tmp_path, capsys, frames):
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "x.gif", save_all=True, append_images=others, duration=100)
    first.convert("RGB").save(tmp_path / "1.png")
    others[0].save(tmp_path / "2.png")
    for path in (tmp_path, tmp_path / "x.gif"):
        for channels in (1, 3):
            read_sequences(path, channels)
    assert capsys.readouterr() == ("", "")


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
