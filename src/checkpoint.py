"""Checkpoints: weights, optimizer, training state and configuration in one file.

The file has MindSpore's own checkpoint format, so `mindspore.load_checkpoint` reads it too: a
protobuf message, then "crc_num" and the message's CRC-32 in 10 bytes. This module has its own
writer because MindSpore's deletes an existing file before it writes the new one, and its own reader
because MindSpore's accepts damaged tensors.

Entries: the network's parameters under their own names; the optimizer's with the prefix
"optimizer."; and three texts: "config", "state" and "version", the version of this project.
"""

import json
import math
import mmap
import struct
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import mindspore as ms
import numpy as np
from google.protobuf.message import DecodeError
from mindspore.train.checkpoint_pb2 import Checkpoint as Message

from src import ROOT, __version__
from src.config.schema import Config
from src.errors import InputError, NonFiniteError
from src.model import EncoderForecaster
from src.runtime.files import write_atomically

# The checkpoint that comes with the project.
BUNDLED = ROOT / "weights" / "small.ckpt"
# The key under which a MINDIR stores the configuration of its checkpoint.
CONFIG_KEY = "convlstm_config"
OPTIMIZER_PREFIX = "optimizer."
CRC_MARK = b"crc_num"
CRC_BYTES = 10
# This project writes Float32 and Int32 only.
DTYPES = {
    "Float32": np.dtype("<f4"),
    "Int32": np.dtype("<i4"),
    "Int64": np.dtype("<i8"),
    "Float16": np.dtype("<f2"),
    "Bool": np.dtype("?"),
}
TEXT = np.dtype("<U1")
# The start of a configuration's text, as the bytes of a file.
CONFIG_MARK = '"preset": "'.encode("utf-32-le")
# Exceptions that protobuf raises on damaged messages, found by fuzzing.
UNREADABLE = (DecodeError, ValueError, IndexError, TypeError, struct.error)


@dataclass
class Checkpoint:
    """The contents of a checkpoint file; `weights` and `optimizer` map names to arrays."""

    path: Path
    config: Config
    weights: dict
    optimizer: dict
    state: dict

    def network(self, forecast_frames=None, execution=None):
        """The `EncoderForecaster` with these weights.

        Args:
            forecast_frames: number of frames to forecast; default: as in training.
            execution: the `Execution` of the network, or None.

        Raises:
            InputError: the weights do not fit the network that `config` describes.
        """
        frames = forecast_frames or self.config.data.forecast_frames
        network = EncoderForecaster(self.config.model, frames, execution)
        _set(self.path, {p.name: p for p in network.get_parameters()}, self.weights)
        return network


def checkpoint_path(path):
    """The path of --pretrained_model, or of the checkpoint that comes with the project.

    Args:
        path: the flag's value; None selects the project's checkpoint and prints its path.

    Raises:
        InputError: `path` is None and the project's checkpoint does not exist.
    """
    if path is not None:
        return path
    if not BUNDLED.is_file():
        raise InputError(
            "--pretrained_model is missing: give a checkpoint, because the default "
            f"{BUNDLED} does not exist"
        )
    print(f"no --pretrained_model given: using {BUNDLED}", flush=True)
    return BUNDLED


def save_weights(path, loaded):
    """Writes only the weights and the configuration of a `Checkpoint`.

    The file lacks the optimizer's moments, half of a checkpoint or more. Training cannot resume
    from it; everything else works.
    """
    write_atomically(path, _serialise(loaded.weights, loaded.config, {}))


def save(path, network, optimizer, config, state):
    """Writes a checkpoint; at any moment `path` is the complete old file or the complete new one.

    Args:
        path: the file, *.ckpt.
        network: the network whose parameters are the weights.
        optimizer: the optimizer; its own parameters (moments, learning rate) are saved too.
        config: the run's `Config`.
        state: the training state, a dict of numbers.

    Raises:
        DiskError: the file cannot be written.
        NonFiniteError: a weight is NaN or infinite; nothing is written.
    """
    arrays = {p.name: p.asnumpy() for p in network.get_parameters()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise NonFiniteError(f"{name} is no longer finite")
    own = own_parameters(network, optimizer)
    arrays |= {OPTIMIZER_PREFIX + name: p.asnumpy() for name, p in own.items()}
    write_atomically(path, _serialise(arrays, config, state))


def own_parameters(network, optimizer):
    """The optimizer's own parameters by name, without the network's, which it lists too."""
    weights = {id(p) for p in network.get_parameters()}
    return {p.name: p for p in optimizer.get_parameters() if id(p) not in weights}


def _serialise(arrays, config, state):
    """Yields the bytes of a file entry by entry; protobuf reads messages in a row as one."""
    texts = {"config": config.to_json(), "state": json.dumps(state), "version": __version__}
    names = {dtype: name for name, dtype in DTYPES.items()}
    entries = [(tag, names[a.dtype], a.shape, a.tobytes()) for tag, a in arrays.items()]
    entries += [(tag, "str", (0,), np.array(text).tobytes()) for tag, text in texts.items()]
    crc = 0
    for tag, kind, shape, content in entries:
        message = Message()
        entry = message.value.add(tag=tag)
        entry.tensor.dims.extend(shape)
        entry.tensor.tensor_type = kind
        entry.tensor.tensor_content = content
        piece = message.SerializeToString()
        crc = zlib.crc32(piece, crc)
        yield piece
    yield CRC_MARK + crc.to_bytes(CRC_BYTES, "big")


def load(path):
    """Reads a checkpoint.

    Raises:
        InputError: the file is missing, damaged, or not a checkpoint of this project.
    """
    path = Path(path)
    entries = _read(path)
    config, state = entries.pop("config", None), entries.pop("state", None)
    entries.pop("version", None)
    if not isinstance(config, str) or not isinstance(state, str):
        raise InputError(f"{path}: not a checkpoint of train.py: it holds no configuration")
    if not all(isinstance(value, np.ndarray) for value in entries.values()):
        raise InputError(f"{path}: damaged: it holds an unknown text entry")
    optimizer = {
        name.removeprefix(OPTIMIZER_PREFIX): entries.pop(name)
        for name in list(entries)
        if name.startswith(OPTIMIZER_PREFIX)
    }
    try:
        state = json.loads(state)
        if not isinstance(state, dict):
            raise InputError("its state is not a JSON object")
        return Checkpoint(path, Config.from_json(config), entries, optimizer, state)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from None


def has_our_config(path):
    """Whether a file, be it damaged, holds the configuration that this project's checkpoints do."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return text.find(CONFIG_MARK) >= 0
    except (OSError, ValueError):
        return False


def read_arrays(path):
    """Reads the arrays of any MindSpore checkpoint, with or without a checksum, as a dict by name.

    Raises:
        InputError: the file is missing or damaged.
    """
    entries = _read(Path(path), needs_checksum=False)
    return {name: value for name, value in entries.items() if isinstance(value, np.ndarray)}


def _read(path, needs_checksum=True):
    """Checks a file's checksum and returns its entries by name, arrays and texts."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        if reason is None:
            raise InputError(f"{path}: not a checkpoint of train.py: it is empty") from None
        raise InputError(f"{path}: cannot be read: {reason}") from None
    tail = len(CRC_MARK) + CRC_BYTES
    has_checksum = content[-tail:-CRC_BYTES] == CRC_MARK
    if needs_checksum and not has_checksum:
        raise InputError(
            f"{path}: not a checkpoint of train.py, or cut short: its checksum is missing"
        )
    with memoryview(content)[: -tail if has_checksum else None] as body:
        crc = int.from_bytes(content[-CRC_BYTES:], "big")
        if has_checksum and zlib.crc32(body) != crc:
            raise InputError(f"{path}: damaged: its checksum is wrong")
        message = Message()
        try:
            message.ParseFromString(body)
        except UNREADABLE:
            raise InputError(f"{path}: damaged: it is not a protobuf message") from None
    entries = {}
    for entry in message.value:
        if entry.tag in entries:
            raise InputError(f"{path}: damaged: it holds {entry.tag} twice")
        entries[entry.tag] = _decode(path, entry)
    return entries


def _decode(path, entry):
    """The array or text of one entry."""
    tensor = entry.tensor
    content, shape = tensor.tensor_content, tuple(tensor.dims)
    if tensor.tensor_type == "str" and len(content) % TEXT.itemsize == 0:
        codes = np.frombuffer(content, "<u4")
        if (codes < 0x110000).all():
            return "".join(map(chr, codes))
    dtype = DTYPES.get(tensor.tensor_type)
    if dtype and min(shape, default=0) >= 0 and math.prod(shape) * dtype.itemsize == len(content):
        return np.frombuffer(content, dtype).reshape(shape)
    raise InputError(
        f"{path}: damaged: the bytes of {entry.tag!r} do not fit its type {tensor.tensor_type!r} "
        f"and shape {shape}"
    )


def load_optimizer(network, optimizer, checkpoint):
    """Sets the optimizer's own parameters; raises `InputError` if the checkpoint's do not fit."""
    _set(checkpoint.path, own_parameters(network, optimizer), checkpoint.optimizer)


def _set(path, parameters, arrays):
    """Sets parameters from arrays of the same names; raises `InputError` for the first one that is
    missing, surplus or of another shape.
    """
    for name in [*parameters, *arrays]:
        if name not in arrays:
            raise InputError(f"{path}: lacks {name}")
        if name not in parameters:
            raise InputError(f"{path}: has {name}, which the network lacks")
        have, need = arrays[name].shape, tuple(parameters[name].shape)
        if have != need:
            raise InputError(f"{path}: {name} has the shape {have}, and {need} is needed")
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(arrays[name], parameter.dtype))


def check_same_network(checkpoint, config):
    """Raises `InputError`, naming the differences, if `config` describes another network."""
    differences = list(different_fields(checkpoint.config.model, config.model))
    if differences:
        raise InputError(
            f"{checkpoint.path}: holds another network (preset {checkpoint.config.preset}, not "
            f"{config.preset}): " + "; ".join(differences[:3])
        )


def different_fields(saved, current, ignore=()):
    """Yields a text for each field in which two dataclasses differ.

    Args:
        saved: a part of the checkpoint's configuration.
        current: the part to compare it with, of the same class.
        ignore: names of fields that may differ.
    """
    for f in fields(current):
        value, wanted = getattr(saved, f.name), getattr(current, f.name)
        if value != wanted and f.name not in ignore:
            yield f"{f.name} is {value!r} in the checkpoint, not {wanted!r}"
