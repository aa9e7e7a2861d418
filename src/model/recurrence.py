r"""The ConvLSTM recurrence over time, with a gradient of its own.

Automatic differentiation of the unrolled steps keeps every operand and runs a weight gradient for
each step. Written out, a layer keeps the activated gates and cell states only, and its weight
gradients are one convolution each over all T * B frames: fewer primitives, less memory. With
`recompute` it keeps no more than its outputs and cell states, and computes the gates again.

Shapes: T time, B batch, C input channels, h hidden channels, H height, W width; states are
(B, h, H, W), gates (B, 4h, H, W) in the order i, f, g, o.

What a cell may lack (input, first state, norm, peepholes) is an empty tuple: a None inside a
gradient becomes a call to Python, which cuts the graph at that place.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.ops.operations import Conv2DBackpropInput
from mindspore.ops.operations._grad_ops import (
    BiasAddGrad,
    Conv2DBackpropFilter,
    SigmoidGrad,
    TanhGrad,
)


class SameConv(nn.Cell):
    """A convolution that keeps the size, as a function of input and weight, and its gradients.

    Args:
        out_channels: channels of the output.
        kernel_size: side of the square kernel, odd.

    Inputs:
        - **x** - (N, in_channels, H, W).
        - **weight** - (out_channels, in_channels, kernel_size, kernel_size).

    Outputs:
        (N, out_channels, H, W).
    """

    def __init__(self, in_channels, out_channels, kernel_size, execution):
        super().__init__()
        padding = kernel_size // 2
        self.on_cpu, self.type = execution.on_cpu, execution.conv_type
        same = {"kernel_size": kernel_size, "pad_mode": "pad", "pad": padding}
        self.turned_conv = ops.Conv2D(in_channels, **same)
        same = {"out_channel": out_channels, **same}
        self.conv = ops.Conv2D(**same)
        self.input_gradient = Conv2DBackpropInput(**same, pad_list=(padding,) * 4)
        self.weight_gradient = Conv2DBackpropFilter(**same, pad_list=(padding,) * 4)

    def construct(self, x, weight):
        return self.conv(x.astype(self.type), weight.astype(self.type)).astype(x.dtype)

    def to_input(self, gradient, weight, x_shape):
        """The gradient of the input."""
        typed, weight = gradient.astype(self.type), weight.astype(self.type)
        return self.input_gradient(typed, weight, x_shape).astype(gradient.dtype)

    def step_to_input(self, gradient, weight, x_shape):
        """The same, for one step of many: of large frames on a CPU by the turned kernel, because
        each instance of the CPU's own gradient keeps its buffer for good, 70 MB at 64 x 64.
        """
        if self.on_cpu and x_shape[2] * x_shape[3] > 256:
            turned = ops.flip(weight, (2, 3)).swapaxes(0, 1).astype(self.type)
            return self.turned_conv(gradient.astype(self.type), turned).astype(gradient.dtype)
        return self.to_input(gradient, weight, x_shape)

    def to_weight(self, gradient, x, weight):
        """The gradient of the weight."""
        typed, x = gradient.astype(self.type), x.astype(self.type)
        return self.weight_gradient(typed, x, weight.shape).astype(weight.dtype)


class Recurrence(nn.Cell):
    """Runs the equations of `ConvLSTMCell` over time; has no parameters of its own.

    Args:
        in_channels, hidden_channels, kernel_size, input_kernel_size, execution: as of
            `ConvLSTMCell`.
        norm: a Cell of `src.model.norm`, or None.
        peepholes: whether there are.
        has_state: whether there is a first state; zeros cost nothing.

    Inputs:
        - **inputs** - x, (T, B, C, H, W), its weight, and the gate bias, (4h,); without an input
          the gate bias alone.
        - **state** - the first h and c, or ().
        - **state_weight** - (4h, h, kernel_size, kernel_size).
        - **norm_weights** - gamma and beta, (4h,), or ().
        - **peepholes** - those of i, f and o, (h,), or ().
        - **steps** - T, a Python int.

    Outputs:
        The h of every step, (T, B, h, H, W); the last h; the last c; what the gradient needs.
    """

    def __init__(
        self, in_channels, hidden_channels, kernel_size, input_kernel_size, norm, peepholes,
        has_state, execution,
    ):  # fmt: skip
        super().__init__()
        self.hidden_channels = hidden_channels
        self.recompute_gates = execution.recompute
        self.has_input, self.has_norm = in_channels > 0, norm is not None
        self.has_peepholes, self.has_state = peepholes, has_state
        if norm is not None:
            self.norm = norm
        if in_channels:
            self.input_conv = SameConv(
                in_channels, 4 * hidden_channels, input_kernel_size, execution
            )
        self.state_conv = SameConv(hidden_channels, 4 * hidden_channels, kernel_size, execution)
        self.bias_add, self.channel_sums = ops.BiasAdd(), BiasAddGrad()
        # Primitives, because each call of a function of `ops` is one more graph to compile.
        self.sigmoid, self.tanh = ops.Sigmoid(), ops.Tanh()
        self.split, self.concat_channels = ops.Split(1, 4), ops.Concat(1)
        self.concat_frames, self.stack = ops.Concat(0), ops.Stack()
        # One operator fewer; on a CPU it is five times slower than the three.
        self.on_cpu = execution.on_cpu
        self.addcmul, self.one = ops.Addcmul(), Tensor(1, ms.float32)
        self.sigmoid_grad, self.tanh_grad = SigmoidGrad(), TanhGrad()

    def construct(self, inputs, state, state_weight, norm_weights, peepholes, steps):
        shares = self.input_shares(inputs, steps)
        peepholes = self.at_every_pixel(peepholes, state[0] if self.has_state else shares[0])
        outputs, kept = (), ()
        for t in range(steps):
            if t == 0 and not self.has_state:
                step = self.first_step(shares[0], norm_weights, peepholes)
            else:
                gates = self.gates(shares[t], state[0], state_weight)
                step = self.step(gates, state[1], norm_weights, peepholes)
            state = (step[2] * step[-2], step[-1])
            outputs = outputs + (state[0],)
            kept = kept + (step[-1:] if self.recompute_gates else step,)
        return self.stack(outputs), state[0], state[1], kept

    def at_every_pixel(self, peepholes, like):
        """(B, h, H, W) each: for a product that broadcasts the CPU keeps 16 bytes an element."""
        shape = (like.shape[0], self.hidden_channels) + like.shape[2:]
        return tuple([self.bias_add(ops.zeros(shape, like.dtype), p) for p in peepholes])

    def input_shares(self, inputs, steps):
        """What the gates of each step get besides the state's convolution: the input's, of all
        steps at once, or the bias.
        """
        if not self.has_input:
            return inputs * steps
        x, weight, bias = inputs
        gates = self.bias_add(self.input_conv(as_frames(x), weight), bias)
        return ops.unstack(gates.reshape((steps, -1) + gates.shape[1:]))

    def gates(self, share, h, state_weight):
        """The gates before norm and peepholes."""
        gates = self.state_conv(h, state_weight)
        return gates + share if self.has_input else self.bias_add(gates, share)

    def normalise(self, gates, norm_weights):
        """The gates after their norm, apart, and what the norm's gradient needs."""
        kept = ()
        if self.has_norm:
            gates, kept = self.norm.forward(gates, norm_weights[0], norm_weights[1])
        return self.split(gates), kept

    def step(self, gates, c, norm_weights, peepholes):
        """The activated i, g, o and f, what the norm's gradient needs, tanh(c), and the next c."""
        (i, f, g, o), norm_kept = self.normalise(gates, norm_weights)
        if self.has_peepholes:
            i = i + peepholes[0] * c
            f = f + peepholes[1] * c
        i, f, g = self.sigmoid(i), self.sigmoid(f), self.tanh(g)
        c = f * c + i * g if self.on_cpu else self.addcmul(i * g, f, c, self.one)
        if self.has_peepholes:
            o = o + peepholes[2] * c
        return i, g, self.sigmoid(o), f, norm_kept, self.tanh(c), c

    def first_step(self, gates, norm_weights, peepholes):
        """As `step`, from zeros; the last i stands where f would."""
        (i, _, g, o), norm_kept = self.normalise(gates, norm_weights)
        i, g = self.sigmoid(i), self.tanh(g)
        c = i * g
        if self.has_peepholes:
            o = o + peepholes[2] * c
        return i, g, self.sigmoid(o), i, norm_kept, self.tanh(c), c

    def bprop(self, inputs, state, state_weight, norm_weights, peepholes, steps, out, dout):
        """The gradients of the inputs, from the last step to the first."""
        kept, h = out[3], ops.unstack(out[0])
        peepholes = self.at_every_pixel(peepholes, h[0])
        shares = self.input_shares(after(inputs, dout[0]), steps) if self.recompute_gates else ()
        d_outputs = ops.unstack(dout[0])
        d_h, d_c = d_outputs[steps - 1] + dout[1], dout[2]
        d_gates, norm_parts, peephole_parts = (), (), ()
        for t in range(steps - 1, -1, -1):
            step = kept[t]
            if t == 0 and not self.has_state:
                if self.recompute_gates:
                    share = ops.depend(shares[0], d_h)
                    step = self.first_step(share, norm_weights, peepholes)
                d_step, d_c, parts = self.first_gradient(step, peepholes, d_h, d_c)
            else:
                before = (h[t - 1], kept[t - 1][-1]) if t > 0 else state
                if self.recompute_gates:
                    again = after(before, d_h)
                    gates = self.gates(shares[t], again[0], state_weight)
                    step = self.step(gates, again[1], norm_weights, peepholes)
                d_step, d_c, parts = self.step_gradient(step, before[1], peepholes, d_h, d_c)
            peephole_parts = peephole_parts + (parts,)
            if self.has_norm:
                d_step, d_gamma, d_beta = self.norm.backward(d_step, step[4], norm_weights[0])
                norm_parts = norm_parts + ((d_gamma, d_beta),)
            d_gates = (d_step,) + d_gates
            if t > 0 or self.has_state:
                d_h = self.state_conv.step_to_input(d_step, state_weight, d_h.shape)
            if t > 0:
                d_h = d_outputs[t - 1] + d_h
        all_gates = self.concat_frames(d_gates)
        return (
            self.input_gradients(inputs, all_gates),
            (d_h, d_c) if self.has_state else (),
            self.state_weight_gradient(state, h, d_gates, all_gates, state_weight),
            totals(norm_parts) if self.has_norm else (),
            self.peephole_gradients(peephole_parts) if self.has_peepholes else (),
            0,
        )

    def step_gradient(self, step, c_before, peepholes, d_h, d_c):
        """The gradients of the gates, of the c before, and of the peepholes, in one step."""
        i, g, o, f, _, tanh_c, c = step
        d_o = self.sigmoid_grad(o, d_h * tanh_c)
        d_c = d_c + self.tanh_grad(tanh_c, d_h * o)
        if self.has_peepholes:
            d_c = d_c + peepholes[2] * d_o
        d_i = self.sigmoid_grad(i, d_c * g)
        d_f = self.sigmoid_grad(f, d_c * c_before)
        d_g = self.tanh_grad(g, d_c * i)
        d_c = d_c * f
        parts = ()
        if self.has_peepholes:
            d_c = d_c + peepholes[0] * d_i + peepholes[1] * d_f
            parts = (d_i * c_before, d_f * c_before, d_o * c)
        return self.concat_channels((d_i, d_f, d_g, d_o)), d_c, parts

    def first_gradient(self, step, peepholes, d_h, d_c):
        """As `step_gradient`, of `first_step`."""
        i, g, o, _, _, tanh_c, c = step
        d_o = self.sigmoid_grad(o, d_h * tanh_c)
        d_c = d_c + self.tanh_grad(tanh_c, d_h * o)
        if self.has_peepholes:
            d_c = d_c + peepholes[2] * d_o
        d_i = self.sigmoid_grad(i, d_c * g)
        d_g = self.tanh_grad(g, d_c * i)
        none = ops.zeros_like(d_i)
        return self.concat_channels((d_i, none, d_g, d_o)), d_c, (none, none, d_o * c)

    def input_gradients(self, inputs, all_gates):
        """The gradients of x and its weight, where there is one, and of the bias."""
        d_bias = self.channel_sums(all_gates)
        if not self.has_input:
            return (d_bias,)
        x, weight, _ = inputs
        frames = as_frames(x)
        d_x = self.input_conv.to_input(all_gates, weight, frames.shape).reshape(x.shape)
        return d_x, self.input_conv.to_weight(all_gates, frames, weight), d_bias

    def state_weight_gradient(self, state, h, d_gates, all_gates, weight):
        """The gradient of the state's weight, over all steps that had a state."""
        if self.has_state:
            # Not before its use, though nothing else keeps it from being made.
            before = self.concat_frames(after((state[0],) + h[:-1], all_gates))
            return self.state_conv.to_weight(all_gates, before, weight)
        if len(h) == 1:
            return ops.zeros_like(weight)
        gates = self.concat_frames(d_gates[1:])
        before = self.concat_frames(after(h[:-1], gates))
        return self.state_conv.to_weight(gates, before, weight)

    def peephole_gradients(self, parts):
        """The gradients of the peepholes, (h,), from those at every pixel in every step."""
        return tuple([self.channel_sums(total) for total in totals(parts)])


def as_frames(x):
    """(T * B, C, H, W) from (T, B, C, H, W)."""
    return x.reshape((-1,) + x.shape[2:])


def after(tensors, event):
    """The tensors, once `event` is there; what is computed from them is not what was before."""
    return tuple([ops.depend(tensor, event) for tensor in tensors])


def totals(parts):
    """The sums of tuples of tensors, element by element."""
    if len(parts) == 1 or len(parts[0]) == 0:
        return parts[0]
    return tuple([ops.addn([part[k] for part in parts]) for k in range(len(parts[0]))])
