"""The encoder-forecaster in PyTorch, as the published network is written.

It has nothing in common with `src.model` but the equations: each step convolves [x, h], every state
starts as zeros, and the forecaster's top layer convolves an input of zeros.
"""

import mindspore as ms
import numpy as np
import torch
from torch import nn
from torch.nn import functional


class TwinCell(nn.Module):
    """One step on the concatenation of input and state."""

    def __init__(self, in_channels, hidden, config):
        super().__init__()
        self.in_channels, self.hidden = in_channels, hidden
        self.conv = nn.Conv2d(
            in_channels + hidden, 4 * hidden, config.kernel_size, padding=config.kernel_size // 2
        )
        self.norm = (
            nn.GroupNorm(4 * hidden // 32, 4 * hidden) if config.group_norm else nn.Identity()
        )
        if config.peepholes:
            for gate in "ifo":
                self.register_parameter(
                    f"peephole_{gate}", nn.Parameter(torch.zeros(1, hidden, 1, 1))
                )
        self.peepholes = config.peepholes

    def forward(self, x, state):
        h, c = state
        i, f, g, o = self.norm(self.conv(torch.cat([x, h], 1))).split(self.hidden, 1)
        if self.peepholes:
            i = i + self.peephole_i * c
            f = f + self.peephole_f * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if self.peepholes:
            o = o + self.peephole_o * c
        return torch.sigmoid(o) * torch.tanh(c), c


class Twin(nn.Module):
    """The network; `forward` gives logits of the forecast and of the encoder's next frames."""

    def __init__(self, config, forecast_frames):
        super().__init__()
        self.config, self.forecast_frames = config, forecast_frames
        stages, pixels = config.stages, config.channels * config.patch_size**2
        self.encoder_convs, self.encoder_cells = nn.ModuleList(), nn.ModuleList()
        below = pixels
        for stage in stages:
            self.encoder_convs.append(
                nn.Conv2d(below, stage.conv_channels, 3, stage.stride, 1)
                if stage.conv_channels
                else nn.Identity()
            )
            self.encoder_cells.append(
                TwinCell(stage.conv_channels or below, stage.hidden_channels, config)
            )
            below = stage.hidden_channels
        above = [stage.hidden_channels for stage in stages[1:]] + [stages[-1].hidden_channels]
        self.forecaster_cells = nn.ModuleList(
            TwinCell(a, stage.hidden_channels, config)
            for a, stage in zip(above, stages, strict=True)
        )
        self.forecaster_convs = nn.ModuleList(
            nn.ConvTranspose2d(s.hidden_channels, s.hidden_channels, s.stride + 2, s.stride, 1)
            if s.conv_channels
            else nn.Identity()
            for s in stages[1:]
        )
        head_in = stages[0].hidden_channels
        self.head_conv = (
            nn.Conv2d(head_in, config.head_channels, 3, 1, 1) if config.head_channels else None
        )
        out_in = config.head_channels or sum(stage.hidden_channels for stage in stages)
        flow = 2 * config.patch_size**2 if config.residual_from == "flow" else 0
        self.output_conv = nn.Conv2d(
            out_in, pixels + flow, config.output_kernel_size, padding=config.output_kernel_size // 2
        )

    def forward(self, inputs):
        encoder_outputs, states = self._encode(inputs)
        forecast = self._head(self._forecast(states), inputs[:, -1:])
        return forecast, self._head(encoder_outputs, inputs)

    def forecast(self, inputs):
        """The logits of the forecast alone."""
        return self._head(self._forecast(self._encode(inputs)[1]), inputs[:, -1:])

    def _encode(self, inputs):
        frames = [self._unshuffle(x) for x in inputs.unbind(1)]
        outputs, states = [], []
        for conv, cell in zip(self.encoder_convs, self.encoder_cells, strict=True):
            frames = [self._leaky(conv, x) for x in frames]
            zeros = torch.zeros(len(inputs), cell.hidden, *frames[0].shape[2:])
            frames, state = self._run(cell, frames, (zeros, zeros))
            outputs.append(frames)
            states.append(state)
        return outputs, states

    def _forecast(self, states):
        h = states[-1][0]
        top = torch.zeros(len(h), self.forecaster_cells[-1].in_channels, *h.shape[2:])
        outputs, frames = [], [top] * self.forecast_frames
        for k in reversed(range(len(states))):
            frames, _ = self._run(self.forecaster_cells[k], frames, states[k])
            outputs.insert(0, frames)
            if k:
                frames = [self._leaky(self.forecaster_convs[k - 1], x) for x in frames]
        return outputs

    def activate(self, logits):
        kind = self.config.output_activation
        if kind == "sigmoid":
            return torch.sigmoid(logits)
        return functional.leaky_relu(logits, 0.2) if kind == "leaky_relu" else logits

    def _unshuffle(self, x):
        return functional.pixel_unshuffle(x, self.config.patch_size)

    @staticmethod
    def _leaky(conv, x):
        return x if isinstance(conv, nn.Identity) else functional.leaky_relu(conv(x), 0.2)

    @staticmethod
    def _run(cell, frames, state):
        outputs = []
        for x in frames:
            state = cell(x, state)
            outputs.append(state[0])
        return outputs, state

    def _head(self, outputs, previous):
        logits = []
        for states in zip(*outputs, strict=True):
            x = self._leaky(self.head_conv, states[0]) if self.head_conv else torch.cat(states, 1)
            logits.append(functional.pixel_shuffle(self.output_conv(x), self.config.patch_size))
        frames = torch.stack(logits, 1)
        if self.config.residual_from == "flow":
            frames, flow = frames.split((self.config.channels, 2), 2)
            previous = self._warp(previous, flow)
        return frames + previous if self.config.residual else frames

    @staticmethod
    def _warp(previous, flow):
        """Each frame sampled at its pixels' positions less the flow, by PyTorch's grid_sample."""
        steps, (height, width) = flow.shape[1], flow.shape[3:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        moved = []
        for k in range(steps):
            lead, frame = (k + 1, 0) if previous.shape[1] == 1 else (1, k)
            x, y = columns - lead * flow[:, k, 0], rows - lead * flow[:, k, 1]
            grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), -1)
            options = {"padding_mode": "border", "align_corners": True}
            moved.append(functional.grid_sample(previous[:, frame], grid, **options))
        return torch.stack(moved, 1)


def pairs(network, twin):
    """Yields a parameter, a function that picks its counterpart out of the twin's, and the twin's.

    One parameter of the twin may hold several of ours.
    """
    for layers, cells in (
        (network.encoder_layers, twin.encoder_cells),
        (network.forecaster_layers, twin.forecaster_cells),
    ):
        for layer, cell in zip(layers, cells, strict=True):
            yield from cell_pairs(layer.cell, cell)
    for name in ("encoder_convs", "forecaster_convs"):
        for ours, theirs in zip(getattr(network, name), getattr(twin, name), strict=True):
            if not isinstance(theirs, nn.Identity):
                yield from conv_pairs(ours[0], theirs)
    if twin.head_conv:
        yield from conv_pairs(network.head_conv[0], twin.head_conv)
    yield from conv_pairs(network.output_conv, twin.output_conv)


def cell_pairs(ours, theirs):
    """As `pairs`, for one cell: the twin's one weight is [Wx, Wh]."""
    split = theirs.in_channels
    bias = ours.input_conv.bias if ours.has_input else ours.state_conv.bias
    if ours.has_input:
        yield ours.input_conv.weight, lambda w: w[:, :split], theirs.conv.weight
    yield ours.state_conv.weight, lambda w: w[:, split:], theirs.conv.weight
    yield bias, lambda w: w, theirs.conv.bias
    if ours.has_norm:
        yield ours.norm.gamma, lambda w: w, theirs.norm.weight
        yield ours.norm.beta, lambda w: w, theirs.norm.bias
    if ours.has_peepholes:
        for gate in "ifo":
            name = f"peephole_{gate}"
            yield getattr(ours, name), lambda w: w, getattr(theirs, name)


def conv_pairs(ours, theirs):
    """As `pairs`, for a convolution with bias."""
    yield ours.weight, lambda w: w, theirs.weight
    yield ours.bias, lambda w: w, theirs.bias


def randomise(pairs_, rng):
    """Gives each MindSpore parameter and its twin the same random numbers.

    They are small because MindSpore's tanh on a CPU is off by up to 1e-4 where its argument nears
    5.
    """
    for ours, pick, theirs in pairs_:
        value = rng.normal(scale=0.05, size=ours.shape).astype(np.float32)
        ours.set_data(ms.Tensor(value))
        with torch.no_grad():
            pick(theirs).copy_(torch.from_numpy(value))


def assert_same_gradient(got, wanted, name=""):
    """Compares to 1e-3 of the largest element: an absolute bound would pass wrong small ones."""
    scale = np.abs(np.asarray(wanted)).max()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3 * scale, err_msg=name)
