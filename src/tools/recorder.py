"""What a training leaves to colors at: metrics.csv and progress, pictures, TensorBoard."""

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
from src.errors import DiskError, InputError
from src.evaluation.evaluate import forecaster_of
from src.runtime.files import write_atomically
from src.runtime.progress import progress
from src.tools.callback import VALIDATION_METRICS, crossed_multiple, epoch_ends

COLUMNS = (
    "epoch", "step", "sequences", "work", "minutes", "sequences_per_second", "learning_rate",
    "loss", "grad_norm", *(f"val_{name}" for name in VALIDATION_METRICS),
)  # fmt: skip
NAME = re.compile(r"sequence_\d+_epoch_(\d+)\.png")


class Recorder(Callback):
    """A callback that writes files of its own, on rank 0 alone."""

    def open(self):
        """Opens them before the training, or takes back what came after the resumed state."""

    def close(self):
        """Closes them when the training has ended, however it did."""


class LossLog(Recorder):
    """Shows progress and writes metrics.csv: a row every `log_every` steps and one an epoch.

    In sink mode a row is due at the end of the sink in which its step falls.

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
        self.seen = state.step
        self.mark = self.row = None
        self.bar = None

    def open(self):
        """Writes the head of metrics.csv, or keeps the rows that a resumed run goes on from."""
        text = io.StringIO()
        rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        rows.writeheader()
        rows.writerows(rows_until(self.path, self.state))
        write_atomically(self.path, [text.getvalue().encode()])

    def on_train_step_end(self, run_context):
        loss, norm = run_context.original_args().net_outputs
        self.loss, self.norm = float(loss.asnumpy()), float(norm.asnumpy())
        self.state.loss_sum += self.loss
        self.state.loss_count += 1
        self.show()
        before, self.seen = self.seen, self.state.step
        due = crossed_multiple(self.training.log_every, before, self.seen)
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
        """Closes the progress display, before any last word."""
        if self.bar is not None:
            self.bar.close()

    def show(self):
        """Moves the progress display; its total is what the run will have done when it ends."""
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
        """Appends one row; what it has no value for stays empty."""
        state, (before, seconds) = self.state, self.mark
        done, passed = state.sequences(self.training), state.seconds - seconds
        rate = (done - before) / passed if passed else ""
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
                csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n").writerow(row)
        except OSError as error:
            raise DiskError(
                f"{self.path}: cannot be written: {error.strerror}; the checkpoints are intact"
            ) from None
        state.loss_sum, state.loss_count = 0.0, 0
        self.mark = done, state.seconds
        self.row = row


def rows_until(path, state):
    """The whole rows of an older metrics.csv up to a state; none where there is no file.

    Steps count anew where the number of ranks changed, which is between epochs only.
    """
    if not state.step or not path.is_file():
        return []
    end = state.step if state.step % state.steps_per_epoch else math.inf
    with open(path, newline="", errors="replace") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if set(row) == set(COLUMNS) and None not in row.values()]
    whole = [row for row in whole if row["step"].isdecimal() and row["epoch"].isdecimal()]
    return [
        row
        for row in whole
        if int(row["epoch"]) < state.epoch
        or (int(row["epoch"]) == state.epoch and int(row["step"]) <= end)
    ]


class Pictures(Recorder):
    """Draws the first validation sequences at every evaluation, into files of the run's folder.

    Args:
        state: the `TrainingState`.
        validation: the `Validation`, before it in the list of callbacks.
        forecaster: a function from inputs to forecasts, NumPy arrays.
        source: the validation sequences.
        batches: of `first_batches`.
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
        """Makes the folder; takes pictures back that came after the state that a run resumes."""
        make_folder(self.manifest.folder / run_folder.PICTURES)
        self.manifest.remove(pictures_after(self.state.epoch, self.manifest))

    def on_train_epoch_begin(self, run_context):
        self.drawn = {}

    def on_train_epoch_end(self, run_context):
        if not self.validation.result:
            return
        # Imported here because it takes half a second that runs without pictures need not wait.
        from src.plots.frames import color_scale, png_of, strip_figure

        colors, normalizer = color_scale(self.source), self.source.normalizer
        for read, inputs, truth in self.batches:
            forecasts = normalizer.denormalize(self.forecaster(read)[: len(inputs)], inputs)
            for k in range(len(inputs)):
                name = f"sequence_{len(self.drawn) + 1}"
                png = png_of(strip_figure(inputs[k], forecasts[k], truth[k], colors))
                self.drawn[name] = png
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
    """What a run records, a list: its metrics, and pictures and TensorBoard's events if wanted.

    Args:
        state: the `TrainingState`.
        config: the run's `Config`.
        network: the network that draws the pictures.
        source: the validation sequences.
        validation: the `Validation`, before these in the list of callbacks.
        folder: the run's folder.
    """
    training, pictures = config.training, None
    log = LossLog(state, config, validation, folder)
    recorders = [log]
    if training.pictures:
        batches = first_batches(
            source, training.pictures, training.batch_size, config.data.input_frames
        )
        pictures = Pictures(state, validation, forecaster_of(network), source, batches, folder)
        recorders.append(pictures)
    if training.tensorboard:
        recorders.append(TensorBoard(state, log, pictures, folder))
    return recorders


def make_folder(folder):
    """Makes a folder in the run's; raises `InputError` where a file is in its way."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made (train_path): {error.strerror}") from None


def first_batches(source, count, batch_size, input_frames):
    """The first `count` sequences of a source, or as many as it has.

    Args:
        source: the sequences, of `src.data`.
        count: how many.
        batch_size: that of the evaluation, whose graph then serves here too.
        input_frames: frames of the inputs.

    Returns:
        A list of what the network reads, (B, T, C, H, W), the last filled up, and of the inputs and
        the truth in the data's units, as many as there are.
    """
    batch_size, count = min(batch_size, len(source)), min(count, len(source))
    batches = []
    for start in range(0, count, batch_size):
        places = np.arange(start, start + batch_size)
        frames = source[np.minimum(places, len(source) - 1)]
        inputs, left = frames[:, :input_frames], min(batch_size, count - start)
        read = source.normalizer.normalize(inputs)
        batches.append((read, inputs[:left], frames[:left, input_frames:]))
    return batches


class TensorBoard(Recorder):
    """Writes the rows of metrics.csv and the pictures as TensorBoard's events.

    The step is the training's. A resumed run begins another file, whose first event takes the
    steps back that came after its checkpoint.

    Args:
        state: the `TrainingState`.
        log: the `LossLog`, before it in the list of callbacks.
        pictures: the `Pictures`, before it too, or None.
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
        """Begins an event file."""
        check_tensorboard()
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        make_folder(self.folder)
        path = self.new_file()
        try:
            # Of its writers the one without a queue: what is written is on the disk before the
            # checkpoint that follows, and a full disk is noticed here.
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
        """Writes the newest row of metrics.csv unless it is written already."""
        if self.log.row is self.row:
            return
        from tensorboardX.proto.summary_pb2 import Summary

        self.row = self.log.row
        columns = [name for name in COLUMNS if name != "step"]
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
        """The error of an event file that cannot be written."""
        return DiskError(
            f"{self.folder}: cannot be written: {error.strerror}; the checkpoints are intact"
        )


def check_tensorboard():
    """Raises `InputError` unless the package that writes TensorBoard's files is there."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "tensorboard needs the package tensorboardX: pip install tensorboardX, or leave "
            "--tensorboard out"
        ) from None
