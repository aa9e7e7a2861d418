"""What decides which state of a run is the best: the setting `best_by`."""

import math
from dataclasses import dataclass

import numpy as np

from src import checkpoint
from src.errors import InputError
from src.evaluation.verification import MODEL
from src.formats.events import in_words
from src.tools.state import TrainingState


@dataclass(frozen=True)
class BestBy:
    """A score of validations by which they are compared.

    Args:
        name: its name in a validation's result, in metrics.csv after "val_", and in the state after
            "best_" and "own_".
        label: its name in messages.
        sign: 1 if lower is better, -1 if higher is.
    """

    name: str = "mse"
    label: str = "MSE"
    sign: int = 1

    @classmethod
    def of(cls, training):
        """The one that a `TrainingConfig` asks for."""
        threshold = training.csi_threshold
        return cls() if threshold is None else cls("csi", f"CSI at {in_words(threshold)}", -1)

    @property
    def worst(self):
        """What any score is better than."""
        return self.sign * math.inf

    def is_better(self, score, other):
        """Whether a score is better than another one, which may be None."""
        if other is None or (math.isnan(other) and not math.isnan(score)):
            return True
        return self.sign * score < self.sign * other

    def best(self, state):
        """The score of the best evaluation of a `TrainingState`, or None."""
        return getattr(state, f"best_{self.name}")

    def set_best(self, state, score):
        """Keeps the score of the best evaluation in a `TrainingState`."""
        setattr(state, f"best_{self.name}", score)

    def set_own(self, state, score):
        """Keeps in a `TrainingState` its own score where that is not the best; else None."""
        setattr(state, f"own_{self.name}", score)

    def saved(self, path):
        """The score of a best.ckpt; None where there is none that can be read."""
        try:
            state = TrainingState.from_checkpoint(checkpoint.load(path))
        except InputError:
            return None
        own = getattr(state, f"own_{self.name}")
        return self.best(state) if own is None else own


def mean_csi(verification):
    """The mean over lead times of the model's CSI at a `Verification`'s only threshold.

    A lead time without any event, forecast or observed, has no CSI and is left out; it is 0 if none
    is left, and if any forecast is not finite.
    """
    scores = verification.result()["forecasts"][MODEL]
    (at,) = scores["at"].values()
    csi = np.array(at["csi"])
    known = csi[~np.isnan(csi)]
    return float(known.mean()) if len(known) and not any(scores["non_finite"]) else 0.0
