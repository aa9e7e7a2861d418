"""Sequences of frames from arrays, an animated GIF, or a folder of PNG files."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from src.errors import InputError
from src.formats.arrays import read_array
from src.runtime.files import is_hidden, natural_order

# Exceptions that Pillow raises on damaged images and on those that would unpack to gigabytes.
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    MemoryError,
    Image.DecompressionBombError,
)
# Pillow's modes of one grey channel with more than 8 bits.
DEEP_GREY = ("I", "I;16", "I;16B", "I;16L")
# What pixels do not tell of an image.
COLOURS = "colours are read as brightness, 0.299 R + 0.587 G + 0.114 B, and not by a colour bar"
TRANSPARENT = "transparent pixels are read as the colour that they hide"


def read_sequences(path, channels, axes=None, frames=()):
    """Reads the sequences of a file or folder, (N, T, C, H, W), in the type of their pixels; warns
    on stderr of what pictures say beside that.

    Args:
        path: a .npy or .npz file, as `read_array` takes it; or a GIF or a folder of PNG files, each
            of which is one sequence. PNG files are sorted by name, with 2.png before 10.png; hidden
            ones are skipped.
        channels: number of channels of images: 1 for grey, 3 for colour.
        axes, frames: of arrays, as for `read_array`.

    Raises:
        InputError: the path is missing or cannot be read, or its frames differ in size or type.
    """
    path = Path(path)
    is_gif = path.suffix.lower() == ".gif"
    if not path.is_dir() and not is_gif:
        return read_array(path, axes, frames)
    doubts = set()
    read = _png_frames if path.is_dir() else _gif_frames
    sequences = _stack(path, read(path, channels, doubts))
    for doubt in sorted(doubts):
        print(f"warning: {path}: {doubt}", file=sys.stderr)
    return sequences


def holds_pictures(path):
    """Whether a path is a GIF, or a folder that holds PNG files."""
    path = Path(path)
    if path.is_dir():
        return bool(_png_files(path))
    return path.suffix.lower() == ".gif"


def _png_files(folder):
    """The PNG files of a folder in the order of their names; no hidden ones."""
    files = [file for file in folder.iterdir() if file.suffix.lower() == ".png"]
    return sorted((file for file in files if not is_hidden(file)), key=natural_order)


def _png_frames(folder, channels, doubts):
    """The frames of a folder with their files' names; `doubts` gets what is lost, in words."""
    files = _png_files(folder)
    if not files:
        raise InputError(f"{folder}: holds no .png file")
    frames = []
    for file in files:
        try:
            with Image.open(file, formats=["PNG"]) as image:
                frames.append((file.name, _pixels(image, channels, file)))
                doubts |= _lost(image, channels)
        except InputError:
            raise
        except UNREADABLE as error:
            raise _unreadable(file, error) from None
    return frames


def _gif_frames(path, channels, doubts):
    """The frames of a GIF with their numbers; `doubts` gets what is lost, in words."""
    frames, times = [], []
    try:
        with Image.open(path, formats=["GIF"]) as image:
            for k, frame in enumerate(ImageSequence.Iterator(image)):
                frames.append((f"frame {k}", _pixels(frame, channels, path)))
                times.append(frame.info.get("duration", 0))
                doubts |= _lost(frame, channels)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except UNREADABLE as error:
        raise _unreadable(path, error) from None
    if len(set(times)) > 1:
        doubts.add(
            f"its frames are shown for {min(times):g} to {max(times):g} ms, and each is read as "
            "one step in time: one that is shown for longer may be several equal ones"
        )
    return frames


def _unreadable(path, error):
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"{path}: cannot be read: {reason}")


def _pixels(image, channels, path):
    """An image's pixels, (channels, H, W): uint8, or the type of a grey image of more bits."""
    if channels in (1, 3) and image.mode in DEEP_GREY:
        return np.repeat(np.array(image)[None], channels, 0)
    if channels not in (1, 3):
        raise InputError(
            f"{path}: pictures have 1 or 3 channels, and the network reads {channels}; use .npy"
        )
    pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _lost(image, channels):
    """What of an image its pixels do not tell, a set of words."""
    if image.mode in DEEP_GREY:
        return set()
    *colours, opacity = np.moveaxis(np.array(image.convert("RGBA")), -1, 0)
    is_coloured = channels == 1 and any((c != colours[0]).any() for c in colours[1:])
    is_seen = {COLOURS: is_coloured, TRANSPARENT: (opacity < 255).any()}
    return {words for words, seen in is_seen.items() if seen}


def _stack(path, frames):
    """One sequence, (1, T, C, H, W), from pairs of name and frame."""
    (first, start), *others = frames
    for name, frame in others:
        if (frame.shape, frame.dtype) != (start.shape, start.dtype):
            raise InputError(
                f"{path}: {name} is {_size(frame)}, and {first} is {_size(start)}; all frames must "
                "have the same size and type"
            )
    return np.stack([frame for _, frame in frames])[None]


def _size(frame):
    return f"{frame.shape[1]}x{frame.shape[2]} {frame.dtype}"
