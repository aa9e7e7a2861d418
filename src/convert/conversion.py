"""From a file of weights to a checkpoint, and back."""

import math

from src import checkpoint
from src.config.presets import PRESETS
from src.convert import layout, pytorch
from src.errors import InputError
from src.runtime.files import check_writable, write_atomically

# What may differ between a checkpoint and the network that PyTorch's side builds.
MAY_DIFFER = ("output_kernel_size", "output_activation")
MOMENTS = ("moment1.", "moment2.")


def check_output(source, target):
    """Raises `InputError` unless `target` can be written without harm to `source`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be written (OUT): {error.strerror}") from None
    check_writable(target, "OUT")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: is IN; name another file as OUT")


def to_checkpoint(other, theirs, source, target):
    """Writes another network's parameters as a checkpoint; returns a line about it.

    Args:
        other: the other's `layout.Layout`.
        theirs: its parameters, arrays by name.
        source: the file that they are from.
        target: the checkpoint to write.

    Raises:
        InputError: they are not of that network; nothing is written.
        DiskError: the checkpoint cannot be written.
    """
    config, ours = layout.to_ours(other, theirs, source)
    checkpoint.save_weights(target, checkpoint.Checkpoint(target, config, ours, {}, {}))
    dropped = theirs[f"{other.cells[layout.TOP]}.{other.gate_conv}.weight"].size // 2
    return (
        f"{target}: preset {config.preset}, output_kernel_size {config.model.output_kernel_size}, "
        f"output_activation {config.model.output_activation}, {count(ours):,} parameters\n"
        f"of the {count(theirs):,} there, {dropped:,} are left out: they multiply an input of zeros"
    )


def to_pytorch(source, target):
    """Writes a checkpoint's weights as a file of PyTorch's; returns lines about it.

    Raises:
        InputError: `source` is no checkpoint of the `multiscale` network, or the name of `target`
            is of no file of PyTorch's.
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
    theirs = layout.from_ours(layout.PYTORCH, loaded.weights)
    write_atomically(target, [pytorch.serialise(target, theirs)])
    lines = [f"{target}: {count(theirs):,} parameters, {len(theirs)} tensors"]
    if model.output_kernel_size == 3:
        lines.append(
            "its last convolution is 3x3: net_params.py there has to say "
            "'conv4_leaky_1': [16, 1, 3, 1, 1]"
        )
    if model.output_activation != "leaky_relu":
        lines.append(
            f"the checkpoint ends with {model.output_activation}, the network there with LeakyReLU "
            "0.2: it forecasts the same only if its last layer is changed to that"
        )
    return "\n".join(lines)


def count(arrays):
    """The number of parameters in a dict of arrays."""
    return sum(math.prod(array.shape) for array in arrays.values())


def read_2022(path):
    """The network's parameters in a checkpoint of the 2022 version, arrays by name, and the names
    of what is left out: Adam's moments, and the single numbers of optimizer and loss scale.

    Raises:
        InputError: the file cannot be read or is no checkpoint of MindSpore.
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
