"""How other statements of the `multiscale` network name and order its parameters, and the way there
and back.

Every one of them convolves [x, h] with one kernel where this project has one for x and one for h,
and feeds its forecaster's top layer an input of zeros, whose kernel this project lacks.

References:
    github.com/jhhuang96/ConvLSTM-PyTorch (2020), the network in PyTorch;
    github.com/lyqcom/convlstm (2022), the same in MindSpore.
"""

from dataclasses import dataclass

import numpy as np

from src.config.presets import make_config
from src.errors import InputError
from src.model import EncoderForecaster

GATES = "ifgo"
TOP = "forecaster_layers.2.cell"
OUTPUT = "output_conv"


@dataclass(frozen=True)
class Layout:
    """The parameters of another network, by the names of this one's.

    Args:
        convs: this network's convolutions and transposed convolutions -> the other's.
        cells: this network's ConvLSTM cells -> the other's.
        gate_conv: the name of the convolution inside one of the other's cells.
        gamma, beta: the names of its norm's parameters.
        gates: the order of its gates along the channel axis.
        has_biases: whether its convolutions have biases; zeros stand for those that it lacks.
    """

    convs: dict
    cells: dict
    gate_conv: str
    gamma: str
    beta: str
    gates: str
    has_biases: bool

    @property
    def output_weight(self):
        """The other's name of the last kernel, whose side differs between them."""
        return f"{self.convs[OUTPUT]}.weight"


PYTORCH = Layout(
    convs={
        "encoder_convs.0.0": "encoder.stage1.conv1_leaky_1",
        "encoder_convs.1.0": "encoder.stage2.conv2_leaky_1",
        "encoder_convs.2.0": "encoder.stage3.conv3_leaky_1",
        "forecaster_convs.1.0": "decoder.stage3.deconv1_leaky_1",
        "forecaster_convs.0.0": "decoder.stage2.deconv2_leaky_1",
        "head_conv.0": "decoder.stage1.conv3_leaky_1",
        OUTPUT: "decoder.stage1.conv4_leaky_1",
    },
    cells={
        "encoder_layers.0.cell": "encoder.rnn1",
        "encoder_layers.1.cell": "encoder.rnn2",
        "encoder_layers.2.cell": "encoder.rnn3",
        TOP: "decoder.rnn3",
        "forecaster_layers.1.cell": "decoder.rnn2",
        "forecaster_layers.0.cell": "decoder.rnn1",
    },
    gate_conv="conv.0",
    gamma="conv.1.weight",
    beta="conv.1.bias",
    gates="ifgo",
    has_biases=True,
)

MINDSPORE_2022 = Layout(
    convs={
        "encoder_convs.0.0": "en_conv1",
        "encoder_convs.1.0": "en_conv2",
        "encoder_convs.2.0": "en_conv3",
        "forecaster_convs.1.0": "dn_conv1",
        "forecaster_convs.0.0": "dn_conv2",
        "head_conv.0": "dn_conv3",
        OUTPUT: "dn_conv4",
    },
    cells={
        "encoder_layers.0.cell": "en_rnn1",
        "encoder_layers.1.cell": "en_rnn2",
        "encoder_layers.2.cell": "en_rnn3",
        TOP: "dn_rnn1",
        "forecaster_layers.1.cell": "dn_rnn2",
        "forecaster_layers.0.cell": "dn_rnn3",
    },
    gate_conv="conv",
    gamma="gro.gamma",
    beta="gro.beta",
    gates="ifog",
    has_biases=False,
)


def to_ours(layout, theirs, path):
    """The configuration and the weights of this project's network from another's parameters.

    Args:
        layout: the other's `Layout`.
        theirs: its parameters, float32 arrays by name.
        path: the file that they are from, for messages.

    Returns:
        A `Config` (preset multiscale, ending with LeakyReLU, the last kernel's side as there) and a
        dict of arrays by name.

    Raises:
        InputError: a parameter is missing, surplus, of another shape, or not finite.
    """
    last = theirs.get(layout.output_weight)
    side = 1 if last is not None and last.shape[2:] == (1, 1) else 3
    options = {"output_activation": "leaky_relu", "output_kernel_size": side}
    config = make_config("multiscale", options, "published")
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    own = {p.name: p.asnumpy() for p in network.get_parameters()}
    check(path, theirs, from_ours(layout, own))

    ours = {}
    for name, other in layout.convs.items():
        ours[f"{name}.weight"] = theirs[f"{other}.weight"]
        ours[f"{name}.bias"] = _bias(theirs, other, own[f"{name}.bias"])
    for name, other in layout.cells.items():
        weight = _in_order(theirs[f"{other}.{layout.gate_conv}.weight"], layout.gates, GATES)
        hidden = len(weight) // len(GATES)
        if name != TOP:
            ours[f"{name}.input_conv.weight"] = weight[:, :-hidden]
        ours[f"{name}.state_conv.weight"] = weight[:, -hidden:]
        bias = _bias(theirs, f"{other}.{layout.gate_conv}", own[_bias_name(name)])
        ours[_bias_name(name)] = _in_order(bias, layout.gates, GATES)
        for ours_norm, theirs_norm in (("gamma", layout.gamma), ("beta", layout.beta)):
            values = theirs[f"{other}.{theirs_norm}"]
            ours[f"{name}.norm.{ours_norm}"] = _in_order(values, layout.gates, GATES)
    return config, ours


def from_ours(layout, ours):
    """Another network's parameters, a dict of arrays by name, from this project's."""
    theirs = {}
    for name, other in layout.convs.items():
        theirs[f"{other}.weight"] = ours[f"{name}.weight"]
        if layout.has_biases:
            theirs[f"{other}.bias"] = ours[f"{name}.bias"]
    for name, other in layout.cells.items():
        of_state = ours[f"{name}.state_conv.weight"]
        # The top layer's zero input has as many channels as its states.
        of_input = ours.get(f"{name}.input_conv.weight", np.zeros_like(of_state))
        weight = np.concatenate((of_input, of_state), 1)
        theirs[f"{other}.{layout.gate_conv}.weight"] = _in_order(weight, GATES, layout.gates)
        if layout.has_biases:
            bias = _in_order(ours[_bias_name(name)], GATES, layout.gates)
            theirs[f"{other}.{layout.gate_conv}.bias"] = bias
        for ours_norm, theirs_norm in (("gamma", layout.gamma), ("beta", layout.beta)):
            values = _in_order(ours[f"{name}.norm.{ours_norm}"], GATES, layout.gates)
            theirs[f"{other}.{theirs_norm}"] = values
    return theirs


def check(path, arrays, wanted):
    """Raises `InputError`, with the first names and shapes, unless the arrays are those wanted."""

    def first(names, source):
        name = names[0]
        return f"{len(names)} parameters, {name} {source[name].shape} first"

    missing = [name for name in wanted if name not in arrays]
    surplus = [name for name in arrays if name not in wanted]
    problems = []
    if missing:
        problems.append(f"lacks {first(missing, wanted)}")
    if surplus:
        problems.append(f"has {first(surplus, arrays)}, that the network lacks")
    for name, array in arrays.items():
        if name in wanted and array.shape != wanted[name].shape:
            shapes = f"{array.shape}, and {wanted[name].shape} is needed"
            problems.append(f"{name} has the shape {shapes}")
            break
    if problems:
        raise InputError(f"{path}: is not of this network: {'; '.join(problems)}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} is not finite")


def _bias_name(cell):
    """Which of a cell's convolutions holds its gate bias."""
    return f"{cell}.{'state_conv' if cell == TOP else 'input_conv'}.bias"


def _bias(theirs, conv, like):
    """A bias, or zeros for a convolution that has none."""
    bias = theirs.get(f"{conv}.bias")
    return np.zeros_like(like) if bias is None else bias


def _in_order(array, source, target):
    """Reorders the gates along the first axis; each gate holds whole groups of its GroupNorm."""
    gates = array.reshape(len(source), -1, *array.shape[1:])
    return gates[[source.index(gate) for gate in target]].reshape(array.shape)
