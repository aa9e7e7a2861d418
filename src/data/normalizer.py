"""The way of values into the network and back: filled, transformed, scaled and padded."""

from dataclasses import dataclass

import numpy as np

from src.errors import InputError

# Black and white of uint8 pixels.
PIXELS = (0.0, 255.0)
TRANSFORMS = ("none", "log", "dbz")
# Z = 200 R^1.6 of rain.
REFLECTIVITY, EXPONENT = 200.0, 1.6
# The rain of 0 dBZ in mm/h, 0.036: less counts as dry.
DRY = REFLECTIVITY ** (-1 / EXPONENT)


def normalize(frames, value_range=PIXELS, transform="none"):
    """Values -> float32, contiguous; the two values of `value_range` become 0 and 1.

    Args:
        frames: (B, ...), any real type; NaN stays NaN.
        value_range: (low, high), in the units of `frames`.
        transform: what happens to values and range before; see `transformed`.
    """
    low, high = value_range
    if transform != "none":
        frames = transformed(frames, transform, low)
        low, high = transformed(np.array(value_range), transform, low).tolist()
    scaled = np.empty(frames.shape, np.float32)
    # What a float32 cannot hold exactly is shifted before it is rounded: 280.15 K - 273.15 K.
    exact = np.result_type(frames.dtype, np.float32)
    # One sequence at a time stays in the cache between the two steps.
    for k in range(len(frames)):
        piece, values = scaled[k : k + 1], frames[k : k + 1]
        piece[:] = np.subtract(values, low, dtype=exact) if low else values
        piece /= np.float32(high - low)
    return scaled


def denormalize(frames, value_range=PIXELS, transform="none"):
    """The way back, float32; nothing is clipped, but 0 dBZ and less are 0 mm/h."""
    low, high = value_range
    if transform != "none":
        low, high = transformed(np.array(value_range), transform, low)
    values = frames.astype(np.float64) * (high - low) + low
    with np.errstate(over="ignore"):
        if transform == "log":
            values = np.exp(values)
        elif transform == "dbz":
            rain = (10 ** (values / 10) / REFLECTIVITY) ** (1 / EXPONENT)
            values = np.where(values > 0, rain, np.where(np.isnan(values), np.nan, 0.0))
        return values.astype(np.float32)


def transformed(values, transform, low):
    """Values on the scale that is linear to the network, float64.

    - "log": the natural logarithm; what is below `low` counts as `low`.
    - "dbz": rain in mm/h becomes reflectivity in dBZ, 10 log10(Z) of Z = 200 R^1.6 mm^6/m^3.
      0 mm/h has no logarithm: rain below 0.036 mm/h, which is 0 dBZ, counts as 0 dBZ, and on the
      way back 0 dBZ and less are 0 mm/h.

    Source: Marshall & Palmer 1948, The distribution of raindrops with size, Journal of Meteorology
    5, 165-166; with this pair of numbers in Marshall, Hitschfeld & Gunn 1955, Advances in
    Geophysics 2, 1-56.
    """
    if transform == "log":
        return np.log(np.maximum(values, low, dtype=np.float64))
    if transform == "dbz":
        rain = np.maximum(values, DRY, dtype=np.float64)
        return 10 * (np.log10(REFLECTIVITY) + EXPONENT * np.log10(rain))
    return np.asarray(values, np.float64)


def check_value_range(value_range, file, transform="none"):
    """Raises `InputError` unless a file's scale is given, and the transform can have it."""
    if value_range is None:
        raise InputError(
            f"{file}: needs --value_range LOW HIGH, the two values that become 0 and 1: 0 255 for "
            "8-bit pixels"
        )
    low, high = value_range
    if not -np.inf < low < high < np.inf:
        raise InputError(
            f"value_range is {low:g} {high:g}: the second value must be the greater, both finite"
        )
    if transform == "log" and low <= 0:
        raise InputError(
            f"value_range is {low:g} {high:g}: transform log needs a first value above 0; what is "
            "below it, 0 too, then counts as it"
        )
    if transform == "dbz" and (low < 0 or high <= DRY):
        raise InputError(
            f"value_range is {low:g} {high:g}: transform dbz needs rain in mm/h, 0 100 for example"
        )


@dataclass(frozen=True)
class Normalizer:
    """Filled, scaled and padded on the way in; the reverse on the way out.

    Args:
        value_range: the two values that become 0 and 1.
        transform: "none", "log" or "dbz", of `src.data.scale`.
        fill: what the network reads where a value is missing (NaN), in the data's units; None where
            nothing may be missing.
        frame_size: (height, width) of the data's frames.
        size_multiple: what has to divide the sides of what the network reads: the frames are padded
            to it by reflection, below and to the right; 1: they are not padded.
        clips: whether values beyond `value_range` are clipped for the network.
    """

    value_range: tuple[float, float] = PIXELS
    transform: str = "none"
    fill: float | None = None
    frame_size: tuple[int, int] = (1, 1)
    size_multiple: int = 1
    clips: bool = False

    @property
    def padding(self):
        """Rows below and columns to the right."""
        return tuple(-side % self.size_multiple for side in self.frame_size)

    @property
    def has_mask(self):
        """Whether some of what the network reads is no data."""
        return self.fill is not None or any(self.padding)

    def normalize(self, frames, clip=None):
        """(B, T, C, H, W) of the data -> float32 in [0, 1], as large as the network needs it.

        `clip` says otherwise than `clips`: scores are against values as they are.
        """
        if self.fill is not None and frames.dtype.kind == "f":
            frames = np.where(np.isfinite(frames), frames, frames.dtype.type(self.fill))
        scaled = normalize(frames, self.value_range, self.transform)
        if self.clips if clip is None else clip:
            np.clip(scaled, 0, 1, out=scaled)
        return self._pad(scaled, "reflect")

    def mask(self, frames):
        """Of the same shape as what the network reads: 1 where there is a value of the data."""
        return self._pad(np.isfinite(frames).astype(np.float32), "constant")

    def denormalize(self, forecasts, inputs):
        """Forecasts in the data's units, float32; NaN where all input frames are missing, as over
        land.

        Args:
            forecasts: (B, F, C, H', W'), of the network.
            inputs: (B, T, C, H, W), of the data.
        """
        values = denormalize(self.crop(forecasts), self.value_range, self.transform)
        if self.fill is not None:
            never = ~np.isfinite(inputs).any(1, keepdims=True)
            values[np.broadcast_to(never, values.shape)] = np.nan
        return values

    def crop(self, frames):
        """Takes the padding away."""
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
    """The `Normalizer` of a `Config` for frames of (height, width).

    Args:
        config: the `Config`.
        frame_size: (height, width) of the data's frames.
        value_range: the scale in place of the configuration's.
    """
    data = config.data
    return Normalizer(
        tuple(value_range or data.value_range or PIXELS),
        data.transform,
        data.fill,
        tuple(frame_size),
        config.model.size_multiple if data.pad else 1,
        data.window_stride is not None,
    )
