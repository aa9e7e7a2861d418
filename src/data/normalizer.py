"""Conversion of data values to network inputs (fill, transform, scale, pad), and back."""

from dataclasses import dataclass

import numpy as np

from src.errors import InputError
from src.formats.cf.units import MARSHALL_PALMER, rain_rate

# Black and white of uint8 pixels.
PIXELS = (0.0, 255.0)
TRANSFORMS = ("none", "log", "dbz")
# The rain rate of 0 dBZ, 0.036 mm/h; less counts as dry.
DRY = rain_rate(0.0)


def normalize(frames, value_range=PIXELS, transform="none"):
    """Scales values so that those of `value_range` become 0 and 1; contiguous float32.

    Args:
        frames: (B, ...), any real type; NaN stays NaN.
        value_range: (low, high), in the units of `frames`.
        transform: the transform of values and range before scaling; see `transformed`.
    """
    low, high = value_range
    if transform != "none":
        frames = transformed(frames, transform, low)
        low, high = transformed(np.array(value_range), transform, low).tolist()
    scaled = np.empty(frames.shape, np.float32)
    # Subtract first, then round to float32: 280.15 K - 273.15 K would lose digits otherwise.
    exact = np.result_type(frames.dtype, np.float32)
    # One sequence at a time stays in the CPU's cache between subtraction and division.
    for k in range(len(frames)):
        piece, values = scaled[k : k + 1], frames[k : k + 1]
        piece[:] = np.subtract(values, low, dtype=exact) if low else values
        piece /= np.float32(high - low)
    return scaled


def denormalize(frames, value_range=PIXELS, transform="none"):
    """The inverse of `normalize`, float32; nothing is clipped, but 0 dBZ or less become 0 mm/h."""
    low, high = value_range
    if transform != "none":
        low, high = transformed(np.array(value_range), transform, low)
    values = frames.astype(np.float64) * (high - low) + low
    with np.errstate(over="ignore"):
        if transform == "log":
            values = np.exp(values)
        elif transform == "dbz":
            values = np.where(
                values > 0, rain_rate(values), np.where(np.isnan(values), np.nan, 0.0)
            )
        return values.astype(np.float32)


def transformed(values, transform, low):
    """Values after a transform, float64.

    - "log": the natural logarithm; values below `low` count as `low`.
    - "dbz": rain in mm/h becomes reflectivity in dBZ, 10 log10(Z) with Z = 200 R^1.6 mm^6/m^3.
      0 mm/h has no logarithm, so rain below 0.036 mm/h, which is 0 dBZ, counts as 0 dBZ;
      `denormalize` turns 0 dBZ or less into 0 mm/h.

    Source: see `MARSHALL_PALMER`.
    """
    if transform == "log":
        return np.log(np.maximum(values, low, dtype=np.float64))
    if transform == "dbz":
        rain = np.maximum(values, DRY, dtype=np.float64)
        a, b = MARSHALL_PALMER
        return 10 * (np.log10(a) + b * np.log10(rain))
    return np.asarray(values, np.float64)


def check_value_range(value_range, file, transform="none"):
    """Raises `InputError` unless a file's value range is given and fits the transform."""
    if value_range is None:
        raise InputError(
            f"{file}: needs --value_range LOW HIGH, the values that are scaled to 0 and 1: 0 255 "
            "for 8-bit pixels"
        )
    low, high = value_range
    if not -np.inf < low < high < np.inf:
        raise InputError(
            f"value_range is {low:g} {high:g}: the second value must be the greater, both finite"
        )
    if transform == "log" and low <= 0:
        raise InputError(
            f"value_range is {low:g} {high:g}: transform log needs a first value above 0; all data "
            "below it, 0 included, then counts as that value"
        )
    if transform == "dbz" and (low < 0 or high <= DRY):
        raise InputError(
            f"value_range is {low:g} {high:g}: transform dbz needs rain in mm/h, 0 100 for example"
        )


@dataclass(frozen=True)
class Normalizer:
    """Fills, transforms, scales and pads frames for the network, and converts forecasts back.

    Args:
        value_range: (low, high), the data values that are scaled to 0 and 1.
        transform: "none", "log" or "dbz"; see `transformed`.
        fill: the value that the network reads where data are missing (NaN), in the data's units;
            None if no data may be missing.
        frame_size: (height, width) of the data's frames.
        size_multiple: frames are padded by reflection, below and to the right, to multiples of
            this; 1: no padding.
        clips: whether values beyond `value_range` are clipped.
    """

    value_range: tuple[float, float] = PIXELS
    transform: str = "none"
    fill: float | None = None
    frame_size: tuple[int, int] = (1, 1)
    size_multiple: int = 1
    clips: bool = False

    @property
    def padding(self):
        """The numbers of rows added below and of columns added to the right."""
        return tuple(-side % self.size_multiple for side in self.frame_size)

    @property
    def has_mask(self):
        """Whether the network also reads values that are not data: filled or padded ones."""
        return self.fill is not None or any(self.padding)

    def normalize(self, frames, clip=None):
        """Converts frames to network inputs: float32, `value_range` scaled to [0, 1], padded.

        Args:
            frames: (B, T, C, H, W), data values.
            clip: overrides `clips`; scores compare with targets that are not clipped.
        """
        if self.fill is not None and frames.dtype.kind == "f":
            frames = np.where(np.isfinite(frames), frames, frames.dtype.type(self.fill))
        scaled = normalize(frames, self.value_range, self.transform)
        if self.clips if clip is None else clip:
            np.clip(scaled, 0, 1, out=scaled)
        return self._pad(scaled, "reflect")

    def mask(self, frames):
        """The mask of frames, padded like them: 1 where the data have a value, else 0."""
        return self._pad(np.isfinite(frames).astype(np.float32), "constant")

    def denormalize(self, forecasts, inputs):
        """Converts forecasts to the data's units, float32.

        Pixels that are missing in all input frames, such as land, become NaN.

        Args:
            forecasts: (B, F, C, H', W'), the network's outputs.
            inputs: (B, T, C, H, W), the data values of the input frames.
        """
        values = denormalize(self.crop(forecasts), self.value_range, self.transform)
        if self.fill is not None:
            never = ~np.isfinite(inputs).any(1, keepdims=True)
            values[np.broadcast_to(never, values.shape)] = np.nan
        return values

    def crop(self, frames):
        """Removes the padding."""
        if not any(self.padding):
            return frames
        height, width = self.frame_size
        return frames[..., :height, :width]

    def _pad(self, frames, mode):
        below, right = self.padding
        if not (below or right):
            return frames
        return np.pad(frames, [(0, 0)] * (frames.ndim - 2) + [(0, below), (0, right)], mode)


def make_normalizer(config, frame_size, value_range=None):
    """The `Normalizer` that a `Config` describes.

    Args:
        config: the `Config`.
        frame_size: (height, width) of the data's frames.
        value_range: the value range to use instead of the configuration's, of data in other units;
            where they are missing, the network reads the same number as in training.
    """
    data = config.data
    scale, fill = tuple(value_range or data.value_range or PIXELS), data.fill
    if fill is not None and scale != data.value_range:
        number = normalize(np.array([fill]), data.value_range, data.transform)
        fill = float(denormalize(number, scale, data.transform)[0])
    return Normalizer(
        scale,
        data.transform,
        fill,
        tuple(frame_size),
        config.model.size_multiple if data.pad else 1,
        data.window_stride is not None,
    )
