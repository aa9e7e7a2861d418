"""Callbacks of `mindspore.train.Model`; each does one thing, and they share one `TrainingState`.

Their order matters: `Clock` first, then whatever decides, then whatever records and saves.
"""

import csv
import io
import math
import os
import signal
import time

import mindspore as ms
from mindspore import ops
from mindspore.train import Callback

from src.errors import DiskError, NonFiniteError, StoppedError
from src.tools import checkpoint, run_folder
from src.tools.files import sync_folder, write_atomically
from src.tools.progress import progress
from src.tools.schedule import PLATEAU_PATIENCE, learning_rate

COLUMNS = (
    "epoch", "step", "sequences", "minutes", "sequences_per_second", "learning_rate",
    "loss", "grad_norm", "val_mse", "val_mae", "val_ssim",
)  # fmt: skip


def is_due(every, state, training, run_context):
    """Whether what happens every so many epochs, and when the run ends, happens now."""
    ends = state.epoch == training.epochs or run_context.get_stop_requested()
    return ends or state.epoch % every == 0


def epoch_ends(state, run_context):
    """Whether the step that is over was the epoch's or the run's last."""
    return state.step % state.steps_per_epoch == 0 or run_context.get_stop_requested()


class Clock(Callback):
    """Counts steps and training time, and ends the run when its steps or minutes are over.

    The first step, which sets the kernels up, is not timed; neither are validation and saving.
    """

    def __init__(self, state, training):
        super().__init__()
        self.state = state
        self.training = training
        self.mark = None

    def on_train_epoch_begin(self, run_context):
        self.state.epoch = run_context.original_args().cur_epoch_num
        if self.mark is not None:
            self.mark = time.perf_counter()

    def on_train_step_end(self, run_context):
        state, now = self.state, time.perf_counter()
        if self.mark is not None:
            state.seconds += now - self.mark
        self.mark = now
        state.step += 1
        if state.progress(self.training) >= 1:
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
        share = state.progress(self.training)
        rate = learning_rate(self.training, state.step, share, state.halvings)
        if rate != state.learning_rate:
            state.learning_rate = rate
            ops.assign(self.optimizer.learning_rate, ms.Tensor(rate, ms.float32))


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
        evaluate: a function that returns `FrameMetrics`.
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
        if not is_due(training.eval_every, state, training, run_context):
            return
        self.result = self.evaluate().means()
        self.is_best = state.best_mse is None or self.result["mse"] < state.best_mse
        if self.is_best:
            state.best_mse = self.result["mse"]
            state.bad_evaluations = state.plateau_evaluations = 0
            return
        state.bad_evaluations += 1
        state.plateau_evaluations += 1
        if state.plateau_evaluations == PLATEAU_PATIENCE:
            state.plateau_evaluations = 0
            state.halvings += 1
        if training.early_stop and state.bad_evaluations >= training.early_stop:
            print(f"early stop after {state.bad_evaluations} evaluations without a better MSE")
            run_context.request_stop()


class LossLog(Callback):
    """Shows progress and writes metrics.csv: a row every `log_every` steps and one an epoch.

    The loss of a row is the mean since the row before it. A resumed run takes the rows back that
    came after its checkpoint.
    """

    def __init__(self, state, config, validation, folder):
        super().__init__()
        self.state = state
        self.training = config.training
        self.validation = validation
        self.path = folder / run_folder.METRICS
        self.loss = self.norm = math.nan
        self.mark = self.row = None
        self.bar = None

    def open(self):
        """Writes the head of metrics.csv, or keeps the rows that a resumed run goes on from."""
        text = io.StringIO()
        rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        rows.writeheader()
        rows.writerows(rows_until(self.path, self.state.step))
        write_atomically(self.path, [text.getvalue().encode()])

    def on_train_step_end(self, run_context):
        loss, norm = run_context.original_args().net_outputs
        self.loss, self.norm = float(loss.asnumpy()), float(norm.asnumpy())
        self.state.loss_sum += self.loss
        self.state.loss_count += 1
        self.show()
        due = self.state.step % self.training.log_every == 0
        if due and not epoch_ends(self.state, run_context):
            self.write_row({})

    def on_train_epoch_end(self, run_context):
        result = self.validation.result
        self.write_row({f"val_{name}": result[name] for name in ("mse", "mae", "ssim") if result})
        if result:
            scores = ", ".join(f"{name} {result[name]:.4g}" for name in ("mse", "mae", "ssim"))
            where = f"epoch {self.state.epoch}, step {self.state.step}"
            print(f"{where}: validation {scores}", flush=True)

    def close(self):
        """Closes the progress display, before any last word."""
        if self.bar is not None:
            self.bar.close()

    def show(self):
        """Moves the progress display; its total is what the run will have done when it ends."""
        state, done = self.state, self.state.step * self.training.batch_size
        total = max(done, round(done / state.progress(self.training)))
        if self.bar is None:
            self.bar = progress(total, "train", initial=done)
            self.mark = state.step, state.seconds
        self.bar.total = total
        rate = f"{state.learning_rate:.3g}"
        self.bar.set_postfix(epoch=state.epoch, loss=f"{self.loss:.4g}", lr=rate, refresh=False)
        self.bar.update(done - self.bar.n)

    def write_row(self, scores):
        """Appends one row; what it has no value for stays empty."""
        state, (step, seconds) = self.state, self.mark
        passed = state.seconds - seconds
        rate = (state.step - step) * self.training.batch_size / passed if passed else ""
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "sequences": state.step * self.training.batch_size,
            "minutes": round(state.seconds / 60, 4),
            "sequences_per_second": rate and round(rate, 3),
            "learning_rate": state.learning_rate,
            "loss": state.loss_sum / state.loss_count,
            "grad_norm": self.norm,
            **scores,
        }
        try:
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n").writerow(row)
        except OSError as error:
            raise DiskError(
                f"{self.path}: cannot be written: {error.strerror}; the checkpoints are intact"
            ) from None
        state.loss_sum, state.loss_count = 0.0, 0
        self.mark = state.step, state.seconds
        self.row = row


def rows_until(path, step):
    """The whole rows of an older metrics.csv up to a step; none where there is no file."""
    if not step or not path.is_file():
        return []
    with open(path, newline="", errors="replace") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if set(row) == set(COLUMNS) and None not in row.values()]
    return [row for row in whole if row["step"].isdecimal() and int(row["step"]) <= step]


class SaveCheckpoints(Callback):
    """Saves the state: every so many epochs and steps, at the end, when it is best, when told to.

    last.ckpt is the newest state and previous.ckpt the one before it. SIGTERM and SIGINT let the
    step, or the epoch's validation, finish; a second one ends the process at once.
    """

    def __init__(self, state, config, validation, network, optimizer, folder):
        super().__init__()
        self.state = state
        self.config = config
        self.validation = validation
        self.network = network
        self.optimizer = optimizer
        self.folder = folder
        self.told_to_stop = False

    def listen(self):
        """Makes SIGTERM and SIGINT stop the training after the step that is under way."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop_soon)

    def stop_soon(self, number, frame):
        """Notes a first signal, and leaves a second one to the system."""
        self.told_to_stop = True
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    def on_train_step_end(self, run_context):
        if epoch_ends(self.state, run_context):
            return
        every = self.config.training.save_steps
        if self.told_to_stop or (every and self.state.step % every == 0):
            self.save_last()
        self.stop_if_told()

    def on_train_epoch_end(self, run_context):
        training = self.config.training
        if self.validation.is_best:
            self.save(run_folder.BEST)
        due = is_due(training.save_every, self.state, training, run_context)
        steps = training.save_steps and self.state.step % training.save_steps == 0
        if due or steps or self.told_to_stop:
            self.save_last()
        if due:
            self.save(run_folder.epoch_file(self.state.epoch))
            for old in sorted(self.folder.glob(run_folder.EPOCHS))[: -training.keep]:
                old.unlink()
        if not self.state.is_complete(training):
            self.stop_if_told()

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

    def stop_if_told(self):
        """Ends the run if a signal asked for it."""
        if self.told_to_stop:
            raise StoppedError(
                f"stopped, resumable: step {self.state.step} is saved in {self.folder}; "
                f"train.py --resume --train_path '{self.folder}' goes on"
            )
