"""Runs forecasters over sequences and measures them."""

import mindspore as ms
import numpy as np

from src.data.pipeline import make_dataset
from src.tools.metrics import FrameMetrics
from src.tools.progress import progress

# Sequences whose frames are in memory at a time.
MEAN_BATCH = 50
# The weight of what fills a gap: it decides only where there is nothing else.
NOTHING = np.float32(1e-9)


def evaluate(forecasters, source, batch_size, input_frames, description="evaluate"):
    """Measures forecasters on every sequence of a source, in one pass.

    Args:
        forecasters: dict of functions from inputs (B, T, C, H, W) to forecasts, NumPy arrays both.
        source: the sequences, of `src.data`.
        batch_size: sequences at a time; the last batch is filled up, and what filled it is not
            counted.
        input_frames: frames that the forecasters see.
        description: name of the progress display.

    Returns:
        A dict of `FrameMetrics`.
    """
    batch_size = min(batch_size, len(source))
    dataset = make_dataset(source, batch_size, input_frames, keep_all=True)
    metrics = {name: FrameMetrics() for name in forecasters}
    left, crop = len(source), source.encoding.crop
    with progress(left, description) as bar:
        batches = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for inputs, targets, *weights in batches:
            count = min(batch_size, left)
            truth = [targets, *(of_all[:, input_frames:] for of_all in weights)]
            truth = [crop(frames)[:count] for frames in truth]
            for name, forecaster in forecasters.items():
                metrics[name].update(crop(forecaster(inputs))[:count], *truth)
            left -= count
            bar.update(count)
    return metrics


def forecaster_of(network):
    """A network as a function on NumPy arrays."""
    return lambda inputs: network(ms.Tensor(inputs)).asnumpy()


def evaluate_network(network, source, config, description):
    """The `FrameMetrics` of one network on a source, in batches as in its training."""
    forecasters = {"model": forecaster_of(network)}
    return evaluate(
        forecasters, source, config.training.batch_size, config.data.input_frames, description
    )["model"]


def baselines(forecast_frames, mean_image=None):
    """The trivial forecasters that every number should be seen beside; without an image two."""

    def repeat(frame):
        return np.repeat(frame, forecast_frames, 1)

    forecasters = {
        "zeros": lambda inputs: repeat(np.zeros_like(inputs[:, :1])),
        "copy_last": lambda inputs: repeat(inputs[:, -1:]),
    }
    if mean_image is not None:
        forecasters["mean_image"] = lambda inputs: repeat(
            np.broadcast_to(mean_image, inputs[:, :1].shape)
        )
    return forecasters


def mean_image(source, sequences=1000):
    """The mean frame of a source's first sequences, (C, H, W), float32 in [0, 1], as large as what
    the network reads; where values are missing the mean of the others.
    """
    encoding, total, count = source.encoding, 0.0, 0.0
    for start in range(0, min(sequences, len(source)), MEAN_BATCH):
        frames = source.frames(range(start, min(start + MEAN_BATCH, sequences, len(source))))
        weights = np.maximum(encoding.weights(frames), NOTHING)
        total += (encoding.to_network(frames) * weights).sum((0, 1), np.float64)
        count += weights.sum((0, 1), np.float64)
    return (total / count).astype(np.float32)
