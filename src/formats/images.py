"""Frames to forecast from: arrays, an animated GIF, or a folder of PNG files."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from src.errors import InputError
from src.formats.arrays import read_array
from src.runtime.files import is_hidden, natural_order

# What Pillow raises over damaged pictures, and those that would unpack to gigabytes.
UNREADABLE = (
    UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, MemoryError,
    Image.DecompressionBombError,
)  # fmt: skip
# Pillow's modes of one grey channel with more than 8 bits.
DEEP_GREY = ("I", "I;16", "I;16B", "I;16L")


def read_sequences(path, channels):
    """The sequences of a file or folder, (N, T, C, H, W), of the type that they are stored in.

    Args:
        path: .npy or .npz as `read_array` takes them; a GIF or a folder of PNG files, which are one
            sequence of pixels: the files in the order of their names, numbers in them by size,
            without hidden ones.
        channels: of pictures 1 makes grey ones and 3 coloured ones.

    Raises:
        InputError: there is no such thing, it cannot be read, or its frames are of several sizes.
    """
    path = Path(path)
    if path.is_dir():
        return _stack(path, _png_frames(path, channels))
    if path.suffix.lower() == ".gif":
        return _stack(path, _gif_frames(path, channels))
    return read_array(path)


def holds_pictures(path):
    """Whether a path is a GIF, or a folder with PNG files in it."""
    path = Path(path)
    if path.is_dir():
        return bool(_png_files(path))
    return path.suffix.lower() == ".gif"


def _png_files(folder):
    """The PNG files of a folder in the order of their names; no hidden ones."""
    files = [file for file in folder.iterdir() if file.suffix.lower() == ".png"]
    return sorted((file for file in files if not is_hidden(file)), key=natural_order)


def _png_frames(folder, channels):
    """The frames of a folder with the names of their files."""
    files = _png_files(folder)
    if not files:
        raise InputError(f"{folder}: holds no .png file")
    frames = []
    for file in files:
        try:
            with Image.open(file, formats=["PNG"]) as image:
                frames.append((file.name, _pixels(image, channels, file)))
        except InputError:
            raise
        except UNREADABLE as error:
            raise _unreadable(file, error) from None
    return frames


def _gif_frames(path, channels):
    """The frames of a GIF with their numbers."""
    try:
        with Image.open(path, formats=["GIF"]) as image:
            return [
                (f"frame {k}", _pixels(frame, channels, path))
                for k, frame in enumerate(ImageSequence.Iterator(image))
            ]
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _unreadable(path, error):
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"{path}: cannot be read: {reason}")


def _pixels(image, channels, path):
    """(channels, H, W), uint8, or what a grey picture of more bits holds."""
    if channels == 1 and image.mode in DEEP_GREY:
        return np.array(image)[None]
    if channels not in (1, 3):
        raise InputError(
            f"{path}: pictures have 1 or 3 channels, and the network reads {channels}; use .npy"
        )
    pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _stack(path, frames):
    """(1, T, C, H, W) of named frames."""
    (first, start), *others = frames
    for name, frame in others:
        if (frame.shape, frame.dtype) != (start.shape, start.dtype):
            raise InputError(
                f"{path}: {name} is {_size(frame)}, and {first} is {_size(start)}; all frames have "
                "to be alike"
            )
    return np.stack([frame for _, frame in frames])[None]


def _size(frame):
    return f"{frame.shape[1]}x{frame.shape[2]} {frame.dtype}"
