"""What a training records: progress and metrics.csv, pictures, TensorBoard events."""

import csv
import io
import math
import re
import socket
import sys
import time

import numpy as np
from mindspore.train import Callback

from src import run_folder
from src.data.dataset import lead_step
from src.errors import DiskError, InputError
from src.evaluation.evaluate import forecaster_of
from src.runtime.files import write_atomically
from src.runtime.progress import progress
from src.tools.callback import VALIDATION_METRICS, crossed_multiple, epoch_ends

COLUMNS = (
    "epoch", "step", "sequences", "work", "minutes", "sequences_per_second", "learning_rate",
    "loss", "grad_norm", *(f"val_{name}" for name in VALIDATION_METRICS),
)  # fmt: skip
# The last column of a run whose best.ckpt is chosen by the CSI.
CSI_COLUMN = "val_csi"
NAME = re.compile(r"sequence_\d+_epoch_(\d+)\.png")


class Recorder(Callback):
    """A callback that writes files of its own, on rank 0 only."""

    def open(self):
        """Prepares the files before training; removes what was recorded after a resumed state."""

    def close(self):
        """Closes the files after training, also after an error."""


class LossLog(Recorder):
    """Shows progress and writes metrics.csv: a row every `log_every` steps and one per epoch.

    In sink mode a row is written at the end of the sink that contains its step. The loss of a row
    is the mean since the previous row. A resumed run removes the rows after its checkpoint.
    """

    def __init__(self, state, config, validation, folder):
        super().__init__()
        self.state = state
        self.training = config.training
        self.validation = validation
        self.path = folder / run_folder.METRICS
        self.columns = COLUMNS + (CSI_COLUMN,) * (self.training.csi_threshold is not None)
        self.loss = self.norm = math.nan
        self.seen = state.step
        self.mark = self.row = None
        self.bar = None

    def open(self):
        """Writes the header of metrics.csv, and the rows up to the checkpoint of a resumed run."""
        text = io.StringIO()
        rows = csv.DictWriter(text, self.columns, lineterminator="\n")
        rows.writeheader()
        rows.writerows(rows_until(self.path, self.state, self.columns))
        write_atomically(self.path, [text.getvalue().encode()])

    def on_train_step_end(self, run_context):
        loss, norm = run_context.original_args().net_outputs
        self.loss, self.norm = float(loss.asnumpy()), float(norm.asnumpy())
        self.state.loss_sum += self.loss
        self.state.loss_count += 1
        self.show()
        previous, self.seen = self.seen, self.state.step
        due = crossed_multiple(self.training.log_every, previous, self.seen)
        if due and not epoch_ends(self.state, self.training):
            self.write_row({})

    def on_train_epoch_end(self, run_context):
        result = self.validation.result
        self.write_row({f"val_{name}": value for name, value in result.items()})
        if result:
            scores = ", ".join(f"{name} {value:.4g}" for name, value in result.items())
            where = f"epoch {self.state.epoch}, step {self.state.step}"
            print(f"{where}: validation {scores}", flush=True)

    def close(self):
        """Closes the progress display, before any final message is printed."""
        if self.bar is not None:
            self.bar.close()

    def show(self):
        """Updates the progress display; its total is an estimate of the run's sequences."""
        state, done = self.state, self.state.sequences(self.training)
        progress_made = state.progress(self.training)
        total = max(done, round(done / progress_made)) if progress_made else done
        if self.bar is None:
            self.bar = progress(total, "train", initial=done)
            self.mark = done, state.seconds
        self.bar.total = total
        rate = f"{state.learning_rate:.3g}"
        self.bar.set_postfix(epoch=state.epoch, loss=f"{self.loss:.4g}", lr=rate, refresh=False)
        self.bar.update(done - self.bar.n)

    def write_row(self, scores):
        """Appends one row; a column without a value stays empty."""
        state, (previous, seconds) = self.state, self.mark
        done, passed = state.sequences(self.training), state.seconds - seconds
        rate = (done - previous) / passed if passed else ""
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "sequences": done,
            "work": round(state.sequence_equivalents, 2),
            "minutes": round(state.seconds / 60, 4),
            "sequences_per_second": rate and round(rate, 3),
            "learning_rate": state.learning_rate,
            "loss": state.loss_sum / state.loss_count,
            "grad_norm": self.norm,
            **scores,
        }
        try:
            with open(self.path, "a", newline="") as file:
                writer = csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
                writer.writerow(row)
        except OSError as error:
            raise DiskError(
                f"{self.path}: cannot be written: {error.strerror}; the checkpoints are intact"
            ) from None
        state.loss_sum, state.loss_count = 0.0, 0
        self.mark = done, state.seconds
        self.row = row


def rows_until(path, state, columns=COLUMNS):
    """The complete rows of an existing metrics.csv up to a state; none if there is no file.

    At the end of an epoch rows are compared with the state by their epoch only: the number of ranks
    may have changed since, and with it the count of steps.
    """
    if not state.step or not path.is_file():
        return []
    end = state.step if state.step % state.steps_per_epoch else math.inf
    with open(path, newline="", errors="replace") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if set(row) == set(columns) and None not in row.values()]
    rows = [row for row in rows if row["step"].isdecimal() and row["epoch"].isdecimal()]
    return [
        row
        for row in rows
        if int(row["epoch"]) < state.epoch
        or (int(row["epoch"]) == state.epoch and int(row["step"]) <= end)
    ]


class Pictures(Recorder):
    """Draws the first validation sequences at every evaluation, into the run's folder.

    Args:
        state: the `TrainingState`.
        validation: the `Validation`, which comes earlier in the list of callbacks.
        forecaster: a function from inputs to forecasts, NumPy arrays.
        source: the validation sequences.
        batches: the batches that `first_batches` returned.
        folder: the run's folder.
    """

    def __init__(self, state, validation, forecaster, source, batches, folder):
        super().__init__()
        self.state = state
        self.validation = validation
        self.forecaster = forecaster
        self.source = source
        self.batches = batches
        self.manifest = run_folder.manifest(folder)
        self.drawn = {}

    def open(self):
        """Makes the folder; removes pictures that were drawn after a resumed state."""
        make_folder(self.manifest.folder / run_folder.PICTURES)
        self.manifest.remove(pictures_after(self.state.epoch, self.manifest))

    def on_train_epoch_begin(self, run_context):
        self.drawn = {}

    def on_train_epoch_end(self, run_context):
        if not self.validation.result:
            return
        # Imported here: it takes half a second, which runs without pictures need not spend.
        from src.plots.colours import color_scale
        from src.plots.frames import png_of, strip_figure

        colors, normalizer = color_scale(self.source), self.source.normalizer
        step = lead_step(self.source)
        for read, inputs, truth in self.batches:
            forecasts = normalizer.denormalize(self.forecaster(read)[: len(inputs)], inputs)
            for k in range(len(inputs)):
                name = f"sequence_{len(self.drawn) + 1}"
                figure = strip_figure(inputs[k], forecasts[k], truth[k], colors, step)
                self.drawn[name] = png_of(figure)
        self.write()

    def write(self):
        """Writes what was drawn, but not over a file that no run wrote, which it says."""
        files = {
            f"{run_folder.PICTURES}/{name}_epoch_{self.state.epoch:04d}.png": png
            for name, png in self.drawn.items()
        }
        ours = self.manifest.claim(files)
        for name, png in files.items():
            path = self.manifest.folder / name
            if path in ours:
                write_atomically(path, [png])
            else:
                print(f"warning: {path}: is there already, and no run's: left", file=sys.stderr)


def pictures_after(epoch, manifest):
    """The files of a run's pictures that were drawn after an epoch."""
    names = [(path, NAME.fullmatch(path.name)) for path in manifest.owned()]
    return [path for path, name in names if name and int(name[1]) > epoch]


def make_recorders(state, config, network, source, validation, folder):
    """A list of the run's recorders: of metrics and, if configured, pictures and TensorBoard.

    Args:
        state: the `TrainingState`.
        config: the run's `Config`.
        network: the network whose forecasts are drawn.
        source: the validation sequences.
        validation: the `Validation`, which comes earlier in the list of callbacks.
        folder: the run's folder.
    """
    training, pictures = config.training, None
    log = LossLog(state, config, validation, folder)
    recorders = [log]
    if training.pictures:
        batches = first_batches(
            source, training.pictures, config.eval_batch_size, config.data.input_frames
        )
        pictures = Pictures(state, validation, forecaster_of(network), source, batches, folder)
        recorders.append(pictures)
    if training.tensorboard:
        recorders.append(TensorBoard(state, log, pictures, folder))
    return recorders


def make_folder(folder):
    """Makes a folder inside the run's folder; raises `InputError` if that is not possible."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made (train_path): {error.strerror}") from None


def first_batches(source, count, batch_size, input_frames):
    """The first `count` sequences of a source, or all if it has fewer, in batches.

    Args:
        source: a source of sequences, see `src.data`.
        count: number of sequences.
        batch_size: the batch size of the evaluation, so that its compiled graph is used again.
        input_frames: frames that the network reads.

    Returns:
        A list of batches: the network's inputs, (B, T, C, H, W), the last batch filled up to B; and
        without what fills it up, the inputs and the truth in the data's units.
    """
    batch_size, count = min(batch_size, len(source)), min(count, len(source))
    batches = []
    for start in range(0, count, batch_size):
        indices = np.arange(start, start + batch_size)
        frames = source[np.minimum(indices, len(source) - 1)]
        inputs, valid = frames[:, :input_frames], min(batch_size, count - start)
        read = source.normalizer.normalize(inputs)
        batches.append((read, inputs[:valid], frames[:valid, input_frames:]))
    return batches


class TensorBoard(Recorder):
    """Writes the rows of metrics.csv and the pictures as TensorBoard events.

    An event has the step of the training. A resumed run starts a new file, whose first event makes
    TensorBoard discard the steps after its checkpoint.

    Args:
        state: the `TrainingState`.
        log: the `LossLog`, which comes earlier in the list of callbacks.
        pictures: the `Pictures`, which come earlier too, or None.
        folder: the run's folder.
    """

    def __init__(self, state, log, pictures, folder):
        super().__init__()
        self.state = state
        self.log = log
        self.pictures = pictures
        self.folder = folder / run_folder.EVENTS
        self.writer = None
        self.row = None

    def open(self):
        """Starts an event file."""
        check_tensorboard()
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        make_folder(self.folder)
        path = self.new_file()
        try:
            # tensorboardX's writer without a queue: events are on the disk before the next
            # checkpoint, and a full disk raises an error here.
            self.writer = RecordWriter(str(path))
        except OSError as error:
            raise self.failed(error) from None
        self.write(file_version="brain.Event:2")
        start = SessionLog(status=SessionLog.START)
        self.write(step=self.state.step + 1, session_log=start)

    def new_file(self):
        """The path of an event file that is not there yet, by the time as TensorBoard wants it."""
        second, host = int(time.time()), socket.gethostname()
        while (path := self.folder / f"events.out.tfevents.{second:010d}.{host}").exists():
            second += 1
        run_folder.manifest(self.folder.parent).add(f"{run_folder.EVENTS}/{path.name}")
        return path

    def on_train_step_end(self, run_context):
        self.write_new_row()

    def on_train_epoch_end(self, run_context):
        self.write_new_row()
        if self.pictures and self.pictures.drawn:
            self.write_pictures()

    def write_new_row(self):
        """Writes the newest row of metrics.csv, unless it has been written already."""
        if self.log.row is self.row:
            return
        from tensorboardX.proto.summary_pb2 import Summary

        self.row = self.log.row
        columns = [name for name in self.log.columns if name != "step"]
        numbers = {name: self.row[name] for name in columns if self.row.get(name, "") != ""}
        values = [Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        self.write(step=self.row["step"], summary=Summary(value=values))

    def write_pictures(self):
        """Writes the pictures of this evaluation."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, image=Summary.Image(encoded_image_string=png, colorspace=4))
            for name, png in self.pictures.drawn.items()
        ]
        self.write(step=self.state.step, summary=Summary(value=values))

    def write(self, **event):
        """Writes one event to the disk."""
        from tensorboardX.proto.event_pb2 import Event

        try:
            self.writer.write(Event(wall_time=time.time(), **event).SerializeToString())
            self.writer.flush()
        except OSError as error:
            raise self.failed(error) from None

    def failed(self, error):
        """The error for an event file that cannot be written."""
        return DiskError(
            f"{self.folder}: cannot be written: {error.strerror}; the checkpoints are intact"
        )


def check_tensorboard():
    """Raises `InputError` unless the package tensorboardX is installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "tensorboard needs the package tensorboardX: pip install tensorboardX, or leave "
            "--tensorboard out"
        ) from None
