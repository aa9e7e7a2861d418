"""Frame metrics: what a number means is decided here and nowhere else.

All are of frames in [0, 1]; squared and absolute errors are summed over a frame, and every metric
is averaged over sequences, then over frames. The SSIM (Wang et al. 2004) is scikit-image's, with
its defaults: a uniform window of 7x7, the sample covariance, and no window that crosses the border.
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


def _ssim_of_ranges(prediction, target, data_ranges):
    """`ssim` for several data ranges, which share the moments: (len(data_ranges), B, T)."""
    shape = prediction.shape
    x, y = (frames.reshape(-1, *shape[3:]) for frames in (prediction, target))
    step = max(1, _CHUNK // x[0].size)
    means = _means_over_windows(*shape[3:])

    def of_chunk(first):
        chunk = slice(first, first + step)
        moments = _moments(x[chunk], y[chunk])
        return [means(_similarity(*moments, L)) for L in data_ranges]

    # NumPy lets go of the interpreter in each of these operations.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scores = list(pool.map(of_chunk, range(0, len(x), step)))
    return np.concatenate(scores, 1).reshape(-1, *shape[:3]).mean(3)


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
    """A function from flat windows of N images to (N,), their means over the windows inside."""
    rows, columns = height - WINDOW + 1, width - WINDOW + 1
    inside = np.arange(rows * width - WINDOW + 1) % width < columns
    weights = inside / (rows * columns)

    def means(flat):
        starts = range(0, len(flat), height * width)
        return [flat[start : start + len(weights)] @ weights for start in starts]

    return means


def frame_scores(prediction, target):
    """All metrics of each frame.

    Args:
        prediction: (B, T, C, H, W), float32, not clipped.
        target: (B, T, C, H, W), float32 in [0, 1].

    Returns:
        A dict of (B, T) arrays, float64, by the names of `NAMES`.
    """
    clipped = np.clip(prediction, 0, 1)
    scores = {}
    for suffix, frames in (("", prediction), ("_clipped", clipped)):
        error = frames.astype(np.float64) - target
        scores["mse" + suffix] = (error**2).sum((2, 3, 4))
        scores["mae" + suffix] = np.abs(error).sum((2, 3, 4))
    scores["ssim"], scores["ssim_range2"] = _ssim_of_ranges(clipped, target, (1.0, 2.0))
    scores["ssim_uint8"] = ssim(np.uint8(clipped * 255), np.uint8(target * 255), 255.0)
    with np.errstate(divide="ignore"):
        scores["psnr"] = -10 * np.log10(scores["mse_clipped"] / np.prod(target.shape[2:]))
    return {name: scores[name] for name in NAMES}


class FrameMetrics:
    """Running means of `frame_scores` over any number of sequences."""

    def __init__(self):
        self.sequences = 0
        self.sums = {name: 0.0 for name in NAMES}

    def update(self, prediction, target):
        """Adds a batch, (B, T, C, H, W) both."""
        self.sequences += len(target)
        for name, scores in frame_scores(prediction, target).items():
            self.sums[name] = self.sums[name] + scores.sum(0)

    def add_other_ranks(self, ranks, frames):
        """Adds what the other ranks have measured; `frames` is the number of forecast frames."""
        own = [np.broadcast_to(total, frames) for total in self.sums.values()]
        sequences, *sums = ranks.gather([self.sequences, *np.concatenate(own)]).sum(0)
        self.sequences = int(sequences)
        self.sums = dict(zip(self.sums, np.reshape(sums, (-1, frames)), strict=True))

    def per_frame(self):
        """A dict of lists, one number for each forecast frame."""
        return {name: (total / self.sequences).tolist() for name, total in self.sums.items()}

    def means(self):
        """A dict of numbers: the means over the frames."""
        return {name: float(np.mean(frames)) for name, frames in self.per_frame().items()}
