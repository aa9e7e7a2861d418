"""The encoder-forecaster as it is usually written in MindSpore: concatenate, convolve, step.

It has the equations, the `ModelConfig` and the initial values of `src.model`, and nothing else of
it: each step convolves [x, h], all states start as zeros, the top layer of the forecaster convolves
an input of zeros, the convolutions between the layers see one frame at a time, and the framework
computes the gradients. `tests/torch_twin.py` is the same in PyTorch.

Shapes: B batch, T time, C channels, H height, W width, h hidden channels. Time is a Python list.
"""

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

SLOPE = 0.2


def conv(in_channels, out_channels, kernel_size, stride=1):
    """A convolution with a bias that keeps the size at stride 1."""
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, "pad", kernel_size // 2, has_bias=True
    )


class NaiveCell(nn.Cell):
    """One ConvLSTM step by one convolution over input and state.

    Args:
        in_channels: channels of the input.
        hidden: h.
        config: the `ModelConfig`.

    Inputs:
        - **x** - (B, in_channels, H, W).
        - **state** - h and c, each (B, h, H, W).

    Outputs:
        The next h and c.
    """

    def __init__(self, in_channels, hidden, config):
        super().__init__()
        self.in_channels, self.hidden = in_channels, hidden
        self.conv = conv(in_channels + hidden, 4 * hidden, config.kernel_size)
        self.has_norm, self.has_peepholes = config.group_norm, config.peepholes
        if config.group_norm:
            self.norm = nn.GroupNorm(4 * hidden // 32, 4 * hidden)
        if config.peepholes:
            self.peephole_i = self.peephole("peephole_i")
            self.peephole_f = self.peephole("peephole_f")
            self.peephole_o = self.peephole("peephole_o")

    def peephole(self, name):
        """A peephole, one weight per channel."""
        return Parameter(initializer("zeros", (1, self.hidden, 1, 1)), name=name)

    def construct(self, x, state):
        """One step."""
        h, c = state
        gates = self.conv(ops.concat((x, h), 1))
        if self.has_norm:
            gates = self.norm(gates)
        i, f, g, o = ops.split(gates, self.hidden, 1)
        if self.has_peepholes:
            i = i + self.peephole_i * c
            f = f + self.peephole_f * c
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        if self.has_peepholes:
            o = o + self.peephole_o * c
        return ops.sigmoid(o) * ops.tanh(c), c


class NaiveNetwork(nn.Cell):
    """An encoder-forecaster with the interface of `EncoderForecaster`, unrolled over time.

    Args:
        config: the network's `ModelConfig`.
        forecast_frames: frames to forecast.

    Inputs:
        - **inputs** - (B, T, C, H, W).

    Outputs:
        (B, forecast_frames, C, H, W).
    """

    def __init__(self, config, forecast_frames):
        super().__init__()
        self.forecast_frames, self.patch_size = forecast_frames, config.patch_size
        self.output_activation, self.has_head = config.output_activation, config.head_channels > 0
        hidden = [stage.hidden_channels for stage in config.stages]
        pixels = config.channels * config.patch_size**2
        below = [pixels, *hidden[:-1]]
        inputs = [s.conv_channels or b for s, b in zip(config.stages, below, strict=True)]
        self.encoder_convs = nn.CellList(list(map(down, below, config.stages)))
        self.encoder_cells = cells(inputs, hidden, config)
        # The top layer of the published forecaster has an input, of zeros.
        self.forecaster_cells = cells([*hidden[1:], hidden[-1]], hidden, config)
        self.forecaster_convs = nn.CellList([up(stage) for stage in config.stages[1:]])
        self.head_conv = nn.Identity()
        if self.has_head:
            self.head_conv = nn.SequentialCell(
                conv(hidden[0], config.head_channels, 3), nn.LeakyReLU(SLOPE)
            )
        self.output_conv = conv(
            config.head_channels or sum(hidden), pixels, config.output_kernel_size
        )
        self.leaky_relu = nn.LeakyReLU(SLOPE)

    def construct(self, inputs):
        """The forecast."""
        outputs = self.forecast(self.encode(inputs)[1], self.forecast_frames)
        return self.activate(self.head(outputs, inputs[:, -1:]))

    def encode(self, inputs):
        """The h of each layer, lists over time, and its last state; the finest layer first."""
        frames = []
        for t in range(inputs.shape[1]):
            frames.append(ops.pixel_unshuffle(inputs[:, t], self.patch_size))
        outputs, states = [], []
        for k in range(len(self.encoder_cells)):
            frames = each(self.encoder_convs[k], frames)
            cell = self.encoder_cells[k]
            size = (inputs.shape[0], cell.hidden) + frames[0].shape[2:]
            zeros = ops.zeros(size, inputs.dtype)
            frames, state = unroll(cell, frames, (zeros, zeros))
            outputs.append(frames)
            states.append(state)
        return outputs, states

    def forecast(self, states, frames):
        """The h of each layer, lists over so many frames, from the encoder's last states."""
        top = len(states) - 1
        frames = [ops.zeros_like(states[top][0])] * frames
        outputs = []
        for k in range(top, -1, -1):
            frames = unroll(self.forecaster_cells[k], frames, states[k])[0]
            outputs = [frames] + outputs
            if k > 0:
                frames = each(self.forecaster_convs[k - 1], frames)
        return outputs

    def head(self, outputs, previous):
        """The output frames before their activation, (B, T, C, H, W); no preset adds them to the
        previous ones.
        """
        frames = []
        for t in range(len(outputs[0])):
            x = outputs[0][t]
            if not self.has_head:
                x = ops.concat([layer[t] for layer in outputs], 1)
            x = self.output_conv(self.head_conv(x))
            frames.append(ops.pixel_shuffle(x, self.patch_size))
        return ops.stack(frames, 1)

    def activate(self, x):
        """The output activation."""
        if self.output_activation == "sigmoid":
            return ops.sigmoid(x)
        return self.leaky_relu(x) if self.output_activation == "leaky_relu" else x


def each(cell, frames):
    """Applies a Cell for one frame to each frame of a list."""
    return [cell(frame) for frame in frames]


def unroll(cell, frames, state):
    """Runs a cell over a list of frames; returns the list of every h, and the last state."""
    outputs = []
    for x in frames:
        state = cell(x, state)
        outputs.append(state[0])
    return outputs, state


def cells(in_channels, hidden, config):
    """One `NaiveCell` for each layer."""
    return nn.CellList([NaiveCell(x, h, config) for x, h in zip(in_channels, hidden, strict=True)])


def down(in_channels, stage):
    """The convolution before an encoder layer, or the identity."""
    if not stage.conv_channels:
        return nn.Identity()
    return nn.SequentialCell(
        conv(in_channels, stage.conv_channels, 3, stage.stride), nn.LeakyReLU(SLOPE)
    )


def up(stage):
    """The transposed convolution after a forecaster layer, which enlarges frames by the stride, or
    the identity.
    """
    if not stage.conv_channels:
        return nn.Identity()
    hidden, stride = stage.hidden_channels, stage.stride
    return nn.SequentialCell(
        nn.Conv2dTranspose(hidden, hidden, stride + 2, stride, "pad", 1, has_bias=True),
        nn.LeakyReLU(SLOPE),
    )


def randomise(network, rng):
    """Sets every parameter to small random numbers, so that no gate is saturated, no weight 0."""
    for parameter in network.get_parameters():
        value = rng.normal(scale=0.2, size=parameter.shape).astype(np.float32)
        parameter.set_data(Tensor(value))


def copy_weights(naive, network):
    """Copies the weights of a `NaiveNetwork` to an `EncoderForecaster`."""
    for name in ("encoder", "forecaster"):
        layers, naive_cells = getattr(network, f"{name}_layers"), getattr(naive, f"{name}_cells")
        for layer, naive_cell in zip(layers, naive_cells, strict=True):
            copy_cell(naive_cell, layer.cell)
    weights = naive.parameters_dict()
    for name, parameter in network.parameters_dict().items():
        if "_layers." not in name:
            copy(weights[name].asnumpy(), parameter)


def copy_cell(naive, cell):
    """Copies the weights of a `NaiveCell` to a `ConvLSTMCell`, which has two for its [Wx, Wh].

    Weights that multiply an input of zeros are left out.
    """
    weight, split = naive.conv.weight.asnumpy(), naive.in_channels
    copy(weight[:, split:], cell.state_conv.weight)
    if cell.has_input:
        copy(weight[:, :split], cell.input_conv.weight)
    biased = cell.input_conv if cell.has_input else cell.state_conv
    copy(naive.conv.bias.asnumpy(), biased.bias)
    if cell.has_norm:
        copy(naive.norm.gamma.asnumpy(), cell.norm.gamma)
        copy(naive.norm.beta.asnumpy(), cell.norm.beta)
    if cell.has_peepholes:
        for name in ("peephole_i", "peephole_f", "peephole_o"):
            copy(getattr(naive, name).asnumpy(), getattr(cell, name))


def copy(array, parameter):
    """Sets a parameter to a copy: an optimizer that changes one network must not change both."""
    parameter.set_data(Tensor(array.copy()))
