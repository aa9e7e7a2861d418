"""How frames become what the network reads, and how its forecasts become frames again."""

from dataclasses import dataclass

import numpy as np

from src.data.scale import PIXELS, from_unit_range, to_unit_range


@dataclass(frozen=True)
class Encoding:
    """Filled, scaled and padded on the way in; the reverse on the way out.

    Args:
        value_range: the two values that become 0 and 1.
        transform: "none", "log" or "dbz", of `src.data.scale`.
        fill: what the network reads where a value is missing (NaN), in the data's units; None where
            nothing may be missing.
        frame_size: (height, width) of the data's frames.
        grid: number that has to divide what the network reads: the frames are padded to it by
            reflection, below and to the right; 1: they are not padded.
        clips: whether values beyond `value_range` are clipped for the network.
    """

    value_range: tuple[float, float] = PIXELS
    transform: str = "none"
    fill: float | None = None
    frame_size: tuple[int, int] = (1, 1)
    grid: int = 1
    clips: bool = False

    @property
    def padding(self):
        """Rows below and columns to the right."""
        return tuple(-side % self.grid for side in self.frame_size)

    @property
    def weighted(self):
        """Whether some of what the network reads is no data."""
        return self.fill is not None or any(self.padding)

    def to_network(self, frames, clip=None):
        """(B, T, C, H, W) of the data -> float32 in [0, 1], as large as the network needs it.

        `clip` says otherwise than `clips`: scores are against values as they are.
        """
        if self.fill is not None and frames.dtype.kind == "f":
            frames = np.where(np.isfinite(frames), frames, frames.dtype.type(self.fill))
        scaled = to_unit_range(frames, self.value_range, self.transform)
        if self.clips if clip is None else clip:
            np.clip(scaled, 0, 1, out=scaled)
        return self._pad(scaled, "reflect")

    def weights(self, frames):
        """Of the same shape as what the network reads: 1 where there is a value of the data."""
        return self._pad(np.isfinite(frames).astype(np.float32), "constant")

    def from_network(self, forecasts, inputs):
        """Forecasts in the data's units, float32; NaN where all input frames are missing, as over
        land.

        Args:
            forecasts: (B, F, C, H', W'), of the network.
            inputs: (B, T, C, H, W), of the data.
        """
        values = from_unit_range(self.crop(forecasts), self.value_range, self.transform)
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


def encoding_of(config, frame_size, value_range=None):
    """The `Encoding` of a `Config` for frames of (height, width).

    Args:
        config: the `Config`.
        frame_size: (height, width) of the data's frames.
        value_range: the scale in place of the configuration's.
    """
    data = config.data
    return Encoding(
        tuple(value_range or data.value_range or PIXELS),
        data.transform,
        data.fill,
        tuple(frame_size),
        config.model.grid if data.pad else 1,
        data.window_stride is not None,
    )
