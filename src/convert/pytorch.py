"""Reads and writes PyTorch's files of weights: `.pth`, `.pth.tar` and `.safetensors`.

Only tensors and plain values are unpickled, so that a file from elsewhere cannot run code.
"""

import io
import pickle
import struct
import zipfile
from importlib import import_module

import numpy as np

from src.errors import InputError

STATE = "state_dict"
# Of files to write; pathlib's suffix of ".pth.tar" is ".tar".
SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")
# That of the PyTorch network's own training.
LEARNING_RATE = 1e-4
# What torch.load raises for a file that is damaged or not a PyTorch file.
UNREADABLE = (
    pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, LookupError,
    TypeError, AttributeError, OverflowError, AssertionError, OSError, struct.error,
)  # fmt: skip


def read(path):
    """Reads the tensors of a file, float32 arrays by name.

    A state dict may be wrapped in a checkpoint, under "state_dict". The "module." that
    `DataParallel` puts into names is removed.

    Raises:
        InputError: the file cannot be read or has other content, or the package to read it is
            missing.
    """
    load = _read_safetensors if path.suffix == ".safetensors" else _read_torch
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    arrays = {}
    for name, array in load(path).items():
        name = ".".join(part for part in name.split(".") if part != "module")
        if name in arrays:
            raise InputError(f"{path}: holds {name} twice, with and without 'module.'")
        arrays[name] = array.astype(np.float32)
    return arrays


def check_suffix(path):
    """Raises `InputError` unless the file's suffix is one that can be written."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path}: OUT has to end with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )


def serialise(path, arrays):
    """The bytes of a PyTorch file in the format of the suffix of `path`.

    `.safetensors`, `.pth` and `.pt` hold the bare state dict. `.pth.tar` holds what the PyTorch
    network's own training resumes from: the state dict, a fresh Adam, and the last epoch's number.
    """
    if path.suffix == ".safetensors":
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return _package("safetensors.numpy").save(whole)
    torch = _package("torch")
    content = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    if path.suffix == ".tar":
        parameters = [torch.nn.Parameter(tensor) for tensor in content.values()]
        adam = torch.optim.Adam(parameters, LEARNING_RATE).state_dict()
        content = {"epoch": 0, STATE: content, "optimizer": adam}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _package(name):
    """Imports an optional package; raises `InputError` if it is missing."""
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise InputError(f"{package} is missing: pip install {package}") from None


def _read_safetensors(path):
    safetensors = _package("safetensors")
    try:
        with safetensors.safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}") from None


def _read_torch(path):
    torch = _package("torch")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        if "Unsupported global" in str(error):
            raise InputError(
                f"{path}: holds Python objects, which may run code; save the network's state_dict()"
            ) from None
        raise InputError(f"{path}: not a readable PyTorch file") from None
    while isinstance(content, dict) and isinstance(content.get(STATE), dict):
        content = content[STATE]
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, where a state dict is needed")
    for name, tensor in content.items():
        if not (isinstance(name, str) and isinstance(tensor, torch.Tensor)):
            kind = type(tensor).__name__
            raise InputError(f"{path}: holds a {kind} at {name!r}, where a tensor is needed")
        if not tensor.is_floating_point():
            raise InputError(f"{path}: {name} is of {tensor.dtype}, where floats are needed")
    return {name: tensor.detach().float().numpy() for name, tensor in content.items()}
