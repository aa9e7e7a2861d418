"""Frame metrics: what a number means is decided here and nowhere else.

All are of frames in [0, 1]; squared and absolute errors are summed over a frame, and every metric
is averaged over sequences, then over frames. The SSIM (Wang et al. 2004) is scikit-image's, with
its defaults.
"""

import numpy as np
from skimage.metrics import structural_similarity

NAMES = ("mse", "mae", "mse_clipped", "mae_clipped", "ssim", "ssim_uint8", "ssim_range2", "psnr")


def ssim(prediction, target, data_range):
    """Structural similarity of each frame, computed in float64.

    Args:
        prediction, target: (B, T, C, H, W), H and W at least 7.
        data_range: the L of the constants (0.01 L)^2 and (0.03 L)^2.

    Returns:
        (B, T): means over the frame and its channels.
    """
    pairs = zip(_frames(prediction), _frames(target), strict=True)
    scores = [structural_similarity(x, y, data_range=data_range, channel_axis=0) for x, y in pairs]
    return np.reshape(scores, prediction.shape[:2])


def _frames(x):
    return x.reshape(-1, *x.shape[2:]).astype(np.float64)


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
    scores["ssim"] = ssim(clipped, target, 1.0)
    scores["ssim_uint8"] = ssim(np.uint8(clipped * 255), np.uint8(target * 255), 255.0)
    scores["ssim_range2"] = ssim(clipped, target, 2.0)
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

    def per_frame(self):
        """A dict of lists, one number for each forecast frame."""
        return {name: (total / self.sequences).tolist() for name, total in self.sums.items()}

    def means(self):
        """A dict of numbers: the means over the frames."""
        return {name: float(np.mean(frames)) for name, frames in self.per_frame().items()}
