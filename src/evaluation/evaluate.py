"""Runs forecasters over sequences and measures them."""

import mindspore as ms

from src.data.pipeline import make_dataset
from src.evaluation.metrics import NAMES, FrameMetrics
from src.evaluation.verification import MODEL
from src.runtime.distributed import Ranks
from src.runtime.progress import progress


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


def batch_shape(source, batch_size, input_frames):
    """(B, T, C, H, W) of a source's batches as the network reads them: no more sequences than it
    has.
    """
    _, channels, *size = source.shape
    padded = (a + b for a, b in zip(size, source.normalizer.padding, strict=True))
    return (min(batch_size, len(source)), input_frames, channels, *padded)


def warn_if_slow(preset, target, sequences):
    """Says what would take hours."""
    if target == "CPU" and preset == "multiscale" and sequences > 1000:
        print(
            f"{sequences:,} sequences of multiscale take hours on a CPU; --limit 500 takes the "
            "first 500"
        )
