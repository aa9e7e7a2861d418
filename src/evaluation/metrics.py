"""Frame metrics: what a number means is decided here and nowhere else.

All are of frames in [0, 1]; squared and absolute errors are summed over a frame, and every metric
is averaged over sequences, then over frames. The SSIM (Wang et al. 2004) is scikit-image's, with
its defaults: a uniform window of 7x7, the sample covariance, and no window that crosses the border.

Missing values are left out: of the sums, of the pixels that the PSNR divides by, and of the SSIM
every window that holds one. A frame with nothing to measure is left out of the averages.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

NAMES = ("mse", "mae", "mse_clipped", "mae_clipped", "ssim", "ssim_uint8", "ssim_range2", "psnr")
WINDOW = 7
K1, K2 = 0.01, 0.03
# Pixels at a time: the few arrays of this size that are in use at once fit a core's cache.
_CHUNK = 10 * 64 * 64


def ssim(prediction, target, data_range):
    """Structural similarity of each frame, computed in float64.

    Args:
        prediction, target: (B, T, C, H, W), float or uint8 both, H and W at least 7.
        data_range: the L of the constants (0.01 L)^2 and (0.03 L)^2.

    Returns:
        (B, T): means over the frame and its channels.
    """
    return _ssim_of_ranges(prediction, target, (data_range,))[0]


def _ssim_of_ranges(prediction, target, data_ranges, there=None):
    """`ssim` for several data ranges, which share the moments: (len(data_ranges), B, T).

    With `there`, (B, T, C, H, W), bool, of the windows where all of it is true; NaN of none.
    """
    shape = prediction.shape
    x, y = (frames.reshape(-1, *shape[3:]) for frames in (prediction, target))
    z = None if there is None else there.reshape(x.shape)
    step = max(1, _CHUNK // x[0].size)
    means = _means_over_windows(*shape[3:])

    def of_chunk(first):
        chunk = slice(first, first + step)
        moments = _moments(x[chunk], y[chunk])
        whole = None
        if z is not None:
            whole = _window_sums(z[chunk].reshape(-1).astype(np.int32), shape[4]) == WINDOW**2
        return [means(_similarity(*moments, L), whole) for L in data_ranges]

    # NumPy lets go of the interpreter in each of these operations.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scores = list(pool.map(of_chunk, range(0, len(x), step)))
    scores = np.concatenate(scores, 1).reshape(-1, *shape[:3])
    return scores.mean(3) if there is None else _mean_of_known(scores)


def _mean_of_known(scores):
    """The mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(scores)
    with np.errstate(invalid="ignore"):
        return np.where(known, scores, 0).sum(-1) / known.sum(-1)


def _moments(x, y):
    """What the SSIM is made of, for the window that begins at each pixel of x and y, (N, H, W).

    With N = 49 pixels in a window, S the sum over it, p = x + y and m = x - y: S(p)^2, S(m)^2,
    N S(p^2) - S(p)^2 and N S(m^2) - S(m)^2, each flat. uint8 frames are summed exactly: N^2 510^2
    fits an int32.
    """
    size, width = x.size, x.shape[-1]
    sums = np.empty((4, size), np.int32 if x.dtype == np.uint8 else np.float64)
    p, m, x_wide, y_wide = sums
    x_wide[:], y_wide[:] = x.reshape(-1), y.reshape(-1)
    np.add(x_wide, y_wide, out=p)
    np.subtract(x_wide, y_wide, out=m)
    np.multiply(sums[:2], sums[:2], out=sums[2:])

    flat = _window_sums(sums.reshape(-1), width)
    windows = size - (WINDOW - 1) * (width + 1)
    p, m, p_var, m_var = (flat[k * size : k * size + windows] for k in range(4))
    for mean, variance in ((p, p_var), (m, m_var)):
        mean *= mean
        variance *= WINDOW**2
        variance -= mean
    return p, m, p_var, m_var


def _window_sums(x, width):
    """Sums over the window that begins at each pixel of flat images of that width.

    One flat array, because NumPy adds slices of several images four times slower. A window that
    would cross the right border takes its rest from the next row: `_means_over_windows` leaves it
    out.
    """
    for step in (width, 1):
        count = len(x) - (WINDOW - 1) * step
        pairs = x[:-step] + x[step:]
        total = pairs[:count] + pairs[2 * step :][:count]
        total += pairs[4 * step :][:count]
        total += x[6 * step :]
        x = total
    return x


def _similarity(p, m, p_var, m_var, data_range):
    """The SSIM of each window from its `_moments`, both parts times 4 N^3 (N - 1)."""
    pixels = WINDOW**2
    p = p + 2 * pixels**2 * (K1 * data_range) ** 2
    # pixels - 1: x_var and y_var are to be the sample's, sum / (N - 1).
    p_var = p_var + 2 * pixels * (pixels - 1) * (K2 * data_range) ** 2
    result = p - m
    result *= p_var - m_var
    p += m
    p_var += m_var
    p *= p_var
    result /= p
    return result


def _means_over_windows(height, width):
    """A function from flat windows of N images, and which of them count, to (N,), their means over
    the windows inside.
    """
    rows, columns = height - WINDOW + 1, width - WINDOW + 1
    inside = np.arange(rows * width - WINDOW + 1) % width < columns
    weights = inside / (rows * columns)

    def means(flat, whole=None):
        images = [
            slice(start, start + len(weights)) for start in range(0, len(flat), height * width)
        ]
        if whole is None:
            return [flat[image] @ weights for image in images]
        counts = [whole[image] & inside for image in images]
        return [
            flat[image][count].mean() if count.any() else np.nan
            for image, count in zip(images, counts, strict=True)
        ]

    return means


def frame_scores(prediction, target, weights=None):
    """All metrics of each frame.

    Args:
        prediction: (B, T, C, H, W), float32, not clipped.
        target: (B, T, C, H, W), float32; what leaves [0, 1] is clipped for the SSIM alone.
        weights: (B, T, C, H, W), 1 where there is a value and 0 where it is missing; default: all
            are there.

    Returns:
        A dict of (B, T) arrays, float64, by the names of `NAMES`; NaN where nothing is there.
    """
    there, values = None, np.prod(target.shape[2:])
    if weights is not None:
        there = weights > 0
        prediction, target = (np.where(there, x, np.float32(0)) for x in (prediction, target))
        values = there.sum((2, 3, 4))
    clipped, clipped_target = (np.clip(x, 0, 1) for x in (prediction, target))
    scores = {}
    for suffix, frames in (("", prediction), ("_clipped", clipped)):
        error = frames.astype(np.float64) - target
        scores["mse" + suffix] = (error**2).sum((2, 3, 4))
        scores["mae" + suffix] = np.abs(error).sum((2, 3, 4))
    frames = (clipped, clipped_target)
    scores["ssim"], scores["ssim_range2"] = _ssim_of_ranges(*frames, (1.0, 2.0), there)
    pixels = [np.uint8(x * 255) for x in frames]
    (scores["ssim_uint8"],) = _ssim_of_ranges(*pixels, (255.0,), there)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores["psnr"] = -10 * np.log10(scores["mse_clipped"] / values)
    if there is not None:
        scores = {name: np.where(values > 0, of, np.nan) for name, of in scores.items()}
    return {name: scores[name] for name in NAMES}


class FrameMetrics:
    """Running means of `frame_scores` over any number of sequences."""

    def __init__(self):
        self.sequences = 0
        self.values = 0
        self.frames = 0
        self.sums = {name: 0.0 for name in NAMES}
        self.counts = {name: 0 for name in NAMES}

    def update(self, prediction, target, weights=None):
        """Adds a batch, (B, T, C, H, W) all, as `frame_scores` takes it."""
        self.sequences += len(target)
        self.values += target.size if weights is None else int((weights > 0).sum())
        self.frames += target.shape[0] * target.shape[1]
        for name, scores in frame_scores(prediction, target, weights).items():
            known = ~np.isnan(scores)
            self.sums[name] = self.sums[name] + np.where(known, scores, 0).sum(0)
            self.counts[name] = self.counts[name] + known.sum(0)

    @property
    def values_per_frame(self):
        """How many values a frame has on average."""
        return self.values / self.frames

    def add_other_ranks(self, ranks, frames):
        """Adds what the other ranks have measured; `frames` is the number of forecast frames."""
        own = [np.broadcast_to(x, frames) for x in (*self.sums.values(), *self.counts.values())]
        numbers = [self.sequences, self.values, self.frames, *np.concatenate(own)]
        numbers = ranks.gather(numbers).sum(0)
        self.sequences, self.values, self.frames = map(int, numbers[:3])
        sums, counts = np.reshape(numbers[3:], (2, len(NAMES), frames))
        self.sums, self.counts = (dict(zip(NAMES, x, strict=True)) for x in (sums, counts))

    def per_frame(self):
        """A dict of lists, one number for each forecast frame; NaN where nothing was measured."""
        with np.errstate(invalid="ignore"):
            return {name: (self.sums[name] / self.counts[name]).tolist() for name in NAMES}

    def means(self):
        """A dict of numbers: the means over the frames."""
        return {name: float(np.mean(frames)) for name, frames in self.per_frame().items()}
