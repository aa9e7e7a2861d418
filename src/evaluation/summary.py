"""The model card: the layers of a network, their parameters, and the cost of a forecast."""

import math
from typing import NamedTuple

from mindspore import nn

from src.model import EncoderForecaster


class Layer(NamedTuple):
    """A layer; `output` is (T, C, H, W), `macs` the multiply-accumulates for one sequence."""

    name: str
    output: tuple[int, ...]
    parameters: int
    macs: int


def layers_of(network, input_frames, image_size):
    """The layers of an `EncoderForecaster` in the order in which they run, a list of `Layer`.

    Only convolutions count as cost: each weight once for each pixel of the output or, in a
    transposed convolution, of the input.
    """
    size = tuple(side // network.patch_size for side in image_size)
    count, frames, layers = len(network.encoder_layers), network.forecast_frames, []
    for k in range(count):
        name = f"encoder {k + 1}"
        size = _add_convolution(layers, name, network.encoder_convs[k], input_frames, size)
        # The first step has no state to convolve.
        steps = input_frames - 1
        _add_convlstm(layers, name, network.encoder_layers[k].cell, input_frames, steps, size)
    for k in reversed(range(count)):
        name = f"forecaster {k + 1}"
        _add_convlstm(layers, name, network.forecaster_layers[k].cell, frames, frames, size)
        if k:
            size = _add_convolution(layers, name, network.forecaster_convs[k - 1], frames, size)
    _add_convolution(layers, "head", network.head_conv, frames, size)
    _add_convolution(layers, "output", network.output_conv, frames, size)
    return layers


def _add_convolution(layers, name, cell, frames, size):
    """Adds the convolution in a Cell, if it has one; returns the (height, width) of the output."""
    kinds = nn.Conv2d | nn.Conv2dTranspose
    for conv in (c for _, c in cell.cells_and_names() if isinstance(c, kinds)):
        transposed = isinstance(conv, nn.Conv2dTranspose)
        (kernel, _), (stride, _) = conv.kernel_size, conv.stride
        made = tuple(side * stride if transposed else side // stride for side in size)
        macs = frames * math.prod(size if transposed else made) * conv.weight.size
        kind = "transposed conv" if transposed else "conv"
        strided = f" stride {stride}" if stride > 1 else ""
        output = (frames, conv.out_channels, *made)
        layers.append(
            Layer(f"{name} {kind} {kernel}x{kernel}{strided}", output, _parameters(conv), macs)
        )
        size = made
    return size


def _add_convlstm(layers, name, cell, frames, steps, size):
    """Adds a ConvLSTM cell that reads `frames` frames and convolves its state `steps` times."""
    kernel = cell.state_conv.kernel_size[0]
    weights = steps * cell.state_conv.weight.size
    if cell.has_input:
        weights += frames * cell.input_conv.weight.size
    output = (frames, cell.hidden_channels, *size)
    macs = weights * math.prod(size)
    layers.append(Layer(f"{name} ConvLSTM {kernel}x{kernel}", output, _parameters(cell), macs))


def _parameters(cell):
    return sum(p.size for p in cell.trainable_params())


def show(config, size, path=None):
    """Prints the model card of a network.

    Args:
        config: the network's `Config`.
        size: size of its checkpoint in bytes.
        path: the checkpoint, or None for a network that is not trained yet.
    """
    data, model = config.data, config.model
    network = EncoderForecaster(model, data.forecast_frames)
    layers = layers_of(network, data.input_frames, config.network_size)
    parameters, macs = (sum(getattr(x, name) for x in layers) for name in ("parameters", "macs"))
    frame = (model.channels, *config.network_size)
    print(f"preset:      {config.preset}, {parameters:,} parameters")
    print(f"inputs:      {_text((data.input_frames, *frame))} (T, C, H, W)")
    print(f"forecast:    {_text((data.forecast_frames, *frame))}")
    print(f"cost:        {macs / 1e9:.4g} GMAC a sequence, forward")
    if path is None:
        print(f"checkpoint:  about {size / 1e6:.1f} MB, with the optimizer's moments")
    else:
        print(f"checkpoint:  {size:,} bytes: {path}")
    print(f"\n{'layer':42} {'output (T, C, H, W)':>22} {'parameters':>12} {'MMAC':>10}")
    for layer in layers:
        shape = _text(layer.output)
        print(f"{layer.name:42} {shape:>22} {layer.parameters:12,} {layer.macs / 1e6:10,.1f}")


def _text(shape):
    return " x ".join(map(str, shape))
