"""For people who watch a training: pictures of the same sequences again and again, TensorBoard."""

import re
import time

import numpy as np
from mindspore.train import Callback

from src import run_folder
from src.errors import DiskError, InputError
from src.runtime.files import write_atomically
from src.tools import callback

NAME = re.compile(r"sequence_\d+_epoch_(\d+)\.png")


class Pictures(Callback):
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
        self.folder = folder / run_folder.PICTURES
        self.drawn = {}

    def open(self):
        """Makes the folder; takes pictures back that came after the state that a run resumes."""
        make_folder(self.folder)
        for path in self.folder.iterdir():
            name = NAME.fullmatch(path.name)
            if name and int(name[1]) > self.state.epoch:
                path.unlink()

    def on_train_epoch_begin(self, run_context):
        self.drawn = {}

    def on_train_epoch_end(self, run_context):
        if not self.validation.result:
            return
        # Imported here because it takes half a second that runs without pictures need not wait.
        from src.plots.frames import look_of, png_of, strip_figure

        look, encoding = look_of(self.source), self.source.encoding
        for read, inputs, truth in self.batches:
            forecasts = encoding.from_network(self.forecaster(read)[: len(inputs)], inputs)
            for k in range(len(inputs)):
                name = f"sequence_{len(self.drawn) + 1}"
                png = png_of(strip_figure(inputs[k], forecasts[k], truth[k], look))
                write_atomically(self.folder / f"{name}_epoch_{self.state.epoch:04d}.png", [png])
                self.drawn[name] = png


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
        frames = source.frames(np.minimum(places, len(source) - 1))
        inputs, left = frames[:, :input_frames], min(batch_size, count - start)
        read = source.encoding.to_network(inputs)
        batches.append((read, inputs[:left], frames[:left, input_frames:]))
    return batches


class TensorBoard(Callback):
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
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        make_folder(self.folder)
        try:
            # Of its writers the one without a queue: what is written is on the disk before the
            # checkpoint that follows, and a full disk is noticed here.
            self.writer = EventsWriter(str(self.folder / "events"))
        except OSError as error:
            raise self.failed(error) from None
        start = SessionLog(status=SessionLog.START)
        self.write(step=self.state.step + 1, session_log=start)

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
        columns = [name for name in callback.COLUMNS if name != "step"]
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
            self.writer.write_event(Event(wall_time=time.time(), **event))
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
