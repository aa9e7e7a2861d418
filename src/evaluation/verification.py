"""Reference forecasts to compare a model with: persistence, climatology and trivial baselines."""

import numpy as np

from src.data.dataset import times_of
from src.evaluation.extrapolation import Extrapolation
from src.evaluation.scores import Scores
from src.runtime.progress import progress

MODEL, PERSISTENCE, CLIMATOLOGY = "model", "persistence", "climatology"
EXTRAPOLATION = "extrapolation"
# Training sequences of a climatology, evenly spread, and how many of them are read at a time.
SEQUENCES, AT_A_TIME = 1000, 16
# Sequences of a mean image that are read at a time.
MEAN_BATCH = 50
# Weight of a missing pixel's fill value in a mean image: it counts only if all values are missing.
NOTHING = np.float32(1e-9)


def make_verification(args, config, source, training):
    """The `Verification` of a run of test.py, or None: Moving MNIST without --thresholds and
    --extrapolation has none.

    Args:
        args: the parsed flags of test.py.
        config: the checkpoint's `Config`.
        source: the source of the test sequences.
        training: the source of the training sequences, or None.
    """
    own = args.workroot is None and (args.dataset or config.data.dataset)
    if not own and not args.thresholds and not args.extrapolation:
        return None
    extrapolation = None
    if args.extrapolation:
        units = source.grid.units if source.grid else None
        extrapolation = Extrapolation(config.data.input_frames, source.shape[1], units)
    return Verification(
        source,
        config.data.input_frames,
        training if args.climatology else None,
        args.thresholds,
        args.neighbourhoods,
        extrapolation,
    )


class Verification:
    """Scores the forecasts of a model, persistence, climatology and an extrapolation.

    Persistence repeats the last valid value of each pixel. All forecasters are scored on the same
    pixels: those where the truth and all forecasts but the model's have a value. A model's forecast
    that is not finite there is an error of the model.

    Args:
        source: the source of the test sequences.
        input_frames: frames that the forecasters read.
        training: the source of the training sequences, for the `Climatology`; None: without it.
        thresholds, neighbourhoods: those of `Scores`.
        extrapolation: an `Extrapolation`, or None: without it.
    """

    def __init__(
        self,
        source,
        input_frames,
        training=None,
        thresholds=(),
        neighbourhoods=(),
        extrapolation=None,
    ):
        self.source = source
        self.input_frames = input_frames
        self.extrapolation = extrapolation
        # Values that all others have, and those of them that extrapolation lacks.
        self.known = self.lacking = 0
        names = [MODEL, PERSISTENCE] + [CLIMATOLOGY] * (training is not None)
        names += [EXTRAPOLATION] * (extrapolation is not None)
        self.scores = Scores(names, thresholds, neighbourhoods, source.added)
        self.climatology = None if training is None else Climatology(training)

    def add(self, indices, forecasts):
        """Adds the model's forecasts of some sequences, (B, T, C, H, W), as the network makes them.

        Args:
            indices: the sequences, as indices of the source.
            forecasts: their forecasts, normalized to [0, 1].
        """
        frames = self.source[indices]
        inputs, truth = frames[:, : self.input_frames], frames[:, self.input_frames :]
        references = self.reference_forecasts(indices, inputs, truth.shape)
        valid = np.isfinite(truth)
        for name, forecast in references.items():
            both = valid & np.isfinite(forecast)
            if name == EXTRAPOLATION:
                self.known += int(valid.sum())
                self.lacking += int((valid & ~both).sum())
            valid = both
        model = self.source.normalizer.denormalize(forecasts, inputs)
        self.scores.update({MODEL: model, **references}, truth, valid)

    def reference_forecasts(self, indices, inputs, shape):
        """The forecasts of all but the model, a dict by name of (B, T, C, H, W)."""
        forecasts = {PERSISTENCE: np.broadcast_to(last_valid(inputs), shape)}
        if self.climatology is not None:
            times = times_of(self.source, indices)
            times = None if times is None else times[:, self.input_frames :]
            forecasts[CLIMATOLOGY] = np.broadcast_to(self.climatology(times), shape)
        if self.extrapolation is not None:
            forecasts[EXTRAPOLATION] = self.extrapolation(inputs, shape[1])
        return forecasts

    def merge(self, ranks, frames):
        """Adds what the other ranks have scored; `frames` is the number of forecast frames."""
        self.scores.merge(ranks, frames)
        known, lacking = ranks.gather([self.known, self.lacking]).sum(0)
        self.known, self.lacking = int(known), int(lacking)

    def result(self):
        """What `Scores.result` returns; the kind of climatology; and, of an extrapolation, its time
        and the fraction of the pixels at which it has no value.
        """
        kind = self.climatology.kind if self.climatology is not None else None
        result = {"climatology": kind, **self.scores.result()}
        if self.extrapolation is not None:
            result[EXTRAPOLATION] = {
                "ms_per_sequence": self.extrapolation.ms_per_sequence(),
                "without_value": self.lacking / max(self.known, 1),
            }
        return result


def last_valid(inputs):
    """The last valid value of each pixel in (B, T, C, H, W), as (B, 1, C, H, W); NaN if none is."""
    last = inputs[:, -1:]
    for t in range(inputs.shape[1] - 2, -1, -1):
        known = np.isfinite(last)
        if known.all():
            break
        last = np.where(known, last, inputs[:, t : t + 1])
    return last


class Climatology:
    """The mean of each pixel over training sequences, as a forecast.

    If the dates are known, it is the mean of the same month, or of all frames for a month that the
    training split lacks. Otherwise it is the mean of all frames.

    Args:
        source: the source of the training sequences.
    """

    def __init__(self, source):
        sums, counts = np.zeros((2, 12, *source.shape[1:]))
        spread = np.linspace(0, len(source) - 1, min(len(source), SEQUENCES)).astype(int)
        self.kind = "mean of the training sequences"
        with progress(len(spread), "climatology") as bar:
            for indices in np.array_split(spread, -(-len(spread) // AT_A_TIME)):
                frames, times = source[indices], times_of(source, indices)
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
        """The forecast for times (B, T), as (B, T, C, H, W); for unknown times as (C, H, W)."""
        return self.means[months_of(times, times.shape)] if have_months(times) else self.mean


def have_months(times):
    """Whether times are dates, rather than numbers or None."""
    return times is not None and times.dtype.kind in "MO"


def months_of(times, shape):
    """The months of dates, 0 to 11 for January to December; zeros of a shape without dates."""
    if not have_months(times):
        return np.zeros(shape, int)
    if times.dtype.kind == "M":
        return times.astype("datetime64[M]").astype(int) % 12
    return np.vectorize(lambda time: time.month - 1, otypes=[int])(times)


def baselines(forecast_frames, mean_image=None):
    """The trivial forecasters, a dict: zeros, the last frame and, if given, the mean image."""

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
    """The mean frame of a source's first sequences, (C, H, W), float32 in [0, 1], padded as the
    network reads it. Missing values do not count.
    """
    normalizer, total, count = source.normalizer, 0.0, 0.0
    for start in range(0, min(sequences, len(source)), MEAN_BATCH):
        frames = source[range(start, min(start + MEAN_BATCH, sequences, len(source)))]
        mask = np.maximum(normalizer.mask(frames), NOTHING)
        total += (normalizer.normalize(frames) * mask).sum((0, 1), np.float64)
        count += mask.sum((0, 1), np.float64)
    return (total / count).astype(np.float32)
