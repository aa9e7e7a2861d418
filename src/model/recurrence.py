r"""The ConvLSTM recurrence over time, with a gradient written by hand.

Automatic differentiation of the unrolled steps would save every operand and compute a weight
gradient in each step. The gradient here saves little more than the activated gates and the states,
and computes each weight gradient by one convolution over all T * B frames: fewer primitives, less
memory. With `recompute` the outputs and cell states alone are saved, and the gates computed again.

Shapes: T time, B batch, C input channels, h hidden channels, H height, W width; states are
(B, h, H, W), gates (B, 4h, H, W) in the order i, f, g, o.

An input, first state, norm or peephole that a cell lacks is passed as an empty tuple: a None inside
a gradient becomes a call to Python, which cuts the graph at that place. So does a NamedTuple, and
its gradient is zero; hence the parts of a step are plain tuples, unpacked by name.
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
    """A convolution that keeps the size of its frames, and its gradients by input and weight.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the square kernel, odd.
        execution: how to compute it, an `Execution`.

    Inputs:
        - **x** - (N, in_channels, H, W).
        - **weight** - (out_channels, in_channels, kernel_size, kernel_size).

    Outputs:
        (N, out_channels, H, W).
    """

    def __init__(self, in_channels, out_channels, kernel_size, execution):
        super().__init__()
        padding = kernel_size // 2
        self.on_cpu, self.float16 = execution.on_cpu, execution.float16
        self.cast = ops.Cast()
        same = {"kernel_size": kernel_size, "pad_mode": "pad", "pad": padding}
        self.flipped_conv = ops.Conv2D(in_channels, **same)
        same = {"out_channel": out_channels, **same}
        self.conv = ops.Conv2D(**same)
        self.backprop_input = Conv2DBackpropInput(**same, pad_list=(padding,) * 4)
        self.backprop_filter = Conv2DBackpropFilter(**same, pad_list=(padding,) * 4)

    def construct(self, x, weight):
        x, weight = self.cast_in(x), self.cast_in(weight)
        return self.cast_out(self.conv(x, weight))

    def cast_in(self, x):
        """x in the type that convolutions compute in."""
        return self.cast(x, ms.float16) if self.float16 else x

    def cast_out(self, y):
        """y in float32."""
        return self.cast(y, ms.float32) if self.float16 else y

    def input_grad(self, gradient, weight, x_shape):
        """The gradient of the input."""
        gradient, weight = self.cast_in(gradient), self.cast_in(weight)
        return self.cast_out(self.backprop_input(gradient, weight, x_shape))

    def step_input_grad(self, gradient, weight, x_shape):
        """`input_grad` where it is called once for each step.

        Large frames on a CPU are convolved with the flipped kernel: each instance of the CPU's own
        gradient holds its buffer for good, 70 MB at 64 x 64.
        """
        if self.on_cpu and x_shape[2] * x_shape[3] > 256:
            flipped = ops.flip(weight, (2, 3)).swapaxes(0, 1)
            gradient, flipped = self.cast_in(gradient), self.cast_in(flipped)
            return self.cast_out(self.flipped_conv(gradient, flipped))
        return self.input_grad(gradient, weight, x_shape)

    def weight_grad(self, gradient, x, weight):
        """The gradient of the weight."""
        gradient, x = self.cast_in(gradient), self.cast_in(x)
        return self.cast_out(self.backprop_filter(gradient, x, weight.shape))


class Recurrence(nn.Cell):
    """Runs the equations of `ConvLSTMCell` over time; has no parameters of its own.

    Args:
        in_channels, hidden_channels, kernel_size, input_kernel_size, execution: as in
            `ConvLSTMCell`.
        norm: a Cell of `src.model.norm`, or None.
        peepholes: whether the gates see the cell state.

    Inputs:
        - **inputs** - (x, weight, bias): x is (T, B, C, H, W), bias the gate bias, (4h,). Without
          an input (bias,).
        - **state** - (h, c) to start from, or () for zeros, which cost nothing.
        - **state_weight** - (4h, h, kernel_size, kernel_size).
        - **norm_weights** - (gamma, beta), each (4h,), or ().
        - **peepholes** - the peephole weights of i, f and o, each (h,), or ().
        - **steps** - T, a Python int.

    Outputs:
        - **outputs** - the h of every step, (T, B, h, H, W).
        - **h**, **c** - the last state.
        - **cells**, **saved** - for `bprop` alone: the c of every step, and what else its gradient
          needs.
    """

    def __init__(
        self,
        in_channels,
        hidden_channels,
        kernel_size,
        input_kernel_size,
        norm,
        peepholes,
        execution,
    ):
        super().__init__()
        self.hidden_channels = hidden_channels
        self.recompute_gates = execution.recompute
        # Conditions on these are decided when the graph is built; a condition on an input would be
        # one more graph to compile in every step.
        self.has_input, self.has_norm = in_channels > 0, norm is not None
        self.has_peepholes = peepholes
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
        self.on_cpu = execution.on_cpu
        self.fused_addcmul, self.one = ops.Addcmul(), Tensor(1, ms.float32)
        self.sigmoid_grad, self.tanh_grad = SigmoidGrad(), TanhGrad()

    def construct(self, inputs, state, state_weight, norm_weights, peepholes, steps):
        input_gates = self.input_gates(inputs, steps)
        peepholes = self.broadcast_map(peepholes, input_gates[0] if len(state) == 0 else state[0])
        outputs, cells, saved = (), (), ()
        for t in range(steps):
            gates = self.gates(input_gates[t], state, state_weight)
            h, c, step = self.activate(gates, state, norm_weights, peepholes)
            state = (h, c)
            outputs, cells = outputs + (h,), cells + (c,)
            saved = saved + (() if self.recompute_gates else (step,))
        last_h, last_c = state
        return self.stack(outputs), last_h, last_c, cells, saved

    def broadcast_map(self, peepholes, like):
        """Peephole weights, each (h,), repeated over every pixel, each (B, h, H, W).

        Products that broadcast would not need it, but on a CPU they hold 16 bytes an element for
        good.
        """
        shape = (like.shape[0], self.hidden_channels) + like.shape[2:]
        return tuple([self.bias_add(ops.zeros(shape, like.dtype), p) for p in peepholes])

    def input_gates(self, inputs, steps):
        """What the input adds to the gates of each step, bias included, by one convolution.

        Without an input it is the bias, once for each step.
        """
        if not self.has_input:
            return inputs * steps
        x, weight, bias = inputs
        gates = self.bias_add(self.input_conv(as_frames(x), weight), bias)
        return ops.unstack(gates.reshape((steps, -1) + gates.shape[1:]))

    def gates(self, input_gates, state, state_weight):
        """The gates of one step before norm and peepholes."""
        if len(state) == 0:
            return input_gates
        h, _ = state
        gates = self.state_conv(h, state_weight)
        return gates + input_gates if self.has_input else self.bias_add(gates, input_gates)

    def activate(self, gates, state, norm_weights, peepholes):
        """Computes the next state from the gates of a step.

        Returns:
            The next h, the next c, and what the step's gradient needs besides: the activated
            (i, f, g, o), what the norm saved, and tanh(c). Without a state f is ().
        """
        norm_saved = ()
        if self.has_norm:
            gates, norm_saved = self.norm.forward(gates, norm_weights[0], norm_weights[1])
        i, f, g, o = self.split(gates)
        g = self.tanh(g)
        if len(state) == 0:
            i, f = self.sigmoid(i), ()
            c = i * g
        else:
            _, previous_c = state
            if self.has_peepholes:
                i = self.addcmul(i, peepholes[0], previous_c)
                f = self.addcmul(f, peepholes[1], previous_c)
            i, f = self.sigmoid(i), self.sigmoid(f)
            c = self.addcmul(i * g, f, previous_c)
        if self.has_peepholes:
            o = self.addcmul(o, peepholes[2], c)
        o, tanh_c = self.sigmoid(o), self.tanh(c)
        return o * tanh_c, c, ((i, f, g, o), norm_saved, tanh_c)

    def addcmul(self, x, a, b):
        """x + a b. The fused operator is one less, but on a CPU it takes five times as long."""
        return x + a * b if self.on_cpu else self.fused_addcmul(x, a, b, self.one)

    def bprop(self, inputs, state, state_weight, norm_weights, peepholes, steps, out, dout):
        """The gradients of the inputs of `construct`, computed from the last step to the first."""
        # By index: a name that is unpacked and not read would make every gradient wait for it.
        outputs, c, saved = out[0], out[3], out[4]
        d_outputs, d_h, d_c = dout[:3]
        h = ops.unstack(outputs)
        peepholes = self.broadcast_map(peepholes, h[0])
        input_gates = ()
        if self.recompute_gates:
            input_gates = self.input_gates(depend_on(inputs, d_outputs), steps)
        d_outputs = ops.unstack(d_outputs)
        d_h = d_outputs[steps - 1] + d_h
        d_gates, d_normed, norm_parts = (), (), ()
        for t in range(steps - 1, -1, -1):
            previous = (h[t - 1], c[t - 1]) if t > 0 else state
            if self.recompute_gates:
                step = self.recompute_step(
                    input_gates[t], previous, d_h, state_weight, norm_weights, peepholes
                )
            else:
                step = saved[t]
            d_step, d_c = self.step_gradient(step, previous, peepholes, d_h, d_c)
            d_normed = (d_step,) + d_normed
            d_step, parts = self.norm_gradient(d_step, step, norm_weights)
            norm_parts = norm_parts + (parts,)
            d_gates = (d_step,) + d_gates
            if len(previous) > 0:
                d_h = self.state_conv.step_input_grad(d_step, state_weight, h[0].shape)
            if t > 0:
                d_h = d_outputs[t - 1] + d_h
        all_gates = self.concat_frames(d_gates)
        return (
            self.input_gradients(inputs, all_gates),
            (d_h, d_c) if len(state) > 0 else (),
            self.state_weight_gradient(state, h, d_gates, all_gates, state_weight),
            sum_each(norm_parts),
            self.peephole_gradients(d_normed, state, c),
            0,
        )

    def recompute_step(self, input_gates, previous, d_h, state_weight, norm_weights, peepholes):
        """What `construct` did not save of a step, computed when its gradient is due."""
        state = depend_on(previous, d_h)
        gates = self.gates(input_gates, state, state_weight)
        _, _, step = self.activate(gates, state, norm_weights, peepholes)
        return step

    def norm_gradient(self, gradient, step, norm_weights):
        """The gradients of the gates before their norm, and those of gamma and beta."""
        if not self.has_norm:
            return gradient, ()
        _, norm_saved, _ = step
        d_x, d_gamma, d_beta = self.norm.backward(gradient, norm_saved, norm_weights[0])
        return d_x, (d_gamma, d_beta)

    def step_gradient(self, step, previous, peepholes, d_h, d_c):
        """The gradients of one step's gates, after their norm, and of its previous c."""
        (i, f, g, o), _, tanh_c = step
        d_o = self.sigmoid_grad(o, d_h * tanh_c)
        d_c = d_c + self.tanh_grad(tanh_c, d_h * o)
        if self.has_peepholes:
            d_c = self.addcmul(d_c, peepholes[2], d_o)
        d_i = self.sigmoid_grad(i, d_c * g)
        d_g = self.tanh_grad(g, d_c * i)
        if len(previous) == 0:
            return ops.concat((d_i, ops.zeros_like(d_i), d_g, d_o), 1), d_c
        _, previous_c = previous
        d_f = self.sigmoid_grad(f, d_c * previous_c)
        d_c = d_c * f
        if self.has_peepholes:
            d_c = self.addcmul(d_c, peepholes[0], d_i)
            d_c = self.addcmul(d_c, peepholes[1], d_f)
        return self.concat_channels((d_i, d_f, d_g, d_o)), d_c

    def input_gradients(self, inputs, all_gates):
        """The gradients of x, its weight and the bias; without an input, of the bias."""
        d_bias = self.channel_sums(all_gates)
        if not self.has_input:
            return (d_bias,)
        x, weight, _ = inputs
        frames = as_frames(x)
        d_x = self.input_conv.input_grad(all_gates, weight, frames.shape).reshape(x.shape)
        return d_x, self.input_conv.weight_grad(all_gates, frames, weight), d_bias

    def state_weight_gradient(self, state, h, d_gates, all_gates, weight):
        """The gradient of the state's weight, from all steps that had a previous state."""
        previous, gates = h[:-1], all_gates
        if len(state) > 0:
            previous = (state[0],) + previous
        elif len(previous) == 0:
            return ops.zeros_like(weight)
        else:
            gates = self.concat_frames(d_gates[1:])
        # Nothing else would keep the concatenation from being made, and held, long before its use.
        previous = (ops.depend(previous[0], gates),) + previous[1:]
        return self.state_conv.weight_grad(gates, self.concat_frames(previous), weight)

    def peephole_gradients(self, d_gates, state, c):
        """The gradients of the peephole weights, from all steps at once.

        A first step without a state adds nothing to those of i and f.

        Args:
            d_gates: for each step the gradients of its gates, after their norm.
            state: (h, c) before the first step, or ().
            c: the c of every step.
        """
        if not self.has_peepholes:
            return ()
        gates = self.concat_frames(d_gates)
        d_o = self.peephole_gradient(gates, 3, c)
        if len(state) == 0:
            if len(c) == 1:
                return ops.zeros_like(d_o), ops.zeros_like(d_o), d_o
            previous, gates = c[:-1], self.concat_frames(d_gates[1:])
        else:
            previous = (state[1],) + c[:-1]
        d_i = self.peephole_gradient(gates, 0, previous)
        return d_i, self.peephole_gradient(gates, 1, previous), d_o

    def peephole_gradient(self, gates, which, c):
        """The gradient of one gate's peephole weights.

        Args:
            gates: the gradients of the gates of all steps.
            which: the gate's place among i, f, g, o.
            c: the c that the gate saw in each step.
        """
        gate = self.split(gates)[which]
        c = (ops.depend(c[0], gates),) + c[1:]
        return self.channel_sums(gate * self.concat_frames(c))


def as_frames(x):
    """x, (T, B, C, H, W), as (T * B, C, H, W)."""
    return x.reshape((-1,) + x.shape[2:])


def depend_on(tensors, event):
    """The same tensors, available only once `event` has been computed.

    To the compiler they are new tensors, so it does not merge what is computed from them with the
    same computation done earlier.
    """
    return tuple([ops.depend(tensor, event) for tensor in tensors])


def sum_each(parts):
    """Adds up tuples of tensors element by element; empty tuples make an empty one."""
    if len(parts) == 1 or len(parts[0]) == 0:
        return parts[0]
    return tuple([ops.addn([part[k] for part in parts]) for k in range(len(parts[0]))])
