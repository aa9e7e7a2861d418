"""An `EncoderForecaster` as an ONNX graph.

MindSpore's own exporter supports neither GroupNorm nor a free batch size, and cannot write the
convolutions of this network. So the graph is built here a second time, from operators of opset 13,
or of 16 where frames are moved along a flow, and `exporter.export` compares its output with the
network's.

Shapes: frames are (T * B, C, H, W) with time slowest, so that B may stay free.
"""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from src.model.convlstm import GATE_GROUP
from src.model.forecaster import SLOPE
from src.model.norm import EPSILON

# GridSample, which moves frames along a flow, came with opset 16.
OPSET, FLOW_OPSET = 13, 16
# Supported by every onnxruntime since 2022.
IR_VERSION = 8
INPUT, OUTPUT = "frames", "forecast"


class Graph:
    """Collects the nodes and constants of a graph."""

    def __init__(self):
        self.nodes, self.constants = [], {}

    def add(self, operator, *inputs, outputs=1, **attributes):
        """Adds a node; returns the name of its output, or a list of names if it has several."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, array):
        """Stores an array under a name; returns the name."""
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def reshape(self, x, *shape):
        """Adds a reshape, in which one side may be -1; returns the name of its output."""
        name = f"shape_{'_'.join(map(str, shape))}"
        return self.add("Reshape", x, self.constant(name, np.array(shape, np.int64)))


class Builder:
    """Builds the graph of a network.

    Args:
        network: an `EncoderForecaster` with its weights.
        input_frames: frames that the network reads.
        image_size: height and width in pixels.
    """

    def __init__(self, network, input_frames, image_size):
        self.config = network.config
        self.input_frames, self.forecast_frames = input_frames, network.forecast_frames
        self.image_size = tuple(image_size)
        self.has_flow = network.has_flow
        self.graph = Graph()
        for p in network.get_parameters():
            per_channel = p.name.endswith((".gamma", ".beta"))
            self.graph.constant(
                p.name, p.asnumpy().reshape(1, -1, 1, 1) if per_channel else p.asnumpy()
            )

    def model(self, batch):
        """The ONNX model with a batch size; None: any."""
        output = self.activate(self.head(self.forecast(self.encode())))
        pixels = (self.config.channels, *self.image_size)
        if self.has_flow:
            sizes = self.graph.constant("channels_and_flow", np.array([pixels[0], 2]))
            output, flow = self.graph.add("Split", output, sizes, outputs=2, axis=1)
        output = self.graph.reshape(output, self.forecast_frames, -1, *pixels)
        if self.config.residual:
            last = self.graph.constant("last_frame", np.array([-1]))
            by_time = self.graph.add("Transpose", INPUT, perm=[1, 0, 2, 3, 4])
            last = self.graph.add("Gather", by_time, last, axis=0)
            last = self.warp(last, flow) if self.has_flow else last
            output = self.graph.add("Add", output, last)
        self.graph.nodes.append(
            helper.make_node("Transpose", [output], [OUTPUT], perm=[1, 0, 2, 3, 4])
        )

        def tensor(name, frames):
            shape = ("batch" if batch is None else batch, frames, *pixels)
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            self.graph.nodes,
            "convlstm",
            [tensor(INPUT, self.input_frames)],
            [tensor(OUTPUT, self.forecast_frames)],
            list(self.graph.constants.values()),
        )
        opsets = [helper.make_opsetid("", FLOW_OPSET if self.has_flow else OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        checker.check_model(model, full_check=True)
        return model

    def encode(self):
        """The last h and c of each stage, with their height and width."""
        config, size = self.config, self.image_size
        x = self.graph.add("Transpose", INPUT, perm=[1, 0, 2, 3, 4])
        x = self.graph.reshape(x, -1, config.channels, *size)
        if config.patch_size > 1:
            x, size = self.to_patches(x), tuple(side // config.patch_size for side in size)
        states = []
        for k, stage in enumerate(config.stages):
            if stage.conv_channels:
                x = self.leaky_relu(self.conv(x, f"encoder_convs.{k}.0", 3, stage.stride))
                size = tuple(side // stage.stride for side in size)
            cell = f"encoder_layers.{k}.cell"
            x, state = self.layer(x, cell, stage, None, self.input_frames, size)
            states.append((state, size))
        return states

    def forecast(self, states):
        """The h of each stage over time, finest stage first."""
        x, outputs = None, []
        for k in reversed(range(len(states))):
            stage, (state, size) = self.config.stages[k], states[k]
            cell = f"forecaster_layers.{k}.cell"
            x, _ = self.layer(x, cell, stage, state, self.forecast_frames, size)
            outputs.insert(0, x)
            if k and stage.conv_channels:
                conv = f"forecaster_convs.{k - 1}.0"
                x = self.leaky_relu(
                    self.conv(x, conv, stage.stride + 2, stage.stride, "ConvTranspose", padding=1)
                )
        return outputs

    def head(self, outputs):
        """The output frames before their activation, (T * B, C, H, W)."""
        config = self.config
        if config.head_channels:
            x = self.leaky_relu(self.conv(outputs[0], "head_conv.0", 3))
        else:
            x = outputs[0] if len(outputs) == 1 else self.graph.add("Concat", *outputs, axis=1)
        x = self.conv(x, "output_conv", config.output_kernel_size)
        return self.from_patches(x) if config.patch_size > 1 else x

    def warp(self, last, flow):
        """The last frame moved along the flow, as `src.model.flow.Warp` does it.

        Args:
            last: (1, B, C, H, W).
            flow: (T * B, 2, H, W), in pixels a step.
        """
        add, constant = self.graph.add, self.graph.constant
        steps, (height, width) = self.forecast_frames, self.image_size
        leads = np.arange(1, steps + 1, dtype=np.float32).reshape(steps, 1, 1, 1, 1)
        scale = np.array([2 / max(side - 1, 1) for side in (width, height)], np.float32)
        sides = [np.linspace(-1, 1, side, dtype=np.float32) for side in (width, height)]
        base = np.stack(np.meshgrid(*sides)).astype(np.float32)
        flow = self.graph.reshape(flow, steps, -1, 2, height, width)
        flow = add("Mul", flow, constant("leads", leads * scale.reshape(1, 1, 2, 1, 1)))
        places = add("Sub", constant("places", base), flow)
        places = self.graph.reshape(places, -1, 2, height, width)
        places = add("Transpose", places, perm=[0, 2, 3, 1])
        frames = add("Concat", *[last] * steps, axis=0)
        frames = self.graph.reshape(frames, -1, self.config.channels, height, width)
        options = {"mode": "bilinear", "padding_mode": "border", "align_corners": 1}
        moved = add("GridSample", frames, places, **options)
        return self.graph.reshape(moved, steps, -1, self.config.channels, height, width)

    def activate(self, x):
        """The output activation."""
        kind = self.config.output_activation
        if kind == "sigmoid":
            return self.graph.add("Sigmoid", x)
        return self.leaky_relu(x) if kind == "leaky_relu" else x

    def layer(self, x, cell, stage, state, steps, size):
        """One ConvLSTM over time.

        Args:
            x: its inputs, or None for a layer without input.
            cell: the name of its cell.
            stage: its `Stage`.
            state: the first h and c, or None for zeros.
            steps: number of steps.
            size: height and width of its states.

        Returns:
            The h of every step, (T * B, h, H, W), and the last h and c.
        """
        add, config = self.graph.add, self.config
        input_gates = [None] * steps
        if x is not None:
            side = config.input_kernel_size or config.kernel_size
            gates = self.conv(x, f"{cell}.input_conv", side)
            input_gates = [gates] if steps == 1 else add("Split", gates, outputs=steps, axis=0)
        hs = []
        for gates in input_gates:
            if state is not None:
                conv, bias = f"{cell}.state_conv", gates is None
                state_gates = self.conv(state[0], conv, config.kernel_size, bias=bias)
                gates = state_gates if bias else add("Add", state_gates, gates)
            if config.group_norm:
                gates = self.group_norm(gates, f"{cell}.norm", 4 * stage.hidden_channels, size)
            state = self.step(gates, cell, state)
            hs.append(state[0])
        return (hs[0] if steps == 1 else add("Concat", *hs, axis=0)), state

    def step(self, gates, cell, state):
        """The next h and c from the gates and the previous state."""
        add = self.graph.add
        i, f, g, o = add("Split", gates, outputs=4, axis=1)

        def peephole(gate, letter, c):
            if not self.config.peepholes:
                return gate
            return add("Add", gate, add("Mul", c, f"{cell}.peephole_{letter}"))

        if state is not None:
            i, f = peephole(i, "i", state[1]), peephole(f, "f", state[1])
        c = add("Mul", add("Sigmoid", i), add("Tanh", g))
        if state is not None:
            c = add("Add", add("Mul", add("Sigmoid", f), state[1]), c)
        o = add("Sigmoid", peephole(o, "o", c))
        return add("Mul", o, add("Tanh", c)), c

    def conv(self, x, name, side, stride=1, operator="Conv", bias=True, padding=None):
        """A convolution with the weights of a name."""
        padding = side // 2 if padding is None else padding
        weights = [f"{name}.weight"] + [f"{name}.bias"] * bias
        sides = {"kernel_shape": [side] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self.graph.add(operator, x, *weights, **sides)

    def group_norm(self, x, name, channels, size):
        """GroupNorm, as an InstanceNormalization whose channels are the groups."""
        groups = channels // GATE_GROUP
        one = self.graph.constant(f"ones_{groups}", np.ones(groups, np.float32))
        zero = self.graph.constant(f"zeros_{groups}", np.zeros(groups, np.float32))
        x = self.graph.reshape(x, -1, groups, GATE_GROUP * size[0], size[1])
        x = self.graph.add("InstanceNormalization", x, one, zero, epsilon=EPSILON)
        x = self.graph.reshape(x, -1, channels, *size)
        x = self.graph.add("Mul", x, f"{name}.gamma")
        return self.graph.add("Add", x, f"{name}.beta")

    def to_patches(self, x):
        """Patches of r x r pixels become channels: (N, C, H, W) -> (N, C r r, H / r, W / r)."""
        c, r = self.config.channels, self.config.patch_size
        height, width = (side // r for side in self.image_size)
        x = self.graph.reshape(x, -1, c, height, r, width, r)
        x = self.graph.add("Transpose", x, perm=[0, 1, 3, 5, 2, 4])
        return self.graph.reshape(x, -1, c * r * r, height, width)

    def from_patches(self, x):
        """The inverse of `to_patches`: (N, C r r, H / r, W / r) -> (N, C, H, W), for frames and,
        where there is a flow, its two components.
        """
        c, r = self.config.channels + 2 * self.has_flow, self.config.patch_size
        height, width = (side // r for side in self.image_size)
        x = self.graph.reshape(x, -1, c, r, r, height, width)
        x = self.graph.add("Transpose", x, perm=[0, 1, 4, 2, 5, 3])
        return self.graph.reshape(x, -1, c, *self.image_size)

    def leaky_relu(self, x):
        """x where it is positive, else 0.2 x."""
        return self.graph.add("LeakyRelu", x, alpha=SLOPE)
