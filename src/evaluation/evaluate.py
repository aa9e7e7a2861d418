"""Runs forecasters over sequences and measures them."""

import mindspore as ms
import numpy as np

from src.data.pipeline import make_dataset
from src.evaluation.metrics import NAMES, FrameMetrics
from src.evaluation.verification import MODEL
from src.runtime.distributed import Ranks
from src.runtime.progress import progress

# Sequences whose frames are in memory at a time.
MEAN_BATCH = 50
# The weight of what fills a gap: it decides only where there is nothing else.
NOTHING = np.float32(1e-9)


def evaluate(
    forecasters, source, batch_size, input_frames, description="evaluate", ranks=None,
    verification=None, names=NAMES,
):  # fmt: skip
    """Measures forecasters on every sequence of a source, in one pass.

    Args:
        forecasters: dict of functions from inputs (B, T, C, H, W) to forecasts, NumPy arrays both.
        source: the sequences, of `src.data`.
        batch_size: sequences of a rank at a time; the last batch is filled up, and what filled it
            is not counted.
        input_frames: frames that the forecasters see.
        description: name of the progress display.
        ranks: the `Ranks` that share the sequences; None for this process alone.
        verification: a `Verification` that is given the forecasts of "model", or None.
        names: the metrics to measure, of `NAMES`.

    Returns:
        A dict of `FrameMetrics`, of all sequences on every rank.
    """
    ranks = ranks or Ranks()
    batch_size = min(batch_size, -(-len(source) // ranks.size))
    dataset = make_dataset(
        source, batch_size, input_frames, keep_all=True, num_shards=ranks.size, shard_id=ranks.rank
    )
    metrics = {name: FrameMetrics(names) for name in forecasters}
    done, crop = 0, source.normalizer.crop
    with progress(len(source), description, hidden=not ranks.is_main) as bar:
        batches = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for inputs, targets, *mask in batches:
            first = done + ranks.rank * batch_size
            count = min(batch_size, max(0, len(source) - first))
            truth = [targets, *(of_all[:, input_frames:] for of_all in mask)]
            truth = [crop(frames)[:count] for frames in truth]
            for name, forecaster in forecasters.items() if count else ():
                forecast = forecaster(inputs)[:count]
                metrics[name].update(crop(forecast), *truth)
                if verification and name == MODEL:
                    verification.add(range(first, first + count), forecast)
            of_all = min(ranks.size * batch_size, len(source) - done)
            done += of_all
            bar.update(of_all)
    for each in metrics.values():
        each.merge(ranks, targets.shape[1])
    if verification:
        verification.scores.merge(ranks, targets.shape[1])
    return metrics


def forecaster_of(network):
    """A network as a function on NumPy arrays."""
    return lambda inputs: network(ms.Tensor(inputs)).asnumpy()


def evaluate_network(network, source, config, description, ranks=None, names=NAMES):
    """The `FrameMetrics` of one network on a source, in batches as in its training."""
    forecasters = {MODEL: forecaster_of(network)}
    sizes = config.training.batch_size, config.data.input_frames
    return evaluate(forecasters, source, *sizes, description, ranks, names=names)[MODEL]


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
    normalizer, total, count = source.normalizer, 0.0, 0.0
    for start in range(0, min(sequences, len(source)), MEAN_BATCH):
        frames = source.frames(range(start, min(start + MEAN_BATCH, sequences, len(source))))
        mask = np.maximum(normalizer.mask(frames), NOTHING)
        total += (normalizer.normalize(frames) * mask).sum((0, 1), np.float64)
        count += mask.sum((0, 1), np.float64)
    return (total / count).astype(np.float32)
