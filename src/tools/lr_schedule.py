"""Learning-rate schedules: pure functions of the progress of a run."""

import math

# Schedules that end when the run does; the others have no end.
BY_PROGRESS = ("cosine", "one-cycle")
PLATEAU_PATIENCE = 4
PLATEAU_FACTOR = 0.5
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def learning_rate(training, step, progress, lr_reductions=0, extension=None):
    """The learning rate of the next step.

    Args:
        training: the `TrainingConfig`.
        step: number of steps done.
        progress: fraction of the run that is done, in [0, 1], as `TrainingState.progress` has it.
        lr_reductions: how often the plateau schedule has lowered the rate.
        extension: progress and rate at which a finished run was extended, or None. From there on a
            rate that depends on the progress falls to 0 along half a cosine.
    """
    peak = training.learning_rate
    if extension and training.lr_schedule in BY_PROGRESS:
        start, rate = extension
        return rate * _cosine(1.0, 0.0, (progress - start) / (1 - start))
    if training.lr_schedule == "plateau":
        return peak * PLATEAU_FACTOR**lr_reductions
    if training.lr_schedule == "cosine":
        warm = min(1.0, (step + 1) / training.warmup_steps) if training.warmup_steps else 1.0
        start = training.decay_start
        return peak * warm * _cosine(1.0, 0.0, (progress - start) / (1 - start))
    if training.lr_schedule == "one-cycle":
        if progress < ONE_CYCLE_RISE:
            return peak * _cosine(ONE_CYCLE_START, 1.0, progress / ONE_CYCLE_RISE)
        return peak * _cosine(
            1.0, ONE_CYCLE_END, (progress - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE)
        )
    return peak


def _cosine(start, end, fraction):
    """The value after a fraction of the way from `start` to `end` along half a cosine."""
    fraction = min(1.0, max(0.0, fraction))
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
