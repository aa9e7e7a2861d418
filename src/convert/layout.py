"""How other versions of the `multiscale` network name and order its parameters, and the conversion
of their parameters to this project's ("ours") and back.

The other versions convolve [x, h] with one kernel, where this project has one for x and one for h.
They feed the top layer of the forecaster an input of zeros, whose kernel this project lacks.

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
    """The names and the order of the parameters in another version of the network.

    Args:
        convs: names of convolutions and transposed convolutions, this project's -> the other's.
        cells: names of ConvLSTM cells, this project's -> the other's.
        gate_conv: the name of the convolution in the other's cells.
        gamma, beta: the names of the parameters of the norm in the other's cells.
        gates: the order of the other's gates along the channel axis.
        has_biases: whether the other's convolutions have biases; if not, this project's become 0.
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
        """The other's name of the last kernel, which may be 1x1 or 3x3."""
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


def to_ours(layout, parameters, path):
    """Converts the parameters of another version to this project's configuration and weights.

    Args:
        layout: the `Layout` of the other version.
        parameters: its parameters, float32 arrays by name.
        path: the file that they are from, for messages.

    Returns:
        A `Config` (preset multiscale, ending with LeakyReLU, the last kernel as large as the
        other's) and the weights, arrays by name.

    Raises:
        InputError: a parameter is missing, surplus, of another shape, or not finite.
    """
    last = parameters.get(layout.output_weight)
    side = 1 if last is not None and last.shape[2:] == (1, 1) else 3
    options = {"output_activation": "leaky_relu", "output_kernel_size": side}
    config = make_config("multiscale", options, "published")
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    own = {p.name: p.asnumpy() for p in network.get_parameters()}
    check(path, parameters, from_ours(layout, own))

    weights = {}
    for name, other in layout.convs.items():
        weights[f"{name}.weight"] = parameters[f"{other}.weight"]
        weights[f"{name}.bias"] = _bias(parameters, other, own[f"{name}.bias"])
    for name, other in layout.cells.items():
        kernel = _in_order(parameters[f"{other}.{layout.gate_conv}.weight"], layout.gates, GATES)
        hidden = len(kernel) // len(GATES)
        if name != TOP:
            weights[f"{name}.input_conv.weight"] = kernel[:, :-hidden]
        weights[f"{name}.state_conv.weight"] = kernel[:, -hidden:]
        bias = _bias(parameters, f"{other}.{layout.gate_conv}", own[_bias_name(name)])
        weights[_bias_name(name)] = _in_order(bias, layout.gates, GATES)
        for norm, other_norm in (("gamma", layout.gamma), ("beta", layout.beta)):
            values = parameters[f"{other}.{other_norm}"]
            weights[f"{name}.norm.{norm}"] = _in_order(values, layout.gates, GATES)
    return config, weights


def from_ours(layout, weights):
    """Converts this project's weights to the parameters of another version, arrays by name."""
    parameters = {}
    for name, other in layout.convs.items():
        parameters[f"{other}.weight"] = weights[f"{name}.weight"]
        if layout.has_biases:
            parameters[f"{other}.bias"] = weights[f"{name}.bias"]
    for name, other in layout.cells.items():
        state_kernel = weights[f"{name}.state_conv.weight"]
        # The top layer's zero input has as many channels as its states.
        input_kernel = weights.get(f"{name}.input_conv.weight", np.zeros_like(state_kernel))
        kernel = np.concatenate((input_kernel, state_kernel), 1)
        parameters[f"{other}.{layout.gate_conv}.weight"] = _in_order(kernel, GATES, layout.gates)
        if layout.has_biases:
            bias = _in_order(weights[_bias_name(name)], GATES, layout.gates)
            parameters[f"{other}.{layout.gate_conv}.bias"] = bias
        for norm, other_norm in (("gamma", layout.gamma), ("beta", layout.beta)):
            values = _in_order(weights[f"{name}.norm.{norm}"], GATES, layout.gates)
            parameters[f"{other}.{other_norm}"] = values
    return parameters


def check(path, arrays, wanted):
    """Raises `InputError` unless the arrays are finite and have the wanted names and shapes."""

    def first(names, source):
        return f"the first is {names[0]} {source[names[0]].shape}"

    missing = [name for name in wanted if name not in arrays]
    surplus = [name for name in arrays if name not in wanted]
    problems = []
    if missing:
        problems.append(f"lacks {len(missing)} parameters, {first(missing, wanted)}")
    if surplus:
        problems.append(
            f"has {len(surplus)} parameters that the network lacks, {first(surplus, arrays)}"
        )
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
    """The name of a cell's gate bias, which belongs to its input convolution if it has one."""
    return f"{cell}.{'state_conv' if cell == TOP else 'input_conv'}.bias"


def _bias(parameters, conv, like):
    """The bias of a convolution, or zeros if it has none."""
    bias = parameters.get(f"{conv}.bias")
    return np.zeros_like(like) if bias is None else bias


def _in_order(array, source, target):
    """Reorders the gates along the first axis; no group of the GroupNorm spans two gates."""
    gates = array.reshape(len(source), -1, *array.shape[1:])
    return gates[[source.index(gate) for gate in target]].reshape(array.shape)
