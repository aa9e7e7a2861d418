"""Runs forecasters over sequences and measures them."""

import mindspore as ms

from src.data.pipeline import make_dataset
from src.evaluation.metrics import NAMES, FrameMetrics
from src.evaluation.verification import MODEL
from src.runtime.distributed import Ranks
from src.runtime.progress import progress


def evaluate(
    forecasters,
    source,
    batch_size,
    input_frames,
    description="evaluate",
    ranks=None,
    verification=None,
    names=NAMES,
):
    """Measures forecasters on every sequence of a source, in one pass.

    Args:
        forecasters: dict by name of functions from inputs (B, T, C, H, W) to forecasts, both NumPy
            arrays.
        source: a source of sequences, see `src.data`.
        batch_size: sequences in a batch of one rank. The last batch is padded; the padding is not
            counted.
        input_frames: frames that the forecasters read.
        description: label of the progress display.
        ranks: the `Ranks` that divide the sequences among them; None: this process alone.
        verification: a `Verification` that is also given the forecasts of "model", or None.
        names: which of `NAMES` to measure.

    Returns:
        A dict by name of `FrameMetrics`, of all sequences on every rank.
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
            truth = [targets, *(frames[:, input_frames:] for frames in mask)]
            truth = [crop(frames)[:count] for frames in truth]
            for name, forecaster in forecasters.items() if count else ():
                forecast = forecaster(inputs)[:count]
                metrics[name].update(crop(forecast), *truth)
                if verification and name == MODEL:
                    verification.add(range(first, first + count), forecast)
            step = min(ranks.size * batch_size, len(source) - done)
            done += step
            bar.update(step)
    for each in metrics.values():
        each.merge(ranks, targets.shape[1])
    if verification:
        verification.merge(ranks, targets.shape[1])
    return metrics


def forecaster_of(network):
    """A function on NumPy arrays that runs a network."""
    return lambda inputs: network(ms.Tensor(inputs)).asnumpy()


def evaluate_network(network, source, config, description, ranks=None, names=NAMES):
    """The `FrameMetrics` of a network on a source, with the batch size of its training."""
    forecasters = {MODEL: forecaster_of(network)}
    sizes = config.training.batch_size, config.data.input_frames
    return evaluate(forecasters, source, *sizes, description, ranks, names=names)[MODEL]


def batch_shape(source, batch_size, input_frames):
    """The shape of a source's batches as the network reads them, (B, T, C, H, W); B is at most the
    number of sequences.
    """
    _, channels, *size = source.shape
    padded = (a + b for a, b in zip(size, source.normalizer.padding, strict=True))
    return (min(batch_size, len(source)), input_frames, channels, *padded)


def warn_if_slow(preset, target, sequences):
    """Prints a warning if an evaluation will take hours."""
    if target == "CPU" and preset == "multiscale" and sequences > 1000:
        print(
            f"{sequences:,} sequences of multiscale take hours on a CPU; --limit 500 takes the "
            "first 500"
        )
