"""Which state is the best by --best_by, and what that leaves as it was."""

from types import SimpleNamespace

import numpy as np
import pytest

from src.config.presets import make_config
from src.config.schema import TrainingConfig
from src.data.normalizer import Normalizer
from src.data.sequences import OwnSequences
from src.errors import InputError
from src.evaluation.verification import Verification
from src.tools.best_by import BestBy, mean_csi
from src.tools.callback import Validation
from src.tools.state import TrainingState


def validate(scores, **settings):
    """Validates once an epoch with the given (MSE, CSI); returns the state and the best epochs."""
    training = TrainingConfig(epochs=100, best_by="csi@2", **settings)
    state, results, best = TrainingState(1), iter(scores), []
    validation = Validation(
        state, training, lambda names: dict(zip(("mse", "csi"), next(results), strict=True))
    )
    stop = SimpleNamespace(request_stop=lambda: None)
    for epoch in range(1, len(scores) + 1):
        state.epoch = state.step = epoch
        validation.on_train_epoch_begin(stop)
        validation.on_train_epoch_end(stop)
        best += [epoch] * validation.is_best
    return state, best


def test_the_highest_csi_is_the_best_and_the_mse_keeps_its_meaning():
    """MSEs that fall to the third, CSIs that do not."""
    state, best = validate([(5, 0.0), (4, 0.3), (2, 0.2), (3, 0.3), (3, 0.4)])
    assert best == [1, 2, 5]
    assert (state.best_csi, state.best_mse) == (0.4, 2)
    assert state.evaluations_without_improvement == 2


def test_plateau_goes_by_the_mse():
    assert validate([(1, 0.1 * k) for k in range(5)])[0].lr_reductions == 1
    assert validate([(9 - k, 0.1) for k in range(5)])[0].lr_reductions == 0


def test_a_state_from_before_has_no_csi():
    """And one of a run by MSE is as it was."""
    state = TrainingState(5, best_mse=2.0)
    assert not {"best_csi", "own_csi"} & set(state.to_dict())
    assert TrainingState.from_checkpoint(SimpleNamespace(state=state.to_dict())) == state
    state.best_csi = 0.25
    assert state.to_dict()["best_csi"] == 0.25
    assert TrainingState.from_checkpoint(SimpleNamespace(state=state.to_dict())) == state


def test_which_score_is_better():
    csi, mse = BestBy.of(TrainingConfig(best_by="csi@2.5")), BestBy.of(TrainingConfig())
    assert (csi.label, mse.label) == ("CSI at 2.5", "MSE")
    assert csi.is_better(0.0, None)
    assert csi.is_better(0.3, 0.2)
    assert not csi.is_better(0.2, 0.2)
    assert not csi.is_better(0.1, 0.2)
    assert mse.is_better(1, 2)
    assert not mse.is_better(2, 1)


def verification_of(forecast, threshold=2.0):
    """A `Verification` of one forecast, (2, 1, 2, 2), of events at the upper two pixels; the first
    of these is missing in the second frame.
    """
    truth = np.array([[[3, 4], [0, 1]]] * 2, np.float32)[None, :, None]
    truth[0, 1, 0, 0, 0] = np.nan
    frames = np.concatenate([np.zeros((1, 1, 1, 2, 2), np.float32), truth], 1)
    source = OwnSequences(frames, np.arange(1), 3, Normalizer((0.0, 10.0), fill=0.0), "a test")
    found = Verification(source, 1, thresholds=[threshold])
    found.add(range(1), np.asarray(forecast, np.float32)[None, :, None] / 10)
    return found


def test_the_mean_over_lead_times_without_missing_pixels():
    """First 1 hit, 1 miss and 1 false alarm, then, of three pixels, 1 hit and 1 false alarm."""
    forecast = [[[5, 0], [5, 0]], [[5, 5], [5, 0]]]
    assert mean_csi(verification_of(forecast)) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_lead_times_without_an_event():
    """Nothing at or above 9 is observed: a lead time counts where it is forecast, as 0."""
    nothing = np.zeros((2, 2, 2))
    assert mean_csi(verification_of(nothing, 9.0)) == 0
    assert mean_csi(verification_of(nothing + 10, 9.0)) == 0
    assert mean_csi(verification_of([[[5, 5], [0, 0]], [[np.nan] * 2] * 2])) == 0


@pytest.mark.parametrize("text", ["csi", "csi@", "csi@x", "csi@nan", "CSI@1", "mae", "csi@1 2"])
def test_what_it_cannot_be(text):
    with pytest.raises(InputError, match="best_by is .*: it must be mse, or csi@ and a threshold"):
        TrainingConfig(best_by=text)


@pytest.mark.parametrize(
    ("threshold", "transform", "fits"),
    [
        ("1", "none", True),
        ("60", "none", True),
        ("1e-3", "none", True),
        ("0", "none", False),
        ("-1", "none", False),
        ("60.5", "none", False),
        ("0.5", "dbz", True),
        ("0.03", "dbz", False),
    ],
)
def test_a_threshold_has_to_be_within_the_value_range(threshold, transform, fits):
    """0 to 60 mm/h; with dbz less than 0.036 counts as dry."""
    options = {"dataset": "x", "dataset_crc": 1, "value_range": (0.0, 60.0), "transform": transform}
    options["best_by"] = f"csi@{threshold}"
    if fits:
        assert make_config("small", options).training.csi_threshold == float(threshold)
        return
    with pytest.raises(InputError, match="must be greater than 0 and at most 60 .value_range"):
        make_config("small", options)


def test_digits_have_no_events():
    with pytest.raises(InputError, match="best_by is 'csi@1': it can be csi only with --dataset"):
        make_config("small", {"best_by": "csi@1"})
