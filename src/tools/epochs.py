"""How long an epoch of a dataset is, and how often it is validated, where no flag says so.

A radar event has some dozens of windows, a few steps: an epoch of them would end with a validation,
pictures and checkpoints that take longer than its training.
"""

import math

# The fewest steps in an epoch, and the largest fraction of the work that is validation.
STEPS, VALIDATION = 200, 0.1
# A forecast takes a third of the work of a training step: that has a gradient too, twice the work.
FORWARD = 1 / 3


def epoch_size(windows, per_step):
    """All training windows of a dataset, repeated until they are enough for `STEPS` steps.

    Args:
        windows: their number.
        per_step: sequences in a step.
    """
    return windows * max(1, math.ceil(STEPS * per_step / windows))


def eval_every(epoch_size, eval_size):
    """The epochs between two validations so that these take at most `VALIDATION` of the work."""
    evaluation = FORWARD * eval_size
    return max(1, math.ceil(evaluation * (1 - VALIDATION) / (VALIDATION * epoch_size)))
