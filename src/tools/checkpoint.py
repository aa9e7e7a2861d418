"""Checkpoints: weights, optimizer, training state and configuration in one MindSpore file.

Entries: the network's parameters under their own names; the optimizer's with the prefix
"optimizer."; the texts "config" and "state". The file ends with the framework's CRC-32, which
loading demands.
"""

import json
import os
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import mindspore as ms
import numpy as np

from src.config import Config
from src.errors import InputError

OPTIMIZER_PREFIX = "optimizer."
CRC_MARK = b"crc_num"
CRC_BYTES = 10


@dataclass
class Checkpoint:
    """What a checkpoint file holds: `weights` and `optimizer` are dicts of Parameters by name."""

    path: Path
    config: Config
    weights: dict
    optimizer: dict
    state: dict


def save(path, network, optimizer, config, state):
    """Writes a checkpoint beside its place, syncs it and moves it there in one step.

    Args:
        path: the file, *.ckpt.
        network: its parameters are the checkpoint's weights.
        optimizer: its own parameters (moments, learning rate) are kept beside them.
        config: the run's `Config`.
        state: a dict of numbers: where the training stands.
    """
    path = Path(path)
    own = {id(p) for p in network.get_parameters()}
    entries = [{"name": p.name, "data": p} for p in network.get_parameters()]
    entries += [
        {"name": OPTIMIZER_PREFIX + p.name, "data": p}
        for p in optimizer.get_parameters()
        if id(p) not in own
    ]
    texts = {"config": config.to_json(), "state": json.dumps(state)}
    unfinished = path.with_name(f".{path.stem}.unfinished.ckpt")
    ms.save_checkpoint(entries, str(unfinished), append_dict=texts, crc_check=True)
    unfinished.chmod(0o644)
    replace(unfinished, path)


def replace(unfinished, path):
    """Moves a finished file to its place; a crash leaves either the old one or the new one."""
    with open(unfinished, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path):
    """Reads a checkpoint.

    Raises:
        InputError: the file is missing, damaged, or no checkpoint of this project.
    """
    path = Path(path)
    _verify(path)
    try:
        entries = ms.load_checkpoint(str(path))
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a readable checkpoint: {str(error).splitlines()[0]}"
        ) from None
    config, state = entries.pop("config", None), entries.pop("state", "{}")
    if not isinstance(config, str) or not isinstance(state, str):
        raise InputError(f"{path}: holds no configuration, so it is no checkpoint of train.py")
    optimizer = {
        name.removeprefix(OPTIMIZER_PREFIX): entries.pop(name)
        for name in list(entries)
        if name.startswith(OPTIMIZER_PREFIX)
    }
    try:
        return Checkpoint(path, Config.from_json(config), entries, optimizer, json.loads(state))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _verify(path):
    """Refuses a file without the right CRC-32 at its end."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    tail = len(CRC_MARK) + CRC_BYTES
    if content[-tail:-CRC_BYTES] != CRC_MARK:
        raise InputError(
            f"{path}: not a checkpoint of train.py, or cut short: its checksum is missing"
        )
    if zlib.crc32(memoryview(content)[:-tail]) != int.from_bytes(content[-CRC_BYTES:], "big"):
        raise InputError(f"{path}: damaged: its checksum is wrong")


def load_weights(network, checkpoint):
    """Sets the network's parameters; every name and shape has to fit.

    Raises:
        InputError: naming the first missing, surplus or misshapen parameter.
    """
    wanted = {p.name: p for p in network.get_parameters()}
    for name in [*wanted, *checkpoint.weights]:
        if name not in checkpoint.weights:
            raise InputError(f"{checkpoint.path}: lacks the weights {name}")
        if name not in wanted:
            raise InputError(f"{checkpoint.path}: has weights that the network lacks: {name}")
        have, need = checkpoint.weights[name].shape, wanted[name].shape
        if have != need:
            raise InputError(
                f"{checkpoint.path}: {name} has the shape {have}, and {need} is needed"
            )
    ms.load_param_into_net(network, checkpoint.weights, strict_load=True)


def check_same_network(checkpoint, config):
    """Raises `InputError` with the differences if `config` is of another network."""
    theirs, ours = checkpoint.config, config
    differences = [
        f"{f.name} {getattr(theirs.model, f.name)!r} there, {getattr(ours.model, f.name)!r} here"
        for f in fields(ours.model)
        if getattr(theirs.model, f.name) != getattr(ours.model, f.name)
    ]
    if differences:
        raise InputError(
            f"{checkpoint.path}: is of another network (preset {theirs.preset} there, "
            f"{ours.preset} here): " + "; ".join(differences[:3])
        )


def all_finite(network):
    """Whether no weight is NaN or infinite."""
    return all(np.isfinite(p.asnumpy()).all() for p in network.get_parameters())
