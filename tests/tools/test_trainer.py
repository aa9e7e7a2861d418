"""Sink mode's arithmetic. No CPU has sink mode: `SinkingModel` calls what `Model` calls in it.

Its order of events is that of `Model._train_dataset_sink_process`: a sink is an epoch with one
step, which stands for `sink_size` steps; real training steps run inside.
"""

import csv
import math
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from mindspore.train import RunContext
from mindspore.train._utils import _get_types_and_shapes
from mindspore.train.callback import _InternalCallbackParam

from src import checkpoint
from src.config.presets import make_config
from src.config.schema import Horizon
from src.data.dataset import Dataset
from src.data.normalizer import Normalizer
from src.errors import NonFiniteError, StoppedError
from src.runtime.distributed import Ranks
from src.tools import callback, recorder, trainer
from src.tools.callback import crossed_multiple
from src.tools.optimizers import Adam
from src.tools.state import TrainingState
from src.tools.train_step import TrainStep

STEPS = 6  # of an epoch


class Distance(nn.Cell):
    """A loss: the squared distance of a weight from the mean pixel."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor([1.0], ms.float32), name="weight")

    def construct(self, x, y):
        return ms.ops.square(self.weight - x.mean()).sum() + 0 * y.sum()


class Numbers(Dataset):
    """Sequences whose pixels count: 6 an epoch, then on."""

    shape = (2, 1, 1, 1)
    normalizer = Normalizer()

    def __len__(self):
        return STEPS

    def __getitem__(self, indices):
        numbers = np.asarray(indices) + STEPS * self.epoch
        return np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None, None], (1, 2, 1, 1, 1))


class SinkingModel:
    """`Model.train` in sink mode."""

    def __init__(self, step, before_sink=lambda: None):
        self.step = step
        self.before_sink = before_sink
        self.seen = []

    def train(self, epoch, dataset, callbacks, dataset_sink_mode, sink_size):
        assert dataset_sink_mode
        call = _InternalCallbackParam()
        call.dataset_sink_mode, call.sink_size = True, sink_size
        context = RunContext(call)
        # What DatasetHelper does, and then the queue that it makes: each begins a pass.
        for _ in range(2):
            _get_types_and_shapes(dataset)
        batches = self.batches(dataset, math.ceil(epoch * sink_size / dataset.get_dataset_size()))
        for number in range(1, epoch + 1):
            call.cur_epoch_num = number
            callbacks.on_train_epoch_begin(context)
            callbacks.on_train_step_begin(context)
            self.before_sink()
            for _ in range(sink_size):
                call.net_outputs = self.step(*next(batches))
            callbacks.on_train_step_end(context)
            callbacks.on_train_epoch_end(context)
            if context.get_stop_requested():
                break

    def batches(self, dataset, passes):
        """As many passes over the data as `Model` has sent to the device."""
        iterator = dataset.create_tuple_iterator(num_epochs=passes)
        for _ in range(passes):
            for inputs, targets in iterator:
                self.seen.append(round(float(inputs.asnumpy().mean()) * 255))
                yield inputs, targets


class Run:
    """A training of two epochs in a folder, by the callbacks of `Trainer`."""

    def __init__(self, folder, first_step=0, **settings):
        data = {"batch_size": 1, "epoch_size": STEPS, "input_frames": 1, "curriculum": ()}
        settings = {"epochs": 2, "lr_schedule": "constant", **data, **settings}
        self.config = make_config("small", settings)
        training = self.config.training
        frames = self.config.horizons[-1].frames
        self.state = TrainingState(STEPS, sequence_frames=frames, step=first_step)
        self.validated = []
        self.network = Distance()
        optimizer = Adam(self.network.trainable_params(), training.learning_rate)
        validation = callback.Validation(self.state, training, self.validate)
        self.log = recorder.LossLog(self.state, self.config, validation, folder)
        self.saves = []
        self.signals = callback.StopSignals(Ranks())
        saving = callback.SaveCheckpoints(
            self.state, self.config, validation, self.signals, self.network, optimizer, folder,
            lambda: self.saves.append(checkpoint_step(folder)),
        )  # fmt: skip
        self.callbacks = [
            callback.Clock(self.state, self.config),
            callback.LearningRate(self.state, training, optimizer),
            callback.StopOnNonFinite(self.state),
            validation,
            self.signals,
            self.log,
            saving,
            callback.StopOnRequest(self.state, training, self.signals, folder),
        ]
        self.model = SinkingModel(TrainStep(self.network, optimizer))
        self.rows = folder / "metrics.csv"

    def validate(self, names):
        self.validated.append((self.state.epoch, self.state.step))
        return dict.fromkeys(names, 1.0)

    def train(self):
        """What `Trainer.train` does."""
        self.log.open()
        while not self.state.is_complete(self.config.training):
            trainer.run_epochs(
                self.model, self.callbacks, self.config, Numbers(), self.state, Ranks()
            )

    def logged(self):
        """Epoch and step of the rows of metrics.csv."""
        with open(self.rows, newline="") as file:
            return [(int(row["epoch"]), int(row["step"])) for row in csv.DictReader(file)]


def checkpoint_step(folder):
    return checkpoint.load(folder / "last.ckpt").state["step"]


@pytest.fixture(autouse=True)
def sink_mode(monkeypatch):
    """As on an Ascend."""
    monkeypatch.setattr(trainer, "has_sink_mode", lambda: True)


def test_steps_at_once():
    """312 steps are an epoch of 10,000 sequences in batches of 32."""
    assert [trainer.steps_at_once(size, 312) for size in (1, 8, 10, 13, 400)] == [1, 8, 8, 13, 312]
    assert [trainer.steps_at_once(size, 7) for size in (1, 6, 7)] == [1, 1, 7]


def test_another_clip_begins_between_sinks(tmp_path):
    """2 frames for 0.2 of the work, then 4: 0.2 / 2 of the steps beside 0.8 / 4, 4 of 12."""
    horizons = {"curriculum": (Horizon(1, 1, 0.2),), "forecast_frames": 3}
    for size, switch in ((1, 4), (2, 4), (3, 6)):
        (folder := tmp_path / str(size)).mkdir()
        run = Run(folder, sink_size=size, **horizons)
        run.train()
        assert run.state.frames == switch * 2 + (12 - switch) * 4
        assert run.model.seen == list(range(12))
        assert run.validated == [(1, 6), (2, 12)]


def test_what_is_due_within_a_sink():
    """Every 5 steps, in sinks of 3: at 6, 12, 15."""
    due = [now for now in range(3, 16, 3) if crossed_multiple(5, now - 3, now)]
    assert due == [6, 12, 15]
    assert [now for now in range(1, 12) if crossed_multiple(5, now - 1, now)] == [5, 10]
    assert not crossed_multiple(0, 0, 100)


def test_saves_rows_and_validation_act_at_multiples(tmp_path):
    """Two epochs of 6 steps in sinks of 3, with rows and saves every 2 steps."""
    run = Run(tmp_path, sink_size=3, log_every=2, save_steps=2)
    run.train()
    assert run.model.seen == list(range(12))
    assert run.logged() == [(1, 3), (1, 6), (2, 9), (2, 12)]
    assert run.saves == [3, 6, 9, 12]
    assert run.validated == [(1, 6), (2, 12)]
    assert (run.state.epoch, run.state.step) == (2, 12)


def test_the_weights_are_those_of_single_steps(tmp_path):
    """A constant rate: sinks change nothing; 4 divides no epoch of 6, so that 3 are taken."""
    weights = []
    for size in (1, 4, 6):
        folder = tmp_path / str(size)
        folder.mkdir()
        run = Run(folder, sink_size=size)
        run.train()
        weights.append(run.network.weight.asnumpy().tolist())
        assert run.model.seen == list(range(12))
    assert weights[0] == weights[1] == weights[2] != [1.0]


def test_a_resumed_epoch(tmp_path):
    """From step 2: what is left of the epoch in sinks of 4, then an epoch in sinks of 3."""
    run = Run(tmp_path, first_step=2, sink_size=5, log_every=1)
    run.train()
    assert run.model.seen == list(range(2, 12))
    assert run.logged() == [(1, 6), (2, 9), (2, 12)]
    assert run.validated == [(1, 6), (2, 12)]


def test_minutes_end_a_run_at_the_end_of_a_sink(tmp_path, monkeypatch):
    """A sink of 2 steps takes 40 s, and the first is not timed: over after the third."""
    now = iter(range(0, 10**6, 40))
    time = SimpleNamespace(perf_counter=lambda: next(now))
    monkeypatch.setattr(callback, "time", time)
    run = Run(tmp_path, sink_size=2, max_minutes=1.0, epochs=9)
    run.train()
    assert (run.state.step, run.state.seconds) == (6, 80)
    assert run.validated == [(1, 6)]


def test_a_signal_is_obeyed_at_the_end_of_a_sink(tmp_path):
    run = Run(tmp_path, sink_size=3)
    run.model.before_sink = lambda: run.signals.request_stop(15, None)
    with pytest.raises(StoppedError, match="step 3 is saved"):
        run.train()
    assert checkpoint_step(tmp_path) == 3


def test_nan_is_found_at_the_end_of_a_sink(tmp_path):
    """And no checkpoint holds it."""
    run = Run(tmp_path, sink_size=3)
    run.network.weight.set_data(ms.Tensor([np.nan], ms.float32))
    with pytest.raises(NonFiniteError, match="stopped at step 3"):
        run.train()
    assert not list(tmp_path.glob("*.ckpt"))


def test_what_is_said():
    text = trainer.describe_sinks(3)
    assert text.startswith("sink mode: 3 steps at a time; saves, stop signals, --max_minutes")
    assert text.endswith("act at multiples of 3")
    assert trainer.describe_sinks(1) == "sink mode: 1 step at a time"
