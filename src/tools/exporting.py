"""Checkpoint -> MINDIR, checked against the checkpoint; AIR on an Ascend."""

import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src.errors import ExportError, InputError
from src.tools.files import check_writable, write_atomically

FORMATS = ("MINDIR", "AIR", "ONNX")
# Under this name a MINDIR carries the configuration of its checkpoint.
CONFIG_KEY = "convlstm_config"
TOLERANCE = 1e-5


def check_format(file_format, target):
    """Raises `InputError` for a format that cannot be written here."""
    if file_format == "AIR" and target != "Ascend":
        raise InputError(
            "file_format is AIR: MindSpore writes it on an Ascend only; use MINDIR here"
        )
    if file_format == "ONNX":
        raise InputError("file_format is ONNX: not supported yet; use MINDIR")


def export(network, inputs, path, file_format, config=None):
    """Exports a network for inputs of one shape; the file appears only once it is complete and
    checked.

    Args:
        network: an `EncoderForecaster` with its weights.
        inputs: a real batch, (B, T, C, H, W), float32, that gives the shape and checks the result.
        path: the file to write; an older one is replaced.
        file_format: "MINDIR" or "AIR".
        config: the `Config` that a MINDIR carries along, or None: predict.py --mindir finds scale
            and test set in it.

    Returns:
        For MINDIR the largest absolute difference between its output and the network's, else None.

    Raises:
        ExportError: that difference is above 1e-5.
        InputError: a file of that name cannot be written.
        DiskError: the disk is full or failing.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written (file_name): {error.strerror}") from None
    check_writable(path, "file_name")
    with tempfile.TemporaryDirectory() as scratch:
        name = Path(scratch) / f"model.{file_format.lower()}"
        options = {}
        if file_format == "MINDIR" and config:
            text = {CONFIG_KEY: config.to_json()}
            options["custom_func"] = lambda model: model.user_info.update(text)
        ms.export(
            network, ms.Tensor(inputs), file_name=str(name), file_format=file_format, **options
        )
        difference = None
        if file_format == "MINDIR":
            difference = compare(network, name, inputs)
            if not difference <= TOLERANCE:
                raise ExportError(
                    f"the MINDIR's output differs from the checkpoint's by {difference:.3g}"
                )
        write_atomically(path, [name.read_bytes()])
    return difference


def compare(network, mindir, inputs):
    """The largest absolute difference between a network's output and its MINDIR's."""
    inputs = ms.Tensor(inputs)
    graph = nn.GraphCell(ms.load(str(mindir)))
    return float(np.abs(graph(inputs).asnumpy() - network(inputs).asnumpy()).max())
