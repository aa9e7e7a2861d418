"""Learning-rate schedules: pure functions of how far a run has come."""

import math

# Schedules that end when the run does; the others have no end.
BY_PROGRESS = ("cosine", "one-cycle")
PLATEAU_PATIENCE = 4
PLATEAU_FACTOR = 0.5
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def learning_rate(training, step, progress, lr_reductions=0, extension=None):
    """The rate of the next step.

    Args:
        training: the `TrainingConfig`.
        step: steps done.
        progress: share of the run that is done, in [0, 1]; of its steps or, where minutes are
            limited, of its time, whichever is further.
        lr_reductions: how often a plateau has been met.
        extension: progress and rate at which a finished run was extended; from there on its rate
            falls to 0 along half a cosine, where its schedule depends on the progress.
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


def _cosine(start, end, share):
    """From `start` to `end` along half a cosine."""
    share = min(1.0, max(0.0, share))
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
