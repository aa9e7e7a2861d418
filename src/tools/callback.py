"""Callbacks of `mindspore.train.Model`; each does one thing, and they share one `TrainingState`.

Their order matters: `Clock` counts first, then comes whatever decides, then whatever records and
saves.
"""

import math
import os
import time

import mindspore as ms
from mindspore import ops
from mindspore.train import Callback

from src import checkpoint, run_folder
from src.errors import NonFiniteError, StoppedError
from src.runtime import signals
from src.runtime.distributed import Ranks
from src.runtime.files import sync_folder
from src.tools.lr_schedule import PLATEAU_PATIENCE, learning_rate

# What a validation measures; metrics.csv has a column val_... for each.
VALIDATION_METRICS = ("mse", "mae", "ssim")

# How long all signals count as one.
GRACE_SECONDS = 5


def is_due(every, state, training):
    """Whether what happens every so many epochs, and when the run ends, happens now."""
    return state.epoch % every == 0 or state.is_complete(training)


def epoch_ends(state, training):
    """Whether the step that is over was the epoch's or the run's last."""
    return state.step % state.steps_per_epoch == 0 or state.is_complete(training)


def crossed_multiple(every, previous, current):
    """Whether a multiple of `every` lies after `previous` and up to `current`; of 0 none does."""
    return bool(every) and current // every > previous // every


class ByEpochs(Callback):
    """Passes `Model`'s events on to callbacks: an epoch is over when its last step is.

    `Model` ends one with every sink, and where the training goes on with another horizon.

    Args:
        state: the `TrainingState`, whose `step` the first of the callbacks counts.
        training: the `TrainingConfig`.
        callbacks: what is called.
    """

    def __init__(self, state, training, callbacks):
        super().__init__()
        self.state = state
        self.training = training
        self.callbacks = callbacks
        self.epoch_runs = False

    def on_train_epoch_begin(self, run_context):
        if not self.epoch_runs:
            self.epoch_runs = True
            for callback in self.callbacks:
                callback.on_train_epoch_begin(run_context)

    def on_train_step_begin(self, run_context):
        for callback in self.callbacks:
            callback.on_train_step_begin(run_context)

    def on_train_step_end(self, run_context):
        for callback in self.callbacks:
            callback.on_train_step_end(run_context)

    def on_train_epoch_end(self, run_context):
        if epoch_ends(self.state, self.training):
            self.epoch_runs = False
            for callback in self.callbacks:
                callback.on_train_epoch_end(run_context)


class Clock(Callback):
    """Counts steps, frames and training time; has `Model` stop where the run is over, or where
    another horizon is due.

    In sink mode a call stands for as many steps as were sunk at once. The first step of a graph,
    which sets the kernels up, is not timed; neither are validation and saving.
    Where minutes count, the clock of rank 0 is that of all ranks.
    """

    def __init__(self, state, config, ranks=None):
        super().__init__()
        self.state = state
        self.training = config.training
        self.horizons = config.horizons
        self.ranks = ranks or Ranks()
        self.mark = None

    def on_train_epoch_begin(self, run_context):
        self.state.epoch = self.state.step // self.state.steps_per_epoch + 1
        if self.mark is not None:
            self.mark = time.perf_counter()

    def on_train_step_end(self, run_context):
        state, training, now = self.state, self.training, time.perf_counter()
        phase = state.phase(training)
        if self.mark is not None:
            state.seconds += now - self.mark
        self.mark = now
        if training.max_minutes:
            state.seconds = float(self.ranks.gather([state.seconds])[0, 0])
        call = run_context.original_args()
        steps = call.sink_size if call.dataset_sink_mode else 1
        state.step += steps
        sequences = steps * training.sequences_per_step(self.ranks.size)
        state.frames += sequences * self.horizons[phase].frames
        if state.phase(training) != phase:
            self.mark = None
            run_context.request_stop()
        if state.progress(training) >= 1:
            run_context.request_stop()


class LearningRate(Callback):
    """Sets the optimizer's rate before every step."""

    def __init__(self, state, training, optimizer):
        super().__init__()
        self.state = state
        self.training = training
        self.optimizer = optimizer

    def on_train_step_begin(self, run_context):
        state = self.state
        progress = state.progress(self.training)
        rate = learning_rate(self.training, state.step, progress, state.lr_reductions)
        if rate != state.learning_rate:
            state.learning_rate = rate
            ops.assign(self.optimizer.learning_rate, ms.Tensor(rate, ms.float32))


class EncoderLossWeight(Callback):
    """Lets the weight of the encoder's loss, a Parameter, fall to 0 over the run."""

    def __init__(self, state, training, weight):
        super().__init__()
        self.state = state
        self.training = training
        self.weight = weight

    def on_train_step_begin(self, run_context):
        left = max(0.0, 1 - self.state.progress(self.training))
        weight = self.training.encoder_loss_weight * left
        ops.assign(self.weight, ms.Tensor(weight, ms.float32))


class StopOnNonFinite(Callback):
    """Ends the run when a loss or a gradient is not finite; no checkpoint holds such a state."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def on_train_step_end(self, run_context):
        loss, norm = (float(x.asnumpy()) for x in run_context.original_args().net_outputs)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise non_finite(self.state, f"the loss is {loss} and its gradient's norm {norm}")


def non_finite(state, what):
    """The error that names step and learning rate."""
    return NonFiniteError(
        f"stopped at step {state.step}, learning rate {state.learning_rate:.3g}: {what}; "
        "checkpoints saved before are good: --resume goes on from them, with a lower "
        "--learning_rate for example"
    )


class Validation(Callback):
    """Evaluates every so many epochs and at the end; drives plateau, best and early stopping.

    Args:
        state: the `TrainingState`.
        training: the `TrainingConfig`.
        evaluate: a function of the names of metrics that returns their `FrameMetrics`.
    """

    def __init__(self, state, training, evaluate):
        super().__init__()
        self.state = state
        self.training = training
        self.evaluate = evaluate
        self.result = {}
        self.is_best = False

    def on_train_epoch_begin(self, run_context):
        self.result, self.is_best = {}, False

    def on_train_epoch_end(self, run_context):
        state, training = self.state, self.training
        if not is_due(training.eval_every, state, training):
            return
        self.result = self.evaluate(VALIDATION_METRICS).means()
        self.is_best = state.best_mse is None or self.result["mse"] < state.best_mse
        if self.is_best:
            state.best_mse = self.result["mse"]
            state.evaluations_without_improvement = state.plateau_evaluations = 0
            return
        state.evaluations_without_improvement += 1
        state.plateau_evaluations += 1
        if state.plateau_evaluations == PLATEAU_PATIENCE:
            state.plateau_evaluations = 0
            state.lr_reductions += 1
        if training.early_stop and state.evaluations_without_improvement >= training.early_stop:
            count = state.evaluations_without_improvement
            print(f"early stop after {count} evaluations without a better MSE")
            run_context.request_stop()


class StopSignals(Callback):
    """SIGTERM, SIGINT and SIGHUP let the step, or the epoch's validation, finish; a second one,
    `GRACE_SECONDS` later at the earliest, ends the process at once. All ranks stop at the step at
    which the first of them knows of a signal.
    """

    def __init__(self, ranks):
        super().__init__()
        self.ranks = ranks
        self.signal_received = self.stop_requested = False
        self.grace_ends = math.inf

    def listen(self):
        """Makes signals stop the training after the step that is under way."""
        signals.on_stop(self.request_stop)

    def request_stop(self, number, frame):
        """Notes a first signal; at a second one ends the process.

        One order to stop may arrive several times: `timeout` and Slurm send it to a process and to
        its group.
        """
        if not self.signal_received:
            self.signal_received = True
            self.grace_ends = time.monotonic() + GRACE_SECONDS
        elif time.monotonic() > self.grace_ends:
            signals.end_at_once(number)

    def on_train_step_end(self, run_context):
        self.stop_requested = self.ranks.any(self.signal_received)

    def on_train_epoch_end(self, run_context):
        self.stop_requested = self.ranks.any(self.signal_received)


class StopOnRequest(Callback):
    """Ends the run if a signal asked for it, after rank 0 has saved; comes last."""

    def __init__(self, state, training, signals, folder):
        super().__init__()
        self.state = state
        self.training = training
        self.signals = signals
        self.folder = folder

    def on_train_step_end(self, run_context):
        if not epoch_ends(self.state, self.training):
            self.stop_if_requested()

    def on_train_epoch_end(self, run_context):
        if not self.state.is_complete(self.training):
            self.stop_if_requested()

    def stop_if_requested(self):
        """Raises `StoppedError` on all ranks together."""
        if self.signals.stop_requested:
            self.signals.ranks.barrier()
            raise StoppedError(
                f"stopped, resumable: step {self.state.step} is saved in {self.folder}; "
                f"train.py --resume --train_path '{self.folder}' goes on"
            )


class SaveCheckpoints(Callback):
    """Saves the state: every so many epochs and steps, at the end, when it is best, when told to.

    last.ckpt is the newest state and previous.ckpt the one before it. `on_saved` is called when
    files have been written, before a stop.
    """

    def __init__(
        self, state, config, validation, signals, network, optimizer, folder, on_saved=None
    ):
        super().__init__()
        self.state = state
        self.seen = state.step
        self.on_saved = on_saved
        self.config = config
        self.validation = validation
        self.signals = signals
        self.network = network
        self.optimizer = optimizer
        self.folder = folder

    def on_train_step_end(self, run_context):
        if epoch_ends(self.state, self.config.training):
            return
        if self.save_steps_are_over() or self.signals.stop_requested:
            self.save_last()
            self.saved()

    def on_train_epoch_end(self, run_context):
        training = self.config.training
        if self.validation.is_best:
            self.save(run_folder.BEST)
        due = is_due(training.save_every, self.state, training)
        if self.save_steps_are_over() or due or self.signals.stop_requested:
            self.save_last()
        if due:
            self.save(run_folder.epoch_file(self.state.epoch))
            for old in sorted(self.folder.glob(run_folder.EPOCHS))[: -training.keep]:
                old.unlink()
        self.saved()

    def save_steps_are_over(self):
        """Whether `save_steps` have passed since it was asked last."""
        before, self.seen = self.seen, self.state.step
        return crossed_multiple(self.config.training.save_steps, before, self.seen)

    def saved(self):
        """Tells whoever wants to know that there are new files."""
        if self.on_saved:
            self.on_saved()

    def save_last(self):
        """Writes the state as next.ckpt, then makes last.ckpt previous.ckpt and it last.ckpt."""
        names = (run_folder.NEXT, run_folder.LAST, run_folder.PREVIOUS)
        newest, last, previous = (self.folder / name for name in names)
        self.save(newest.name)
        if last.is_file():
            os.replace(last, previous)
        os.replace(newest, last)
        sync_folder(self.folder)

    def save(self, name):
        """Writes one checkpoint of the present state."""
        state = self.state.to_dict()
        try:
            checkpoint.save(self.folder / name, self.network, self.optimizer, self.config, state)
        except NonFiniteError as error:
            raise non_finite(self.state, error) from None
