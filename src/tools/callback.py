"""Callbacks of `mindspore.train.Model`; each does one thing, and they share one `TrainingState`.

Their order matters: `Clock` first, then whatever decides, then whatever records and saves.
"""

import csv
import math
import time
from dataclasses import asdict, dataclass

import mindspore as ms
from mindspore import ops
from mindspore.train import Callback

from src.tools import checkpoint, run_folder
from src.tools.progress import progress
from src.tools.schedule import PLATEAU_PATIENCE, learning_rate

COLUMNS = (
    "epoch", "step", "sequences", "minutes", "sequences_per_second", "learning_rate",
    "loss", "grad_norm", "val_mse", "val_mae", "val_ssim",
)  # fmt: skip


class NonFiniteError(RuntimeError):
    """The loss, its gradient or a weight is NaN or infinite."""


@dataclass
class TrainingState:
    """Where a training stands.

    `best_mse` is that of the best evaluation, `bad_evaluations` counts those since; `halvings` and
    `plateau_evaluations` are the plateau schedule's.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    learning_rate: float = 0.0
    best_mse: float = math.inf
    bad_evaluations: int = 0
    plateau_evaluations: int = 0
    halvings: int = 0


def is_due(every, state, training, run_context):
    """Whether what happens every so many epochs, and when the run ends, happens now."""
    ends = state.epoch == training.epochs or run_context.get_stop_requested()
    return ends or state.epoch % every == 0


class Clock(Callback):
    """Counts steps and training time, and ends the run when its minutes are over.

    The first step, which compiles, is not timed; neither are validation and saving.
    """

    def __init__(self, state, total_steps, max_minutes):
        super().__init__()
        self.state = state
        self.total_steps = total_steps
        self.max_seconds = 60 * max_minutes
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
        state.progress = state.step / self.total_steps
        if self.max_seconds:
            state.progress = max(state.progress, state.seconds / self.max_seconds)
        if state.progress >= 1:
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
        rate = learning_rate(self.training, state.step, state.progress, state.halvings)
        if rate != state.learning_rate:
            state.learning_rate = rate
            ops.assign(self.optimizer.learning_rate, ms.Tensor(rate, ms.float32))


class StopOnNonFinite(Callback):
    """Ends the run before a NaN can reach a checkpoint."""

    def __init__(self, state, network):
        super().__init__()
        self.state = state
        self.network = network

    def on_train_step_end(self, run_context):
        loss, norm = (float(x.asnumpy()) for x in run_context.original_args().net_outputs)
        if not math.isfinite(loss) or not math.isfinite(norm):
            self.stop(f"the loss is {loss} and its gradient's norm {norm}")

    def on_train_epoch_end(self, run_context):
        if not checkpoint.all_finite(self.network):
            self.stop("a weight is no longer finite")

    def stop(self, what):
        """Raises `NonFiniteError`."""
        raise NonFiniteError(
            f"stopped at step {self.state.step}, learning rate {self.state.learning_rate:.3g}: "
            f"{what}; checkpoints saved before are good; try a lower --learning_rate or --grad_clip"
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
        self.is_best = self.result["mse"] < state.best_mse
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
            print(
                f"early stop: {state.bad_evaluations} evaluations without a better validation MSE",
                flush=True,
            )
            run_context.request_stop()


class LossLog(Callback):
    """Shows progress and writes metrics.csv: a row every `log_every` steps and one an epoch.

    The loss of a row is the mean since the row before it.
    """

    def __init__(self, state, config, validation, folder):
        super().__init__()
        self.state = state
        self.log_every = config.training.log_every
        self.batch_size = config.training.batch_size
        self.validation = validation
        self.path = folder / run_folder.METRICS
        self.losses, self.norm = [], math.nan
        self.mark = (0, 0.0)
        self.bar = None

    def on_train_begin(self, run_context):
        with open(self.path, "w", newline="") as file:
            csv.writer(file).writerow(COLUMNS)
        print("compiling the training graph, then training", flush=True)

    def on_train_step_end(self, run_context):
        params = run_context.original_args()
        loss, norm = params.net_outputs
        self.losses.append(float(loss.asnumpy()))
        self.norm = float(norm.asnumpy())
        self.show()
        epoch_ends = params.cur_step_num % params.batch_num == 0 or run_context.get_stop_requested()
        if self.state.step % self.log_every == 0 and not epoch_ends:
            self.write_row({})

    def on_train_epoch_end(self, run_context):
        result = self.validation.result
        self.write_row({f"val_{name}": result[name] for name in ("mse", "mae", "ssim") if result})
        if result:
            scores = ", ".join(f"{name} {result[name]:.4g}" for name in ("mse", "mae", "ssim"))
            print(
                f"epoch {self.state.epoch}, step {self.state.step}: validation {scores}", flush=True
            )

    def on_train_end(self, run_context):
        if self.bar is not None:
            self.bar.close()

    def show(self):
        """Moves the progress display; its total is what the run will have done when it ends."""
        state, done = self.state, self.state.step * self.batch_size
        total = max(done, round(done / state.progress))
        if self.bar is None:
            self.bar, self.mark = (
                progress(total, "train", initial=done),
                (state.step, state.seconds),
            )
        self.bar.total = total
        self.bar.set_postfix(
            epoch=state.epoch,
            loss=f"{self.losses[-1]:.4g}",
            lr=f"{state.learning_rate:.3g}",
            refresh=False,
        )
        self.bar.update(done - self.bar.n)

    def write_row(self, scores):
        """Appends one row; what it has no value for stays empty."""
        state, (step, seconds) = self.state, self.mark
        passed = state.seconds - seconds
        loss = sum(self.losses) / len(self.losses)
        rate = (state.step - step) * self.batch_size / passed if passed else ""
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "sequences": state.step * self.batch_size,
            "minutes": round(state.seconds / 60, 4),
            "sequences_per_second": rate and round(rate, 3),
            "learning_rate": state.learning_rate,
            "loss": loss,
            "grad_norm": self.norm,
            **scores,
        }
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, COLUMNS, restval="").writerow(row)
        self.losses, self.mark = [], (state.step, state.seconds)


class SaveCheckpoints(Callback):
    """Writes best.ckpt when it is, epoch_NNNN.ckpt and last.ckpt every so often and at the end."""

    def __init__(self, state, config, validation, network, optimizer, folder):
        super().__init__()
        self.state = state
        self.config = config
        self.validation = validation
        self.network = network
        self.optimizer = optimizer
        self.folder = folder

    def on_train_epoch_end(self, run_context):
        training = self.config.training
        if self.validation.is_best:
            self.save(run_folder.BEST)
        if is_due(training.save_every, self.state, training, run_context):
            self.save(run_folder.epoch_file(self.state.epoch))
            self.save(run_folder.LAST)
            for old in sorted(self.folder.glob(run_folder.EPOCHS))[: -training.keep]:
                old.unlink()

    def save(self, name):
        """Writes one checkpoint of the present state."""
        checkpoint.save(
            self.folder / name, self.network, self.optimizer, self.config, asdict(self.state)
        )
