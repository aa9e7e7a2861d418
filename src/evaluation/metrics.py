"""The metrics of forecast frames; this is the only place that defines them.

Frames are in [0, 1]. Squared and absolute errors are summed over a frame, and every metric is
averaged over sequences, then over frames. The SSIM (Wang et al. 2004) is scikit-image's, with its
defaults: a uniform window of 7x7, the sample covariance, and no window that crosses the border.

Missing values do not count: the sums and the number of values in the PSNR are without them, and the
SSIM is without the windows that contain one. A frame without valid values is left out of the means.
A forecast that is not finite where the truth has a value does count: the means it enters are NaN.
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


def ssim(prediction, target, data_range, valid=None):
    """Structural similarity of each frame, computed in float64.

    Args:
        prediction, target: (B, T, C, H, W), float or uint8, H and W at least 7.
        data_range: the L of the constants (0.01 L)^2 and (0.03 L)^2.
        valid: (B, T, C, H, W), bool, False where a value is missing; default: none is missing.

    Returns:
        (B, T): the mean over the complete windows of each channel, those without a missing value,
        then over the channels that have such a window; NaN if none has.
    """
    shape = prediction.shape
    frames = [x.reshape(-1, *shape[2:]) for x in (prediction, target)]
    masks = repeat(None) if valid is None else valid.reshape(-1, *shape[2:])
    tasks = _ssim_of_frame, *frames, repeat(data_range), masks
    if shape[3] * shape[4] < THREADED_PIXELS:
        scores = list(map(*tasks))
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            scores = list(pool.map(*tasks))
    return np.reshape(scores, shape[:2])


def _ssim_of_frame(x, y, data_range, valid):
    """The `ssim` of one frame; all arrays are (C, H, W)."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    settings = {"win_size": WINDOW, "data_range": data_range, "channel_axis": 0}
    if valid is None or valid.all():
        return structural_similarity(x, y, **settings)
    _, window_scores = structural_similarity(x, y, full=True, **settings)
    complete = minimum_filter(valid, (1, WINDOW, WINDOW))
    # The score of a window is at its middle pixel; closer to the border windows would cross it.
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    channels = zip(window_scores[:, inside, inside], complete[:, inside, inside], strict=True)
    means = [scores[mask].mean() for scores, mask in channels if mask.any()]
    return np.mean(means) if means else np.nan


def _squared_error(prediction, target):
    """The squared error summed over each frame, (B, T), float64."""
    return ((prediction.astype(np.float64) - target) ** 2).sum((2, 3, 4))


def _absolute_error(prediction, target):
    """The absolute error summed over each frame, (B, T), float64."""
    return np.abs(prediction.astype(np.float64) - target).sum((2, 3, 4))


def _psnr(prediction, target, values):
    """The PSNR in dB of frames with `values` valid values each, (B, T); infinite without an error,
    NaN without a value.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return -10 * np.log10(_squared_error(prediction, target) / values)


def frame_scores(prediction, target, mask=None, names=NAMES):
    """Metrics of each frame.

    Args:
        prediction: (B, T, C, H, W), float32, not clipped.
        target: (B, T, C, H, W), float32; it is clipped to [0, 1] for the SSIM only.
        mask: (B, T, C, H, W), 1 where a value is valid, 0 where missing; default: all are valid.
        names: which of `NAMES` to compute.

    Returns:
        A dict by name of (B, T) arrays, float64; NaN for frames without valid values.
    """
    valid, values = None, np.prod(target.shape[2:])
    if mask is not None:
        valid = mask > 0
        prediction, target = (np.where(valid, x, np.float32(0)) for x in (prediction, target))
        values = valid.sum((2, 3, 4))
    clipped = np.clip(prediction, 0, 1)
    pair = clipped, np.clip(target, 0, 1)
    compute = {
        "mse": lambda: _squared_error(prediction, target),
        "mae": lambda: _absolute_error(prediction, target),
        "mse_clipped": lambda: _squared_error(clipped, target),
        "mae_clipped": lambda: _absolute_error(clipped, target),
        "ssim": lambda: ssim(*pair, 1, valid),
        "ssim_uint8": lambda: ssim(*(np.uint8(x * 255) for x in pair), 255, valid),
        "ssim_range2": lambda: ssim(*pair, 2, valid),
        "psnr": lambda: _psnr(clipped, target, values),
    }
    scores = {name: compute[name]() for name in names}
    if valid is not None:
        scores = {name: np.where(values > 0, score, np.nan) for name, score in scores.items()}
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
        """Adds a batch; the arguments are those of `frame_scores`."""
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
        """The mean number of valid values in a frame."""
        return self.values / self.frames

    def merge(self, ranks, frames):
        """Adds the measurements of the other ranks; `frames` is the number of forecast frames."""
        rows = self.non_finite, *self.sums.values(), *self.counts.values()
        own = np.concatenate([np.broadcast_to(row, frames) for row in rows])
        numbers = ranks.gather([self.sequences, self.values, self.frames, *own]).sum(0)
        self.sequences, self.values, self.frames = map(int, numbers[:3])
        self.non_finite, *rows = np.reshape(numbers[3:], (-1, frames))
        sums, counts = np.reshape(rows, (2, len(self.names), frames))
        self.sums, self.counts = (dict(zip(self.names, x, strict=True)) for x in (sums, counts))

    def per_frame(self):
        """A dict by metric of lists, with the mean of each forecast frame; NaN where all values are
        missing.
        """
        with np.errstate(invalid="ignore"):
            return {name: (self.sums[name] / self.counts[name]).tolist() for name in self.names}

    def means(self):
        """A dict by metric of the means over the frames."""
        return {name: float(np.mean(frames)) for name, frames in self.per_frame().items()}
