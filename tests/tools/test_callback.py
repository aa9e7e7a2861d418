"""What callbacks decide, in trainings of a single weight through `Model.train`."""

from types import SimpleNamespace

import mindspore as ms
import mindspore.dataset as ds
import numpy as np
import pytest
from mindspore import nn
from mindspore.train import Callback, Model

from src.config.presets import make_config
from src.config.schema import TrainingConfig
from src.errors import NonFiniteError
from src.tools.callback import (
    Clock,
    LearningRate,
    StopOnNonFinite,
    Validation,
)
from src.tools.optimizers import Adam
from src.tools.recorder import COLUMNS
from src.tools.state import TrainingState
from src.tools.train_step import TrainStep


class Distance(nn.Cell):
    """A loss: the squared distance of a weight from the data."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor([1.0], ms.float32), name="weight")

    def construct(self, x, y):
        return ms.ops.square(self.weight - x).sum() + 0 * y.sum()


class Recorder(Callback):
    """Calls a function at the end of every step or epoch and keeps what it returns."""

    def __init__(self, on_step=None, on_epoch=None):
        super().__init__()
        self.on_step, self.on_epoch = on_step, on_epoch
        self.seen = []

    def on_train_step_end(self, run_context):
        if self.on_step:
            self.seen.append(self.on_step())

    def on_train_epoch_end(self, run_context):
        if self.on_epoch:
            self.seen.append(self.on_epoch())


def config_of(**options):
    """The configuration of a run without a curriculum."""
    return make_config("small", {"curriculum": (), **options})


def train(state, callbacks, data, epochs=1, optimizer=None, loss=None, clock=None):
    """Trains on scalars, one a step, with a clock before the callbacks."""
    data = np.asarray(data, np.float32).reshape(-1, 1)
    loss = loss or Distance()
    optimizer = optimizer or Adam(loss.trainable_params(), 0.01)
    dataset = ds.NumpySlicesDataset((data, data), ["x", "y"], shuffle=False)
    clock = clock or Clock(state, config_of(epochs=10**6))
    Model(TrainStep(loss, optimizer)).train(
        epochs, dataset, callbacks=[clock, *callbacks], dataset_sink_mode=False
    )


def validate(scores, **settings):
    """Trains one step an epoch with the given validation MSEs; returns state and best epochs."""
    state, results = TrainingState(1), iter(scores)
    training = TrainingConfig(epochs=settings.get("eval_every", 1) * len(scores), **settings)
    validation = Validation(
        state,
        training,
        lambda names: dict.fromkeys(names, 0) | {"mse": next(results)},
    )
    recorder = Recorder(on_epoch=lambda: (state.epoch, validation.is_best))
    train(state, [validation, recorder], [0.0], training.epochs)
    return state, [epoch for epoch, is_best in recorder.seen if is_best]


def test_best_is_the_lowest():
    state, best = validate([5, 3, 4, 2, 2])
    assert best == [1, 2, 4]
    assert state.best_mse == 2


def test_any_number_is_better_than_a_forecast_that_is_not_finite():
    state, best = validate([np.nan, np.nan, 7, np.nan, 6])
    assert best == [1, 3, 5]
    assert state.best_mse == 6


def test_plateau_halves_after_four_evaluations_without_a_better_one():
    assert [validate([1] + [2] * n)[0].lr_reductions for n in (3, 4, 7, 8)] == [0, 1, 1, 2]
    assert validate([1, 2, 2, 2, 0, 2, 2, 2])[0].lr_reductions == 0


def test_early_stop():
    assert validate([1, 2, 0, 2, 2, 2, 2, 2], early_stop=3)[0].epoch == 6
    assert validate([1] + [2] * 10)[0].epoch == 11


def test_eval_every():
    assert validate([3, 2], eval_every=5)[1] == [5, 10]


def test_validation_measures_only_what_metrics_csv_shows():
    asked = []

    def evaluate(names):
        asked.extend(f"val_{name}" for name in names)
        return dict.fromkeys(names, 0)

    state = TrainingState(1)
    train(state, [Validation(state, TrainingConfig(epochs=1), evaluate)], [0.0])
    assert asked == ["val_mse", "val_mae", "val_ssim"]
    assert asked == [name for name in COLUMNS if name.startswith("val_")]


def test_the_clock_stops_when_the_minutes_are_over(monkeypatch):
    """The first step is not timed: it sets the kernels up."""
    now = iter([100.0, 110.0, 145.0, 161.0])
    time = SimpleNamespace(perf_counter=lambda: next(now))
    monkeypatch.setattr("src.tools.callback.time", time)
    state, config = TrainingState(9), config_of(epochs=10, max_minutes=1)
    recorder = Recorder(on_step=lambda: state.progress(config.training))
    clock = Clock(state, config)
    train(state, [recorder], [0.0] * 9, clock=clock)
    assert recorder.seen == pytest.approx([1 / 90, 10 / 60, 45 / 60, 61 / 60])
    assert (state.step, state.seconds) == (4, 61.0)


def test_the_schedule_reaches_the_optimizer():
    """Warm-up over 4 steps: Adam's first steps move by the learning rate."""
    state, loss = TrainingState(5), Distance()
    settings = {"lr_schedule": "cosine", "warmup_steps": 4, "epochs": 10**6}
    training = TrainingConfig(learning_rate=0.1, **settings)
    optimizer = Adam(loss.trainable_params(), 123.0)
    recorder = Recorder(on_step=lambda: (state.learning_rate, loss.weight.asnumpy().item()))
    callbacks = [LearningRate(state, training, optimizer), recorder]
    train(state, callbacks, [-99.0] * 5, optimizer=optimizer, loss=loss)
    rates, weights = zip(*recorder.seen, strict=True)
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    np.testing.assert_allclose(-np.diff([1.0, *weights]), rates, rtol=1e-2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_non_finite_loss_stops_with_step_and_learning_rate(bad):
    """1e30 is finite, and its square is not."""
    state = TrainingState(4, learning_rate=0.5)
    with pytest.raises(NonFiniteError, match="stopped at step 3, learning rate 0.5: the loss is"):
        train(state, [StopOnNonFinite(state)], [0.0, 0.0, bad, 0.0])
