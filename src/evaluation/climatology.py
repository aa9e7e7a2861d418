"""Climatology: the forecast that knows nothing but the training data."""

import numpy as np

from src.data.sources import times_of
from src.runtime.progress import progress

# Of a training part, evenly spread, and how many are read at a time.
SEQUENCES, AT_A_TIME = 1000, 16


class Climatology:
    """The mean of each pixel over training sequences: of the same month where times are known, else
    of all frames. A month that the training part lacks has the mean of all.

    Args:
        source: the training sequences.
    """

    def __init__(self, source):
        frames = source.frames([0])
        sums, counts = np.zeros((2, 12, *frames.shape[2:]))
        spread = np.linspace(0, len(source) - 1, min(len(source), SEQUENCES)).astype(int)
        self.kind = "mean of the training sequences"
        with progress(len(spread), "climatology") as bar:
            for indices in np.array_split(spread, -(-len(spread) // AT_A_TIME)):
                frames, times = source.frames(indices), times_of(source, indices)
                if have_months(times):
                    self.kind = "mean of the same month in the training sequences"
                known = np.isfinite(frames)
                values, months = np.where(known, frames, 0), months_of(times, frames.shape[:2])
                for month in np.unique(months):
                    sums[month] += values[months == month].sum(0, np.float64)
                    counts[month] += known[months == month].sum(0)
                bar.update(len(indices))
        with np.errstate(invalid="ignore"):
            self.mean = sums.sum(0) / counts.sum(0)
            self.means = np.where(counts > 0, sums / counts, self.mean)

    def __call__(self, times=None):
        """The forecast for (B, T) times, (B, T, C, H, W), or for unknown ones, (C, H, W)."""
        return self.means[months_of(times, times.shape)] if have_months(times) else self.mean


def have_months(times):
    """Whether times are dates, not numbers or unknown."""
    return times is not None and times.dtype.kind in "MO"


def months_of(times, shape):
    """0 to 11 for January to December; 0 everywhere where no dates are known."""
    if not have_months(times):
        return np.zeros(shape, int)
    if times.dtype.kind == "M":
        return times.astype("datetime64[M]").astype(int) % 12
    return np.vectorize(lambda time: time.month - 1, otypes=[int])(times)
