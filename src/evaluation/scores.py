"""Scores of forecasts in the data's own units, at each lead time; the only place that defines them.

An event is a value at or above a threshold, see `src.formats.events`. With a hits, b false alarms,
c misses and d correct negatives, each counted over all sequences and pixels of a lead time before
any division:

| score          | definition                                                    | best |
|----------------|---------------------------------------------------------------|------|
| mse, mae, bias | mean of error^2, of |error| and of error = forecast - truth   | 0    |
| csi            | a / (a + b + c), the critical success index or threat score   | 1    |
| pod            | a / (a + c), the probability of detection or hit rate         | 1    |
| far            | b / (a + b), the false alarm ratio                            | 0    |
| hss            | 2 (a d - b c) / ((a + c) (c + d) + (a + b) (b + d)), Heidke's | 1    |
| frequency_bias | (a + b) / (a + c), events forecast for one observed           | 1    |
| fss            | 1 - sum (F - O)^2 / (sum F^2 + sum O^2), F and O the          | 1    |
|                | fractions of events in the n x n pixels around each pixel     |      |

A score whose denominator is 0, because no event was forecast or observed, is NaN. A forecaster with
a forecast that is not finite has no score, NaN, at that lead time.

Sources: Wilks, "Statistical Methods in the Atmospheric Sciences", chapter on forecast verification;
Jolliffe & Stephenson (ed.) 2012, "Forecast Verification", chapter 3, for the scores of a
contingency table; Roberts & Lean 2008, "Scale-Selective Verification of Rainfall Accumulations from
High-Resolution Forecasts of Convective Events" (Mon. Wea. Rev. 136), for the FSS.

Invalid pixels do not count. The FSS sums over the squares around valid pixels, and F and O are
fractions of the valid pixels in a square; pixels outside the frame are invalid, not free of events.
"""

import numpy as np
from scipy.ndimage import uniform_filter

from src.errors import InputError
from src.formats.events import in_words, reaches

CONTINUOUS = ("mse", "mae", "bias")
CATEGORICAL = ("csi", "pod", "far", "hss", "frequency_bias")


class Scores:
    """Running scores of several forecasters on the same pixels, in constant memory.

    Args:
        names: the names of the forecasters.
        thresholds: the thresholds of events, in the data's units.
        neighbourhoods: the sides of the FSS's squares in pixels, odd.
        added: as `Dataset.added`.

    Raises:
        InputError: a threshold is not finite, or a side is not odd.
    """

    def __init__(self, names, thresholds=(), neighbourhoods=(), added=None):
        for threshold in thresholds:
            if not np.isfinite(threshold):
                raise InputError(f"thresholds has {threshold}: they must be finite")
        for side in neighbourhoods:
            if side < 1 or side % 2 == 0:
                raise InputError(
                    f"neighbourhoods has {side}: it must be odd, so that a square has a middle "
                    "pixel"
                )
        self.thresholds = sorted(set(thresholds))
        self.neighbourhoods = sorted(set(neighbourhoods))
        self.added = added
        self.sequences = 0
        self.values = 0
        self.observed = {threshold: 0 for threshold in self.thresholds}
        self.non_finite = {name: 0 for name in names}
        self.errors = {name: 0.0 for name in names}
        self.counts = {(name, t): 0 for name in names for t in self.thresholds}
        self.squares = {key: 0.0 for key in self._squares_of(names)}

    def _squares_of(self, names):
        return [
            (name, t, n) for name in names for t in self.thresholds for n in self.neighbourhoods
        ]

    def update(self, forecasts, truth, valid=None):
        """Adds a batch.

        Args:
            forecasts: dict by name of (B, T, C, H, W), in the data's units.
            truth: (B, T, C, H, W).
            valid: (B, T, C, H, W), bool, True where a pixel counts; default: everywhere.
        """
        valid = np.ones(truth.shape, bool) if valid is None else valid
        self.sequences += len(truth)
        self.values = self.values + _total(valid)
        for name, forecast in forecasts.items():
            finite = np.isfinite(forecast)
            self.non_finite[name] = self.non_finite[name] + _total(valid & ~finite)
            error = np.subtract(np.where(finite, forecast, 0), truth, dtype=np.float64)
            error = np.where(valid, error, 0)
            sums = [_total(error**2), _total(np.abs(error)), _total(error)]
            self.errors[name] = self.errors[name] + np.stack(sums)
        valid_fraction = {n: _window_mean(valid, n) for n in self.neighbourhoods}
        for threshold in self.thresholds:
            self._update_events(forecasts, truth, valid, threshold, valid_fraction)

    def _update_events(self, forecasts, truth, valid, threshold, valid_fraction):
        observed = reaches(truth, threshold, self.added) & valid
        self.observed[threshold] = self.observed[threshold] + _total(observed)
        fractions = {n: _event_fraction(observed, valid, n, f) for n, f in valid_fraction.items()}
        for name, forecast in forecasts.items():
            predicted = reaches(forecast, threshold, self.added) & valid
            table = [predicted & observed, predicted & ~observed, observed & ~predicted]
            table = np.stack([_total(events) for events in table])
            self.counts[name, threshold] = self.counts[name, threshold] + table
            for n, fraction in valid_fraction.items():
                f, o = _event_fraction(predicted, valid, n, fraction), fractions[n]
                sums = np.stack([_total((f - o) ** 2), _total(f**2 + o**2)])
                self.squares[name, threshold, n] = self.squares[name, threshold, n] + sums

    def merge(self, ranks, frames):
        """Adds the counts of the other ranks; `frames` is the number of forecast frames."""
        tables = (
            (self.observed, 1),
            (self.non_finite, 1),
            (self.errors, 3),
            (self.counts, 3),
            (self.squares, 2),
        )
        entries = [(table, key, rows) for table, rows in tables for key in table]
        own = [np.broadcast_to(table[key], (rows, frames)) for table, key, rows in entries]
        own = np.concatenate([np.broadcast_to(self.values, (1, frames)), *own])
        sequences, *sums = ranks.gather([self.sequences, *own.ravel()]).sum(0)
        self.sequences = int(sequences)
        sums = np.reshape(sums, (-1, frames))
        self.values, first = sums[0], 1
        for table, key, rows in entries:
            table[key] = sums[first : first + rows] if rows > 1 else sums[first]
            first += rows

    def result(self):
        """All scores, ready for JSON except for NaN.

        Returns:
            A dict with `sequences`, `lead_times`, `thresholds` and `neighbourhoods`; `observed`,
            the fraction of events by threshold; and `forecasts`, the scores by forecaster: those of
            `CONTINUOUS`; under `at` by threshold those of `CATEGORICAL` and `fss_N`; and
            `non_finite`, the number of values that are not finite. All fractions and scores are
            lists with a number for each lead time.
        """
        return {
            "sequences": self.sequences,
            "lead_times": list(range(1, len(self.values) + 1)),
            "thresholds": self.thresholds,
            "neighbourhoods": self.neighbourhoods,
            "observed": {
                in_words(t): _divide(events, self.values).tolist()
                for t, events in self.observed.items()
            },
            "forecasts": {name: self._scores_of(name) for name in self.errors},
        }

    def _scores_of(self, name):
        undefined = np.where(self.non_finite[name] > 0, np.nan, 0)
        means = _divide(self.errors[name], self.values) + undefined
        scores = dict(zip(CONTINUOUS, means.tolist(), strict=True))
        scores["non_finite"] = self.non_finite[name].astype(int).tolist()
        scores["at"] = {}
        for threshold in self.thresholds:
            table = contingency_scores(*self.counts[name, threshold], self.values)
            for n in self.neighbourhoods:
                difference, most = self.squares[name, threshold, n]
                table[f"fss_{n}"] = 1 - _divide(difference, most)
            at = {key: (score + undefined).tolist() for key, score in table.items()}
            scores["at"][in_words(threshold)] = at
        return scores


def contingency_scores(hits, false_alarms, misses, total):
    """The scores of `CATEGORICAL`, a dict by name; NaN where they are undefined.

    Args:
        hits, false_alarms, misses: counts, arrays of one shape.
        total: the number of all pairs; the rest of them are correct negatives.
    """
    a, b, c, total = (np.asarray(x, np.float64) for x in (hits, false_alarms, misses, total))
    d = total - a - b - c
    return {
        "csi": _divide(a, a + b + c),
        "pod": _divide(a, a + c),
        "far": _divide(b, a + b),
        "hss": _divide(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d)),
        "frequency_bias": _divide(a + b, a + c),
    }


def _divide(numerator, denominator):
    """The quotient of arrays; NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    result = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def _total(values):
    """The sum at each lead time, (B, T, C, H, W) -> (T,)."""
    return values.sum((0, 2, 3, 4))


def _window_mean(values, side):
    """The mean over the square around each pixel, with zeros outside the frame."""
    return uniform_filter(values.astype(np.float64), (1, 1, 1, side, side), mode="constant")


def _event_fraction(events, valid, side, valid_fraction):
    """The fraction of events among the valid pixels around each valid pixel; 0 at invalid ones."""
    result = np.zeros(events.shape)
    return np.divide(_window_mean(events, side), valid_fraction, out=result, where=valid)
