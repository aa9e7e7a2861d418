r"""The ConvLSTM cell and layer.

References:
    Shi et al. 2015, "Convolutional LSTM Network", arXiv:1506.04214 (equation 3);
    Jozefowicz et al. 2015 for the forget-gate bias of 1; Wu & He 2018 for GroupNorm.

Shapes: B batch, T time, C channels, H height, W width, h hidden channels. Inside the model time
comes first, (T, B, C, H, W), so that one step is one contiguous block.

Gate order along the channel axis: i, f, g, o. Checkpoints depend on it.
"""

import math

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import HeUniform, Orthogonal, initializer
from mindspore.common.tensor import Tensor

from src.model.execution import Execution
from src.model.norm import make_group_norm
from src.model.recurrence import Recurrence

GATES = 4
GATE_GROUP = 32


def same_conv(in_channels, out_channels, kernel_size, stride=1, has_bias=True, weight_init=None):
    """A convolution that keeps the size at stride 1, with a zero bias."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        pad_mode="pad",
        padding=kernel_size // 2,
        has_bias=has_bias,
        weight_init=weight_init or HeUniform(negative_slope=math.sqrt(5)),
        bias_init="zeros",
    )


class ConvLSTMCell(nn.Cell):
    r"""One ConvLSTM step, with optional peepholes and optional group-normalised gates.

    .. math::
        (i, f, g, o) &= N(W_x * x_t + W_h * h_{t-1} + b) \\
        i &= \sigma(i + w_{ci} \circ c_{t-1}), \quad f = \sigma(f + w_{cf} \circ c_{t-1}) \\
        c_t &= f \circ c_{t-1} + i \circ \tanh(g) \\
        h_t &= \sigma(o + w_{co} \circ c_t) \circ \tanh(c_t)

    N is GroupNorm in groups of 32 gate channels, or the identity; the peephole weights w_c, one a
    channel, are optional. The forget gate starts open, with a bias of 1, the other biases at 0, and
    the recurrent weights orthogonal.

    Source: Shi et al. 2015 (arXiv:1506.04214), equation 3; the parameter counts of its Table 1 are
    those of one peephole weight a channel.

    Args:
        in_channels: channels of the input; 0 for a cell without input.
        hidden_channels: channels of each state, a multiple of 8 with `group_norm`.
        kernel_size: side of the state-to-state kernel, odd.
        input_kernel_size: side of the input-to-state kernel, odd; default: `kernel_size`.
        group_norm: normalise the gates.
        peepholes: let the gates see the cell state.
        execution: how to compute it, an `Execution`.

    Inputs:
        - **x** - (B, in_channels, H, W), float32; None for a cell without input.
        - **state** - h and c, each (B, hidden_channels, H, W), or None, which stands for zeros at
        no cost.

    Outputs:
        The next h and c; h is also the cell's output.

    Raises:
        ValueError: a kernel size is even ("same" padding would shift the state), or
            `hidden_channels` does not suit `group_norm`.
    """

    def __init__(
        self,
        in_channels,
        hidden_channels,
        kernel_size,
        input_kernel_size=None,
        group_norm=False,
        peepholes=False,
        execution=None,
    ):
        super().__init__()
        input_kernel_size = input_kernel_size or kernel_size
        for size in (kernel_size, input_kernel_size):
            if size % 2 == 0:
                raise ValueError(
                    f"kernel_size is {size}: it must be odd, or the states would shift"
                )
        if group_norm and hidden_channels % 8:
            raise ValueError(
                f"hidden_channels is {hidden_channels}: GroupNorm needs a multiple of 8"
            )
        execution = execution or Execution()
        gate_channels = GATES * hidden_channels
        self.hidden_channels = hidden_channels
        self.has_input = in_channels > 0
        self.has_norm = group_norm
        self.has_peepholes = peepholes
        # These cells only hold the parameters, under their names in checkpoints; `Recurrence`
        # computes with them. The gate bias is the input convolution's, where there is one.
        if self.has_input:
            self.input_conv = same_conv(in_channels, gate_channels, input_kernel_size)
        self.state_conv = same_conv(
            hidden_channels,
            gate_channels,
            kernel_size,
            has_bias=not self.has_input,
            weight_init=Orthogonal(),
        )
        if group_norm:
            self.norm = nn.GroupNorm(gate_channels // GATE_GROUP, gate_channels)
        if peepholes:
            self.peephole_i = self._peephole("peephole_i")
            self.peephole_f = self._peephole("peephole_f")
            self.peephole_o = self._peephole("peephole_o")
        self._open_forget_gate()
        norm = None
        if group_norm:
            norm = make_group_norm(gate_channels // GATE_GROUP, execution.on_cpu)
        self.recurrence = Recurrence(
            in_channels, hidden_channels, kernel_size, input_kernel_size, norm, peepholes, execution
        )

    def _peephole(self, name):
        return Parameter(initializer("zeros", (1, self.hidden_channels, 1, 1)), name=name)

    def _open_forget_gate(self):
        if self.has_norm:
            bias = self.norm.beta
        else:
            bias = self.input_conv.bias if self.has_input else self.state_conv.bias
        h = self.hidden_channels
        bias.set_data(Tensor([0.0] * h + [1.0] * h + [0.0] * (2 * h), bias.dtype))

    def gate_kernels(self):
        """The parameters that stack the kernels of the four gates along their first axis."""
        convs = [self.input_conv, self.state_conv] if self.has_input else [self.state_conv]
        return [conv.weight for conv in convs]

    def construct(self, x, state):
        _, state = self.run(None if x is None else ops.expand_dims(x, 0), state, 1)
        return state

    def run(self, x, state, steps):
        """Runs the cell over time; the inputs and outputs are those of `ConvLSTMLayer`."""
        # By value, because a custom gradient cannot take a parameter by reference.
        if self.has_input:
            inputs = (x, self.input_conv.weight.value(), self.input_conv.bias.value())
        else:
            inputs = (self.state_conv.bias.value(),)
        norm_weights = (self.norm.gamma.value(), self.norm.beta.value()) if self.has_norm else ()
        peepholes = ()
        if self.has_peepholes:
            peepholes = tuple(
                [p.reshape(-1) for p in (self.peephole_i, self.peephole_f, self.peephole_o)]
            )
        state = () if state is None else state
        state_weight = self.state_conv.weight.value()
        outputs, h, c, _, _ = self.recurrence(
            inputs, state, state_weight, norm_weights, peepholes, steps
        )
        return outputs, (h, c)


class ConvLSTMLayer(nn.Cell):
    """A ConvLSTM cell run over time.

    The inputs do not wait for the recurrence: they are convolved at once, as T * B frames.

    Args:
        cell: the `ConvLSTMCell` to run.

    Inputs:
        - **x** - (T, B, in_channels, H, W), float32; None for a cell without input, which needs a
        state.
        - **state** - h and c, each (B, hidden_channels, H, W), or None for zeros.
        - **steps** - T, a Python int.

    Outputs:
        The h of every step, (T, B, hidden_channels, H, W), and the last state, (h, c).
    """

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def construct(self, x, state, steps):
        return self.cell.run(x, state, steps)


def per_frame(cell, x):
    """Applies a Cell that takes (N, C, H, W) to all frames of x, (T, B, C, H, W), at once."""
    y = cell(x.reshape((-1,) + x.shape[2:]))
    return y.reshape((x.shape[0], -1) + y.shape[1:])
