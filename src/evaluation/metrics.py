"""Frame metrics: what a number means is decided here and nowhere else.

All are of frames in [0, 1]; squared and absolute errors are summed over a frame, and every metric
is averaged over sequences, then over frames. The SSIM (Wang et al. 2004) is scikit-image's, with
its defaults: a uniform window of 7x7, the sample covariance, and no window that crosses the border.

Missing values are left out: of the sums, of the pixels that the PSNR divides by, and of the SSIM
every window that holds one. A frame with nothing to measure is left out of the averages. A forecast
that is not finite where there is a value is not left out: the averages it enters are NaN.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
from scipy.ndimage import minimum_filter
from skimage.metrics import structural_similarity

NAMES = ("mse", "mae", "mse_clipped", "mae_clipped", "ssim", "ssim_uint8", "ssim_range2", "psnr")
WINDOW = 7
# Threads pay from this size on. SciPy's filters release the GIL, but those of a 64x64 frame are so
# short that two threads take twice as long as one.
THREADED_PIXELS = 256 * 256


def ssim(prediction, target, data_range, there=None):
    """Structural similarity of each frame, computed in float64.

    Args:
        prediction, target: (B, T, C, H, W), float or uint8, H and W at least 7.
        data_range: the L of the constants (0.01 L)^2 and (0.03 L)^2.
        there: (B, T, C, H, W), bool, False where a value is missing; default: all are there.

    Returns:
        (B, T): the mean over the windows of each channel that hold no missing value, then over the
        channels that have such a window; NaN where none has.
    """
    shape = prediction.shape
    frames = [x.reshape(-1, *shape[2:]) for x in (prediction, target)]
    masks = repeat(None) if there is None else there.reshape(-1, *shape[2:])
    tasks = _ssim_of_frame, *frames, repeat(data_range), masks
    if shape[3] * shape[4] < THREADED_PIXELS:
        scores = list(map(*tasks))
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            scores = list(pool.map(*tasks))
    return np.reshape(scores, shape[:2])


def _ssim_of_frame(x, y, data_range, there):
    """`ssim` of one frame, (C, H, W) all."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    settings = {"win_size": WINDOW, "data_range": data_range, "channel_axis": 0}
    if there is None or there.all():
        return structural_similarity(x, y, **settings)
    _, of_windows = structural_similarity(x, y, full=True, **settings)
    whole = minimum_filter(there, (1, WINDOW, WINDOW))
    # A window stands at its middle pixel; any closer to the border it would cross it.
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    channels = zip(of_windows[:, inside, inside], whole[:, inside, inside], strict=True)
    means = [values[counts].mean() for values, counts in channels if counts.any()]
    return np.mean(means) if means else np.nan


def _squared_error(prediction, target):
    """The sum over each frame, (B, T), float64."""
    return ((prediction.astype(np.float64) - target) ** 2).sum((2, 3, 4))


def _absolute_error(prediction, target):
    """The sum over each frame, (B, T), float64."""
    return np.abs(prediction.astype(np.float64) - target).sum((2, 3, 4))


def _psnr(prediction, target, values):
    """In dB, of frames of so many values each: infinite without an error, NaN without a value."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -10 * np.log10(_squared_error(prediction, target) / values)


def frame_scores(prediction, target, mask=None, names=NAMES):
    """Metrics of each frame.

    Args:
        prediction: (B, T, C, H, W), float32, not clipped.
        target: (B, T, C, H, W), float32; what leaves [0, 1] is clipped for the SSIM alone.
        mask: (B, T, C, H, W), 1 where there is a value and 0 where it is missing; default: all
            are there.
        names: which of `NAMES` to compute.

    Returns:
        A dict of (B, T) arrays, float64, by `names`; NaN where nothing is there.
    """
    there, values = None, np.prod(target.shape[2:])
    if mask is not None:
        there = mask > 0
        prediction, target = (np.where(there, x, np.float32(0)) for x in (prediction, target))
        values = there.sum((2, 3, 4))
    clipped = np.clip(prediction, 0, 1)
    pair = clipped, np.clip(target, 0, 1)
    compute = {
        "mse": lambda: _squared_error(prediction, target),
        "mae": lambda: _absolute_error(prediction, target),
        "mse_clipped": lambda: _squared_error(clipped, target),
        "mae_clipped": lambda: _absolute_error(clipped, target),
        "ssim": lambda: ssim(*pair, 1, there),
        "ssim_uint8": lambda: ssim(*(np.uint8(x * 255) for x in pair), 255, there),
        "ssim_range2": lambda: ssim(*pair, 2, there),
        "psnr": lambda: _psnr(clipped, target, values),
    }
    scores = {name: compute[name]() for name in names}
    if there is not None:
        scores = {name: np.where(values > 0, of, np.nan) for name, of in scores.items()}
    return scores


class FrameMetrics:
    """Running means of `frame_scores` over any number of sequences.

    `non_finite` counts, by forecast frame, the forecast's values that are not finite where there is
    one to be forecast.

    Args:
        names: which of `NAMES` to measure.
    """

    def __init__(self, names=NAMES):
        self.names = names
        self.sequences = 0
        self.values = 0
        self.frames = 0
        self.non_finite = 0
        self.sums = {name: 0.0 for name in names}
        self.counts = {name: 0 for name in names}

    def update(self, prediction, target, mask=None):
        """Adds a batch, (B, T, C, H, W) all, as `frame_scores` takes it."""
        self.sequences += len(target)
        self.values += target.size if mask is None else int((mask > 0).sum())
        self.frames += target.shape[0] * target.shape[1]
        broken = ~np.isfinite(prediction)
        if mask is not None:
            broken &= mask > 0
        self.non_finite = self.non_finite + broken.sum((0, 2, 3, 4))
        finite = np.where(broken, np.float32(0), prediction)
        undefined = np.where(broken.any((2, 3, 4)), np.nan, 0)
        for name, scores in frame_scores(finite, target, mask, self.names).items():
            known = ~np.isnan(scores)
            self.sums[name] = self.sums[name] + np.where(known, scores + undefined, 0).sum(0)
            self.counts[name] = self.counts[name] + known.sum(0)

    @property
    def values_per_frame(self):
        """How many values a frame has on average."""
        return self.values / self.frames

    def merge(self, ranks, frames):
        """Adds what the other ranks have measured; `frames` is the number of forecast frames."""
        rows = self.non_finite, *self.sums.values(), *self.counts.values()
        own = np.concatenate([np.broadcast_to(row, frames) for row in rows])
        numbers = ranks.gather([self.sequences, self.values, self.frames, *own]).sum(0)
        self.sequences, self.values, self.frames = map(int, numbers[:3])
        self.non_finite, *rows = np.reshape(numbers[3:], (-1, frames))
        sums, counts = np.reshape(rows, (2, len(self.names), frames))
        self.sums, self.counts = (dict(zip(self.names, x, strict=True)) for x in (sums, counts))

    def per_frame(self):
        """A dict of lists, one number for each forecast frame; NaN where nothing was measured."""
        with np.errstate(invalid="ignore"):
            return {name: (self.sums[name] / self.counts[name]).tolist() for name in self.names}

    def means(self):
        """A dict of numbers: the means over the frames."""
        return {name: float(np.mean(frames)) for name, frames in self.per_frame().items()}
