"""Callbacks of `mindspore.train.Model`; each does one thing, and all share one `TrainingState`.

Their order matters: `Clock` counts the step, then come the callbacks that steer the training, then
those that record and save it. `Trainer.make_callbacks` lists them in this order.
"""

import math
import os
import time

import mindspore as ms
from mindspore import ops
from mindspore.train import Callback

from src import checkpoint, run_folder
from src.errors import DiskError, NonFiniteError, StoppedError
from src.runtime import signals
from src.runtime.distributed import Ranks
from src.runtime.files import move
from src.tools.best_by import BestBy
from src.tools.optimizers import PLATEAU_PATIENCE, learning_rate

# The metrics of every validation; each has a column val_... in metrics.csv.
VALIDATION_METRICS = ("mse", "mae", "ssim")

# How long all signals count as one.
GRACE_SECONDS = 5


def is_due(every, state, training):
    """Whether the epoch is a multiple of `every`, or the run is complete."""
    return state.epoch % every == 0 or state.is_complete(training)


def epoch_ends(state, training):
    """Whether the step just done was the last of its epoch or of the run."""
    return state.step % state.steps_per_epoch == 0 or state.is_complete(training)


def crossed_multiple(every, previous, current):
    """Whether a multiple of `every` lies in (previous, current]; never if `every` is 0."""
    return bool(every) and current // every > previous // every


class ByEpochs(Callback):
    """Calls callbacks at the epochs of the run, which are not those of `Model`.

    `Model` treats a sink, or all its steps, as one epoch. Here an epoch begins with its first step
    and ends with its last one, or with the run.

    Args:
        state: the `TrainingState`; the first of the callbacks counts its `step`.
        training: the `TrainingConfig`.
        callbacks: the callbacks, in the order in which they are called.
    """

    def __init__(self, state, training, callbacks):
        super().__init__()
        self.state = state
        self.training = training
        self.callbacks = callbacks
        self.epoch_runs = False

    def on_train_step_begin(self, run_context):
        if not self.epoch_runs:
            self.epoch_runs = True
            for callback in self.callbacks:
                callback.on_train_epoch_begin(run_context)
        for callback in self.callbacks:
            callback.on_train_step_begin(run_context)

    def on_train_step_end(self, run_context):
        for callback in self.callbacks:
            callback.on_train_step_end(run_context)
        if epoch_ends(self.state, self.training):
            self.epoch_runs = False
            for callback in self.callbacks:
                callback.on_train_epoch_end(run_context)


class Clock(Callback):
    """Counts steps, frames and training time; stops `Model` at the end of the run and where the
    horizon changes.

    In sink mode one call stands for all steps of a sink. The first step of a graph, which sets up
    the kernels, is not timed; neither are validation, saving and copying out, after which
    `ClockGoesOn` starts it again. With `max_minutes` all ranks use the time of rank 0.
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
        call = run_context.original_args()
        call.net_outputs[0].asnumpy()  # the device may compute on after the step has returned
        state, training, now = self.state, self.training, time.perf_counter()
        phase = state.phase(training)
        if self.mark is not None:
            state.seconds += now - self.mark
        self.mark = now
        if training.max_minutes:
            state.seconds = float(self.ranks.gather([state.seconds])[0, 0])
        steps = call.sink_size if call.dataset_sink_mode else 1
        state.step += steps
        sequences = steps * training.sequences_per_step(self.ranks.size)
        state.frames += sequences * self.horizons[phase].frames
        if state.phase(training) != phase:
            self.mark = None
            run_context.request_stop()
        if state.progress(training) >= 1:
            run_context.request_stop()


class ClockGoesOn(Callback):
    """Has the clock go on when all is done that follows a step, saving and copying out too; comes
    after whatever does it.
    """

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_train_step_end(self, run_context):
        if self.clock.mark is not None:
            self.clock.mark = time.perf_counter()


class LearningRate(Callback):
    """Sets the optimizer's learning rate before every step."""

    def __init__(self, state, training, optimizer):
        super().__init__()
        self.state = state
        self.training = training
        self.optimizer = optimizer

    def on_train_step_begin(self, run_context):
        state = self.state
        progress = state.progress(self.training)
        rate = learning_rate(
            self.training, state.step, progress, state.lr_reductions, state.extension
        )
        if rate != state.learning_rate:
            state.learning_rate = rate
            ops.assign(self.optimizer.learning_rate, ms.Tensor(rate, ms.float32))


class EncoderLossWeight(Callback):
    """Lowers the weight of the encoder's loss, a Parameter, linearly to 0 over the run. It stays 0
    in a finished run that is extended.
    """

    def __init__(self, state, training, weight):
        super().__init__()
        self.state = state
        self.training = training
        self.weight = weight

    def on_train_step_begin(self, run_context):
        progress = 1.0 if self.state.extension else self.state.progress(self.training)
        left = max(0.0, 1 - progress)
        weight = self.training.encoder_loss_weight * left
        ops.assign(self.weight, ms.Tensor(weight, ms.float32))


class StopOnNonFinite(Callback):
    """Ends the run when the loss or the gradient's norm is not finite, before anything is saved."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def on_train_step_end(self, run_context):
        loss, norm = (float(x.asnumpy()) for x in run_context.original_args().net_outputs)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise non_finite(self.state, f"the loss is {loss} and its gradient's norm {norm}")


def non_finite(state, what):
    """The error of a state that is not finite; it names the step and the learning rate."""
    return NonFiniteError(
        f"stopped at step {state.step}, learning rate {state.learning_rate:.3g}: {what}; "
        "earlier checkpoints are intact: continue from them with --resume, for example with a "
        "lower --learning_rate"
    )


class Validation(Callback):
    """Evaluates every `eval_every` epochs and at the end of the run.

    The MSE decides when the plateau schedule lowers the learning rate, and when the run stops
    early; which state is the best, the score of `best_by`.

    Args:
        state: the `TrainingState`.
        training: the `TrainingConfig`.
        evaluate: a function from the names of metrics to a dict of their means, which also has the
            score of `best_by`.
    """

    def __init__(self, state, training, evaluate):
        super().__init__()
        self.state = state
        self.training = training
        self.evaluate = evaluate
        self.best_by, self.by_mse = BestBy.of(training), BestBy()
        self.result = {}
        self.is_best = False

    def on_train_epoch_begin(self, run_context):
        self.result, self.is_best = {}, False

    def on_train_epoch_end(self, run_context):
        state, training = self.state, self.training
        if not is_due(training.eval_every, state, training):
            return
        self.result = self.evaluate(VALIDATION_METRICS)
        is_lowest = self.improves(self.by_mse)
        self.is_best = is_lowest if self.best_by == self.by_mse else self.improves(self.best_by)
        if is_lowest:
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

    def improves(self, by):
        """Whether the result is the best so far by a score, a `BestBy`; the state keeps it then."""
        score = self.result[by.name]
        if not by.is_better(score, by.best(self.state)):
            return False
        by.set_best(self.state, score)
        return True


class StopSignals(Callback):
    """Requests a stop on SIGTERM, SIGINT or SIGHUP, once the step or validation has finished.

    A second signal, at least `GRACE_SECONDS` after the first, ends the process at once. All ranks
    stop at the same step, the first at whose end one of them has received a signal.
    """

    def __init__(self, ranks):
        super().__init__()
        self.ranks = ranks
        self.signal_received = self.stop_requested = False
        self.grace_ends = math.inf

    def listen(self):
        """Installs the handler of the signals."""
        signals.on_stop(self.request_stop)

    def request_stop(self, number, frame):
        """Records the first signal; a later one ends the process.

        One request to stop may arrive several times: `timeout` and Slurm send it to a process and
        to its group.
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
    """Ends the run if a stop was requested; the last callback, so that rank 0 has saved by then."""

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
        """Raises `StoppedError` on all ranks if a stop was requested."""
        if self.signals.stop_requested:
            self.signals.ranks.barrier()
            raise StoppedError(
                f"stopped, resumable: step {self.state.step} is saved in {self.folder}; "
                f"continue with train.py --resume --train_path '{self.folder}'"
            )


class SaveCheckpoints(Callback):
    """Saves every `save_every` epochs and `save_steps` steps, when the validation is the best so
    far, before a requested stop, and at the end of the run.

    best.ckpt is the best state in this folder. It is not the state's best evaluation if that one is
    in another folder or was set aside. `best_saved` is its score, or None without one.

    last.ckpt is the newest state and previous.ckpt the one before it. `on_saved` is called after
    files have been written, before a requested stop.
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
        self.manifest = run_folder.manifest(folder)
        self.best_saved = validation.best_by.saved(folder / run_folder.BEST)

    def on_train_step_end(self, run_context):
        if epoch_ends(self.state, self.config.training):
            return
        if self.save_steps_are_over() or self.signals.stop_requested:
            self.save_last()
            self.saved()

    def on_train_epoch_end(self, run_context):
        training = self.config.training
        self.save_best()
        due = is_due(training.save_every, self.state, training)
        if self.save_steps_are_over() or due or self.signals.stop_requested:
            self.save_last()
        if due:
            self.save_epoch(run_folder.epoch_file(self.state.epoch))
        self.saved()

    def save_best(self):
        """Writes the best state, or where there is no file of that the best one since."""
        by, is_best = self.validation.best_by, self.validation.is_best
        score = self.validation.result.get(by.name, by.worst)
        if not (self.folder / run_folder.BEST).is_file():
            self.best_saved = None
        saved = by.worst if self.best_saved is None else self.best_saved
        if not is_best and not by.sign * score < by.sign * saved:
            return
        by.set_own(self.state, None if is_best else score)
        self.save(run_folder.BEST)
        by.set_own(self.state, None)
        self.best_saved = score

    def save_epoch(self, name):
        """Writes an epoch's checkpoint, and removes the run's oldest ones but for `keep`.

        Raises:
            DiskError: a file that no run wrote has come in its way.
        """
        if not self.manifest.claim([name]):
            raise DiskError(
                f"{self.folder / name}: is there already, and no run wrote it: move it away; "
                f"{run_folder.LAST} has the state, from which --resume goes on"
            )
        self.save(name)
        own = set(self.manifest.owned())
        saved = [path for path in run_folder.epoch_checkpoints(self.folder) if path in own]
        self.manifest.remove(saved[: -self.config.training.keep])

    def save_steps_are_over(self):
        """Whether a multiple of `save_steps` has been reached since the last call."""
        previous, self.seen = self.seen, self.state.step
        return crossed_multiple(self.config.training.save_steps, previous, self.seen)

    def saved(self):
        """Calls `on_saved`, if there is one."""
        if self.on_saved:
            self.on_saved()

    def save_last(self):
        """Writes next.ckpt, then renames last.ckpt to previous.ckpt, and next.ckpt to last.ckpt."""
        names = (run_folder.NEXT, run_folder.LAST, run_folder.PREVIOUS)
        newest, last, previous = (self.folder / name for name in names)
        self.save(newest.name)
        try:
            if last.is_file():
                os.replace(last, previous)
            move(newest, last)
        except OSError as error:
            raise DiskError(
                f"{last}: cannot be written: {error.strerror}; {newest} has the state"
            ) from None

    def save(self, name):
        """Writes the current state to one checkpoint."""
        state = self.state.to_dict()
        try:
            checkpoint.save(self.folder / name, self.network, self.optimizer, self.config, state)
        except NonFiniteError as error:
            raise non_finite(self.state, error) from None
