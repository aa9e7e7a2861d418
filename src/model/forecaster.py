r"""The encoder-forecaster: one Cell for every preset of `src/config`.

References:
    Shi et al. 2015, arXiv:1506.04214, section 3.2 (encoding-forecasting, states copied);
    Shi et al. 2017, arXiv:1706.03458 (strided stages, a forecaster that mirrors the encoder).

    encoder                              forecaster
    stage 3  conv, ConvLSTM  --state-->  ConvLSTM (no input), transposed conv
    stage 2  conv, ConvLSTM  --state-->  ConvLSTM, transposed conv
    stage 1  conv, ConvLSTM  --state-->  ConvLSTM, head

Shapes: (B, T, C, H, W) outside; time first, (T, B, C, H, W), inside. B batch, T time, C channels.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.model.convlstm import GATES, ConvLSTMCell, ConvLSTMLayer, per_frame, same_conv
from src.model.execution import Execution
from src.model.flow import Warp

SLOPE = 0.2
# The mean pixel of Moving MNIST is about 0.05, whose logit is -3: the network starts from the mean
# image.
MEAN_PIXEL_LOGIT = -3.0


class EncoderForecaster(nn.Cell):
    """Forecasts frames from frames.

    The encoder reads the input frames; the forecaster starts from the encoder's last states and
    runs on them alone: its top layer has no input.

    Args:
        config: the network, a `src.config.schema.ModelConfig`.
        forecast_frames: frames to forecast.
        execution: how to compute it, an `Execution`.

    Inputs:
        - **inputs** - (B, T, C, H, W), float32 in [0, 1]; `config.size_multiple` divides H and W.

    Outputs:
        (B, forecast_frames, C, H, W), float32; in [0, 1] where `output_activation` is a sigmoid.
        A residual network that is not trained yet repeats the last input frame. With
        `residual_from` "flow" the last frame is moved along a flow before the output is added.
    """

    def __init__(self, config, forecast_frames, execution=None):
        super().__init__()
        self.config = config
        self.execution = execution = execution or Execution()
        self.patch_size = config.patch_size
        self.forecast_frames = forecast_frames
        self.output_activation, self.residual = config.output_activation, config.residual
        self.reads_all_states = not config.head_channels
        hidden = [stage.hidden_channels for stage in config.stages]
        frame_channels = config.channels * config.patch_size**2
        self.has_flow, self.warp = config.residual_from == "flow", Warp()
        flow_channels = 2 * config.patch_size**2 if self.has_flow else 0

        convs, inputs, below = [], [], frame_channels
        for stage in config.stages:
            convs.append(_down(below, stage, execution))
            inputs.append(stage.conv_channels or below)
            below = stage.hidden_channels
        self.encoder_convs = nn.CellList(convs)
        self.encoder_layers = _layers(config, inputs, hidden, execution)
        self.forecaster_layers = _layers(config, hidden[1:] + [0], hidden, execution)
        self.forecaster_convs = nn.CellList([_up(stage, execution) for stage in config.stages[1:]])

        if self.reads_all_states:
            self.head_conv = nn.Identity()
        else:
            self.head_conv = nn.SequentialCell(
                same_conv(hidden[0], config.head_channels, 3), LeakyReLU(execution)
            )
        self.output_conv = same_conv(
            config.head_channels or sum(hidden),
            frame_channels + flow_channels,
            config.output_kernel_size,
        )
        if self.output_activation == "sigmoid":
            bias = np.full(frame_channels, MEAN_PIXEL_LOGIT, np.float32)
            self.output_conv.bias.set_data(Tensor(bias))
        if self.residual:
            weight = self.output_conv.weight
            weight.set_data(Tensor(np.zeros(weight.shape, np.float32)))
        self.leaky_relu = LeakyReLU(execution)
        if execution.float16:
            for _, cell in self.cells_and_names():
                if isinstance(cell, nn.Conv2d | nn.Conv2dTranspose):
                    cell.to_float(ms.float16)

    def kernel_matrices(self):
        """The kernels that an optimizer may treat as matrices, and how many matrices each one is.

        Returns:
            A dict by parameter name: 4 for a ConvLSTM's kernels, one matrix a gate; 1 for those of
            other convolutions. The output convolution is not listed: Muon is for hidden layers.
        """
        convs = [
            cell
            for _, cell in self.cells_and_names()
            if isinstance(cell, nn.Conv2d | nn.Conv2dTranspose) and cell is not self.output_conv
        ]
        matrices = {conv.weight.name: 1 for conv in convs}
        for layer in (*self.encoder_layers, *self.forecaster_layers):
            matrices |= {kernel.name: GATES for kernel in layer.cell.gate_kernels()}
        return matrices

    def construct(self, inputs):
        outputs = self.forecast(self.encode(inputs)[1])
        return self.activate(self.head(outputs, inputs[:, -1:]))

    def encode(self, inputs):
        """Runs the encoder.

        Args:
            inputs: (B, T, C, H, W).

        Returns:
            Two lists, finest layer first: each layer's h over time, (T, B, h, H', W'), and its last
            state, (h, c).
        """
        x = inputs.swapaxes(0, 1)
        steps = x.shape[0]
        if self.patch_size > 1:
            x = ops.pixel_unshuffle(x, self.patch_size)
        outputs, states = [], []
        for conv, layer in zip(self.encoder_convs, self.encoder_layers):
            x, state = layer(per_frame(conv, x), None, steps)
            outputs.append(x)
            states.append(state)
        return outputs, states

    def forecast(self, states, frames=None):
        """Runs the forecaster from the encoder's last states.

        Args:
            states: the last state of each layer, as `encode` returns them.
            frames: how many frames to forecast, a Python int; default: `forecast_frames`.

        Returns:
            Each layer's h over time, finest layer first.
        """
        steps = frames or self.forecast_frames
        top = len(states) - 1
        x = self.forecaster_layers[top](None, states[top], steps)[0]
        outputs = [x]
        for k in range(top - 1, -1, -1):
            x = per_frame(self.forecaster_convs[k], x)
            x = self.forecaster_layers[k](x, states[k], steps)[0]
            outputs = [x] + outputs
        return outputs

    def head(self, outputs, previous):
        """Turns each layer's h over time into frames, (B, T, C, H, W), before their activation.

        Args:
            outputs: the h of each layer, as `encode` and `forecast` return them.
            previous: (B, 1 or T, C, H, W), the frames to which a residual network adds its output.
        """
        x = ops.concat(outputs, 2) if self.reads_all_states else outputs[0]
        x = per_frame(self.output_conv, per_frame(self.head_conv, x))
        if self.execution.float16:
            x = x.astype(ms.float32)
        if self.patch_size > 1:
            x = ops.pixel_shuffle(x, self.patch_size)
        frames = x.swapaxes(0, 1)
        if self.has_flow:
            channels = self.config.channels
            previous = self.warp(previous, frames[:, :, channels:])
            frames = frames[:, :, :channels]
        return frames + previous if self.residual else frames

    def activate(self, x):
        """Applies the output activation to frames."""
        if self.output_activation == "sigmoid":
            return ops.sigmoid(x)
        return self.leaky_relu(x) if self.output_activation == "leaky_relu" else x


class LeakyReLU(nn.Cell):
    """Leaky ReLU of slope 0.2, in float32: made of ReLU on a CPU, of PReLU elsewhere.

    PReLU is one operator forward and one backward. On a CPU (20, 96, 64, 64) with its gradient
    takes 26 ms by ReLU, 108 ms by PReLU, and 110 ms by a maximum, as in `nn.LeakyReLU`.
    """

    def __init__(self, execution):
        super().__init__()
        self.on_cpu, self.float16 = execution.on_cpu, execution.float16
        self.prelu, self.slope = ops.PReLU(), Tensor([SLOPE], ms.float32)

    def construct(self, x):
        if self.float16:
            x = x.astype(ms.float32)
        if not self.on_cpu:
            return self.prelu(x, self.slope)
        return ops.relu(x) * (1 - SLOPE) + x * SLOPE


def _layers(config, in_channels, hidden_channels, execution):
    cells = [
        ConvLSTMCell(
            channels,
            hidden,
            config.kernel_size,
            config.input_kernel_size,
            config.group_norm,
            config.peepholes,
            execution,
        )
        for channels, hidden in zip(in_channels, hidden_channels, strict=True)
    ]
    return nn.CellList([ConvLSTMLayer(cell) for cell in cells])


def _down(in_channels, stage, execution):
    """The convolution that leads into a stage of the encoder."""
    if not stage.conv_channels:
        return nn.Identity()
    return nn.SequentialCell(
        same_conv(in_channels, stage.conv_channels, 3, stage.stride), LeakyReLU(execution)
    )


def _up(stage, execution):
    """The transposed convolution that leads out of a stage of the forecaster.

    With a stride of s, a kernel of s + 2 and a padding of 1 make frames exactly s times as big.
    """
    if not stage.conv_channels:
        return nn.Identity()
    hidden = stage.hidden_channels
    return nn.SequentialCell(
        nn.Conv2dTranspose(
            hidden,
            hidden,
            stage.stride + 2,
            stage.stride,
            "pad",
            1,
            has_bias=True,
            bias_init="zeros",
        ),
        LeakyReLU(execution),
    )
