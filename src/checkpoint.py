"""Checkpoints: weights, optimizer, training state and configuration in one file.

The file is MindSpore's own checkpoint format, a protobuf message followed by "crc_num" and the
message's CRC-32 in 10 bytes, so that `mindspore.load_checkpoint` reads it too. It is written here
because the framework's writer deletes an older file of the name first, and read here because its
reader takes damaged tensors for good ones.

Entries: the network's parameters under their own names; the optimizer's with the prefix
"optimizer."; the texts "config", "state" and "version", the project's own.
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

# The weights in the box.
BUNDLED = ROOT / "weights" / "small.ckpt"
# Under this name a MINDIR carries the configuration of its checkpoint.
CONFIG_KEY = "convlstm_config"
OPTIMIZER_PREFIX = "optimizer."
CRC_MARK = b"crc_num"
CRC_BYTES = 10
# The first two are what this project writes.
DTYPES = {
    "Float32": np.dtype("<f4"),
    "Int32": np.dtype("<i4"),
    "Int64": np.dtype("<i8"),
    "Float16": np.dtype("<f2"),
    "Bool": np.dtype("?"),
}
TEXT = np.dtype("<U1")
# How the text of a configuration begins, in the bytes of a file.
CONFIG_MARK = '"preset": "'.encode("utf-32-le")
# What protobuf's decoders raise over damaged messages; found by fuzzing.
UNREADABLE = (DecodeError, ValueError, IndexError, TypeError, struct.error)


@dataclass
class Checkpoint:
    """What a checkpoint file holds: `weights` and `optimizer` are dicts of arrays by name."""

    path: Path
    config: Config
    weights: dict
    optimizer: dict
    state: dict

    def network(self, forecast_frames=None, execution=None):
        """The `EncoderForecaster` with these weights.

        Args:
            forecast_frames: frames that it forecasts; default: as it was trained.
            execution: how it computes them.

        Raises:
            InputError: the weights are not those of its configuration's network.
        """
        frames = forecast_frames or self.config.data.forecast_frames
        network = EncoderForecaster(self.config.model, frames, execution)
        _set(self.path, {p.name: p for p in network.get_parameters()}, self.weights)
        return network


def checkpoint_path(path):
    """The checkpoint of --pretrained_model, or the one that comes with the project.

    Args:
        path: what was given; None for the project's own, which is then named in a line.

    Raises:
        InputError: nothing was given, and the project's own is not there.
    """
    if path is not None:
        return path
    if not BUNDLED.is_file():
        raise InputError(
            f"--pretrained_model is missing: name a checkpoint; {BUNDLED} is not there"
        )
    print(f"no --pretrained_model: {BUNDLED}", flush=True)
    return BUNDLED


def save_weights(path, loaded):
    """Writes the weights and the configuration of a `Checkpoint`, a third of its size.

    Nothing can be resumed from it; everything else works.
    """
    write_atomically(path, _serialise(loaded.weights, loaded.config, {}))


def save(path, network, optimizer, config, state):
    """Writes a checkpoint; the file is either the old one or the new one at any moment.

    Args:
        path: the file, *.ckpt.
        network: its parameters are the checkpoint's weights.
        optimizer: its own parameters (moments, learning rate) are kept beside them.
        config: the run's `Config`.
        state: a dict of numbers: where the training stands.

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
    """The optimizer's parameters by name, less the network's."""
    weights = {id(p) for p in network.get_parameters()}
    return {p.name: p for p in optimizer.get_parameters() if id(p) not in weights}


def _serialise(arrays, config, state):
    """Yields the bytes of a file; messages in a row are one message to protobuf."""
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
        InputError: the file is missing, damaged, or no checkpoint of this project.
    """
    path = Path(path)
    entries = _read(path)
    config, state = entries.pop("config", None), entries.pop("state", None)
    entries.pop("version", None)
    if not isinstance(config, str) or not isinstance(state, str):
        raise InputError(f"{path}: holds no configuration, so it is no checkpoint of train.py")
    if not all(isinstance(value, np.ndarray) for value in entries.values()):
        raise InputError(f"{path}: damaged: it holds texts that are none of its own")
    optimizer = {
        name.removeprefix(OPTIMIZER_PREFIX): entries.pop(name)
        for name in list(entries)
        if name.startswith(OPTIMIZER_PREFIX)
    }
    try:
        state = json.loads(state)
        if not isinstance(state, dict):
            raise InputError("its state is no object")
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
    """The arrays by name of a checkpoint that any program of MindSpore's wrote, with or without a
    checksum; raises `InputError` if it is missing or damaged.
    """
    entries = _read(Path(path), needs_checksum=False)
    return {name: value for name, value in entries.items() if isinstance(value, np.ndarray)}


def _read(path, needs_checksum=True):
    """The entries of a file, arrays and texts by name, after its checksum has been found right."""
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
            raise InputError(f"{path}: damaged: it is no protobuf message") from None
    entries = {}
    for entry in message.value:
        if entry.tag in entries:
            raise InputError(f"{path}: damaged: {entry.tag} stands in it twice")
        entries[entry.tag] = _decode(path, entry)
    return entries


def _decode(path, entry):
    """The array or the text of one entry."""
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
        f"{path}: damaged: {entry.tag!r} is no {tensor.tensor_type!r} of shape {shape}"
    )


def load_optimizer(network, optimizer, checkpoint):
    """Sets the optimizer's own parameters; raises `InputError` as `Checkpoint.network`
    does.
    """
    _set(checkpoint.path, own_parameters(network, optimizer), checkpoint.optimizer)


def _set(path, parameters, arrays):
    """Sets parameters from a file's arrays; raises `InputError` for the first that is missing,
    surplus or of another shape.
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
    """Raises `InputError` with the differences if `config` is of another network."""
    differences = list(different_fields(checkpoint.config.model, config.model))
    if differences:
        raise InputError(
            f"{checkpoint.path}: is of another network (preset {checkpoint.config.preset} there, "
            f"{config.preset} here): " + "; ".join(differences[:3])
        )


def different_fields(saved, current, ignore=()):
    """Says of each field that differs between two dataclasses what it is in each."""
    for f in fields(current):
        there, here = getattr(saved, f.name), getattr(current, f.name)
        if there != here and f.name not in ignore:
            yield f"{f.name} {there!r} there, {here!r} here"
