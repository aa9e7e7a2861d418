"""Converts files of weights to checkpoints, and checkpoints to PyTorch files."""

import math

from src import checkpoint
from src.config.presets import PRESETS
from src.convert import layout, pytorch
from src.errors import InputError
from src.runtime.files import check_writable, write_atomically

# Settings in which a checkpoint may differ from the PyTorch network.
MAY_DIFFER = ("output_kernel_size", "output_activation")
MOMENTS = ("moment1.", "moment2.")


def check_output(source, target):
    """Raises `InputError` unless `target` can be written and is not `source`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be written (OUT): {error.strerror}") from None
    check_writable(target, "OUT")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: is IN; name another file as OUT")


def to_checkpoint(other, parameters, source, target):
    """Writes the parameters of another version of the network as a checkpoint.

    Args:
        other: the `layout.Layout` of the other version.
        parameters: its parameters, arrays by name.
        source: the file that they are from.
        target: the checkpoint to write.

    Returns:
        Two lines of text about the checkpoint.

    Raises:
        InputError: the parameters are not those of that version; nothing is written.
        DiskError: the checkpoint cannot be written.
    """
    config, weights = layout.to_ours(other, parameters, source)
    checkpoint.save_weights(target, checkpoint.Checkpoint(target, config, weights, {}, {}))
    dropped = parameters[f"{other.cells[layout.TOP]}.{other.gate_conv}.weight"].size // 2
    return (
        f"{target}: preset {config.preset}, output_kernel_size {config.model.output_kernel_size}, "
        f"output_activation {config.model.output_activation}, {count(weights):,} parameters\n"
        f"{dropped:,} of the {count(parameters):,} parameters of {source} are left out: they "
        "multiply an input of zeros"
    )


def to_pytorch(source, target):
    """Writes the weights of a checkpoint as a PyTorch file; returns lines of text about it.

    Raises:
        InputError: `source` is not a checkpoint of the `multiscale` network, or `target` does not
            have the suffix of a PyTorch file.
        DiskError: the file cannot be written.
    """
    pytorch.check_suffix(target)
    loaded = checkpoint.load(source)
    model = loaded.config.model
    differences = checkpoint.different_fields(model, PRESETS["multiscale"].model, MAY_DIFFER)
    if difference := next(differences, None):
        raise InputError(
            f"{source}: is of preset {loaded.config.preset}, and the PyTorch network is "
            f"multiscale: {difference}"
        )
    loaded.network()  # raises unless the weights fit
    parameters = layout.from_ours(layout.PYTORCH, loaded.weights)
    write_atomically(target, [pytorch.serialise(target, parameters)])
    lines = [f"{target}: {count(parameters):,} parameters, {len(parameters)} tensors"]
    if model.output_kernel_size == 3:
        lines.append(
            "its last convolution is 3x3: set 'conv4_leaky_1': [16, 1, 3, 1, 1] in net_params.py "
            "of the PyTorch network"
        )
    end = model.output_activation
    if end != "leaky_relu":
        lines.append(
            f"the checkpoint ends with {end}, the PyTorch network with LeakyReLU 0.2: they "
            f"forecast the same only if the last layer of the PyTorch network is changed to {end}"
        )
    return "\n".join(lines)


def count(arrays):
    """The number of parameters in a dict of arrays."""
    return sum(math.prod(array.shape) for array in arrays.values())


def read_2022(path):
    """Reads a checkpoint of the 2022 version.

    Returns:
        The network's parameters, arrays by name, and the names of the entries that are left out:
        Adam's moments, and the scalars of optimizer and loss scale.

    Raises:
        InputError: the file cannot be read or is not a MindSpore checkpoint.
    """
    arrays = checkpoint.read_arrays(path)
    left_out = [
        name
        for name, array in arrays.items()
        if name.startswith(MOMENTS) or (math.prod(array.shape) == 1 and not array.ndim > 1)
    ]
    weights = {name: array for name, array in arrays.items() if name not in left_out}
    if not weights:
        raise InputError(f"{path}: holds no weights")
    return weights, left_out
