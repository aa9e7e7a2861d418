"""The network of a forecast, from a checkpoint or an exported MINDIR, and the inputs it needs."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
from mindspore import nn
from mindspore.train.mind_ir_pb2 import ModelProto

from src import checkpoint
from src.config.fields import names
from src.config.presets import make_config
from src.config.schema import Config, DataConfig
from src.data.normalizer import PIXELS, Normalizer, make_normalizer
from src.data.sequences import check_frames
from src.errors import InputError


@dataclass
class Predictor:
    """A network, and the shape of its inputs.

    Args:
        network: a Cell from (B, T, C, H, W) to (B, F, C, H, W), float32 in [0, 1].
        name: its name in messages.
        inputs: (B, T, C, H, W), with None for sizes that are free.
        forecast_frames: F.
        config: the `Config` that it was trained with; None if unknown.
    """

    network: nn.Cell
    name: str
    inputs: tuple[int | None, ...]
    forecast_frames: int
    config: Config | None

    @property
    def value_range(self):
        """The two values that became 0 and 1 in its training; 0 and 255 if unknown."""
        return self.config and self.config.data.value_range or PIXELS

    @property
    def test_config(self):
        """The `Config` that decides the test set, with this predictor's numbers of frames."""
        _, frames, channels, *size = self.inputs
        names = {"input_frames": frames, "forecast_frames": self.forecast_frames}
        if self.config is None:
            return make_config("small", {**names, "image_size": tuple(size), "channels": channels})
        return dataclasses.replace(self.config, data=dataclasses.replace(self.config.data, **names))

    def set_reading(self, flags):
        """Sets how own data are read, by the flags that were given; raises `InputError` for those
        that a network of unknown settings cannot follow.
        """
        if self.config:
            self.config = self.config.reading(flags)
            return
        for name in (*names(DataConfig, reads_file=True), "any_step"):
            if name != "axes" and flags.get(name):
                raise InputError(
                    f"{self.name}: does not say how its network was trained, so it forecasts "
                    f"arrays and pictures as they are: leave --{name} out"
                )

    def normalizer(self, frame_size, value_range):
        """The `Normalizer` for frames of (height, width) and a value range."""
        if self.config is None:
            return Normalizer(value_range)
        return make_normalizer(self.config, frame_size, value_range)

    def check(self, shape, path, frames):
        """Raises `InputError` unless sequences fit the network.

        Args:
            shape: shape of the sequences, (N, T, C, H, W).
            path: their file, for messages.
            frames: the number of frames that each has to have at least.
        """
        channels, *size = self.inputs[2:]
        if shape[1] < frames:
            raise InputError(f"{path}: has {shape[1]} frames a sequence, and {frames} are needed")
        if None in size:
            check_frames(shape[2:], path, self.config)
            return
        padding = self.normalizer(shape[3:], self.value_range).padding
        padded = [side + more for side, more in zip(shape[3:], padding, strict=True)]
        if (shape[2], *padded) != (channels, *size):
            raise InputError(
                f"{path}: has frames (C, H, W) of {shape[2:]}, and {self.name} was exported "
                f"for {(channels, *size)}; a checkpoint (--pretrained_model) takes other sizes"
            )


def from_checkpoint(path, forecast_frames=None):
    """The `Predictor` of a checkpoint; prints a line if it forecasts more frames than in training.

    The forecaster reads nothing but its own states, so the same weights forecast any number of
    frames.
    """
    loaded = checkpoint.load(path)
    config, trained = loaded.config, loaded.config.data.forecast_frames
    frames = forecast_frames or trained
    if frames > trained:
        print(
            f"forecast_frames {frames}: this network was trained to forecast {trained}; it has not "
            "been trained for the frames after them"
        )
    inputs = (None, config.data.input_frames, config.model.channels, None, None)
    return Predictor(loaded.network(frames), str(path), inputs, frames, config)


def from_mindir(path, forecast_frames=None):
    """The `Predictor` of a MINDIR, with the shapes of its graph."""
    model = _read_mindir(path)
    text = model.user_info.get(checkpoint.CONFIG_KEY)
    try:
        config = Config.from_json(text) if text else None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    try:
        network = nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: MindSpore cannot load it: {reason}") from None
    try:
        shapes = [tuple(x[0].tensor[0].dims) for x in (model.graph.input, model.graph.output)]
    except IndexError:
        shapes = []
    if [len(shape) for shape in shapes] != [5, 5] or min(shapes[0][1:]) < 1:
        raise InputError(
            f"{path}: not a network from (B, T, C, H, W) to (B, T, C, H, W) in which only B may be "
            "free"
        )
    inputs = tuple(side if side > 0 else None for side in shapes[0])
    frames = shapes[1][1]
    if forecast_frames not in (None, frames):
        raise InputError(
            f"forecast_frames is {forecast_frames}, and {path} was exported for {frames}; "
            "a checkpoint (--pretrained_model) forecasts any number"
        )
    return Predictor(network, str(path), inputs, frames, config)


def _read_mindir(path):
    """Reads the protobuf message of a MINDIR."""
    model = ModelProto()
    try:
        model.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read (mindir): {error.strerror}") from None
    except checkpoint.UNREADABLE:
        raise InputError(f"{path}: not a MINDIR, or damaged") from None
    return model
