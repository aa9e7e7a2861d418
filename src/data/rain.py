"""How much rain there is: windows drawn by it, and splits in which thresholds are hardly reached.

Most windows of a radar are nearly dry, and a network that sees them as they come learns little of
rain. Ravuri et al. 2021 (Skilful precipitation nowcasting using deep generative models of radar,
Nature 597, 672-677) draw training examples by the mean of 1 - exp(-R / (1 mm/h)) over their pixels,
so that a few pixels of heavy rain do not outweigh all others. Here a fraction of the windows is
drawn in proportion to that mean, and the rest evenly.
"""

import sys
from functools import partial

import numpy as np

from src.errors import InputError
from src.formats.cf.units import (
    RAIN_RATE,
    UnitsError,
    conversion,
    is_known,
    rain_rate,
    same_spelling,
)
from src.formats.events import in_words, reaches

# What a threshold needs to be scored at all: one value in ten thousand.
RARE = 1e-4
# Thresholds of rain in mm/h, where no others are known.
RAIN = (0.1, 1.0)


def draw_by_rain(source, file, fraction):
    """Has a training split draw a fraction of its windows by their rain; prints what that changes.

    Args:
        source: the `OwnSequences` of the split.
        file: its `SequencesFile` or `RecordFile`.
        fraction: `wet_sampling`.

    Raises:
        InputError: the values are not of rain, or it rains in no window.
    """
    measure = partial(_saturated_rain, to_rate=_rain_rate(file))
    rain, valid = source.sums(measure, f"rain of {file.path}").T
    rain /= np.maximum(valid, 1)
    if not rain.sum():
        raise InputError(
            f"{file.path}: it rains nowhere in the training split, and wet_sampling is {fraction}: "
            "leave it out, or choose other splits"
        )
    source.weights = (1 - fraction) / len(rain) + fraction * rain / rain.sum()
    fewest, most = (len(rain) * each for each in (source.weights.min(), source.weights.max()))
    print(
        f"wet_sampling {fraction:g}: {fraction:.0%} of the training windows are drawn by their "
        f"rain, the mean of 1 - exp(-R / (1 mm/h)), which is {rain.min():.3g} to {rain.max():.3g}; "
        f"a window is used {fewest:.3g} to {most:.3g} times as often as without"
    )


def _saturated_rain(frames, to_rate):
    """For each frame the sum of 1 - exp(-R / (1 mm/h)), and the number of values, (n, 2)."""
    rates = np.maximum(to_rate(np.asarray(frames, np.float32)), 0)
    valid = np.isfinite(rates)
    saturated = np.where(valid, -np.expm1(-rates), 0)
    return np.stack([saturated.sum((1, 2, 3), np.float64), valid.sum((1, 2, 3))], 1)


def _rain_rate(file):
    """The function from a file's values to mm/h; prints a line if their units are unknown."""
    units = file.units
    if not is_known(units):
        print(f"{file.path}: wet_sampling takes values without units for mm/h")
        return np.asarray
    if units.lower() == "dbz":
        return rain_rate
    try:
        found = conversion(units, RAIN_RATE, file.record.step, file.record.grid.is_water)
    except UnitsError:
        found = False
    if found is False or (found and not file.record.grid.is_water):
        raise InputError(
            f"{file.path}: has the units {units!r}, and wet_sampling needs rain, in mm/h or dBZ "
            "for example: leave it out"
        )
    return found or np.asarray


def thresholds_of(file, config):
    """The thresholds that a run cares for: those of its loss weights, else two of rain in mm/h."""
    if config.training.loss_weights:
        return tuple(threshold for threshold, _ in config.training.loss_weights)
    units = file.units
    is_rain = config.data.transform == "dbz" or (
        is_known(units) and same_spelling(units, RAIN_RATE)
    )
    return RAIN if is_rain else ()


def warn_if_dry(source, split, thresholds, path):
    """Warns if a split hardly reaches some thresholds.

    Args:
        source: the `OwnSequences` of the split.
        split: its name.
        thresholds: the thresholds, in the data's units.
        path: the dataset.
    """
    measure = partial(_events, thresholds=thresholds, added=source.added)
    counts = source.sums(measure, f"events of {path}").sum(0)
    reached = dict(zip(thresholds, counts[1:] / max(counts[0], 1), strict=True))
    warning = describe_dry(reached)
    if warning:
        print(
            f"warning: {path}: its {split} split {warning}; --validate_from and --test_from choose "
            "others",
            file=sys.stderr,
        )


def _events(frames, thresholds, added):
    """For each frame the number of values, and of those at or above each threshold, (n, 1 + k)."""
    frames = np.asarray(frames)
    counts = [np.isfinite(frames), *(reaches(frames, t, added) for t in thresholds)]
    return np.stack([each.sum((1, 2, 3)) for each in counts], 1)


def describe_dry(reached):
    """What is wrong with how often thresholds are reached, in words; "" if nothing is.

    Args:
        reached: the fraction of values at or above each threshold, by threshold.
    """
    rare = [in_words(float(t)) for t, fraction in reached.items() if fraction < RARE]
    if not rare:
        return ""
    often = ", ".join(f"{in_words(float(t))}: {fraction:.2g}" for t, fraction in reached.items())
    return (
        f"is dry at {', '.join(rare)}, so scores there say little; fraction of the values at or "
        f"above {often}"
    )
