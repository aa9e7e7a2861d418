"""The two published networks that weights come from, layer by layer, in PyTorch.

Written from their descriptions: `Published2020` is that of jhhuang96/ConvLSTM-PyTorch, whose
parameters it names as there; `Published2022` that of lyqcom/convlstm, which had no biases, a 3x3
last kernel, and the gates in the order i, f, o, g. Both run in plain steps on [x, h].
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.functional import leaky_relu

KERNEL = {"kernel_size": 5, "padding": 2}


def gate_layers(channels, hidden, bias=True):
    """Convolution and norm over the gates of one cell."""
    return nn.Sequential(
        nn.Conv2d(channels + hidden, 4 * hidden, **KERNEL, bias=bias),
        nn.GroupNorm(4 * hidden // 32, 4 * hidden),
    )


def run(gate_layers, order, frames, state):
    """The h of every step and the last state."""
    h, c = state
    outputs = []
    for x in frames:
        gates = gate_layers(torch.cat((x, h), 1)).chunk(4, 1)
        gate = dict(zip(order, gates, strict=True))
        c = gate["f"].sigmoid() * c + gate["i"].sigmoid() * gate["g"].tanh()
        h = gate["o"].sigmoid() * c.tanh()
        outputs.append(h)
    return outputs, (h, c)


def forecast(encoder, forecaster, order, inputs, steps):
    """Frames from frames, (B, T, C, H, W).

    `encoder` and `forecaster` list (layers of the gates, convolutions); the forecaster's from the
    coarsest to the finest.
    """
    frames, states = list(inputs.unbind(1)), []
    for gates, convs in encoder:
        frames = [leaky_relu(convs(x), 0.2) for x in frames]
        hidden = gates[0].out_channels // 4
        zeros = torch.zeros(len(inputs), hidden, *frames[0].shape[2:])
        frames, state = run(gates, order, frames, (zeros, zeros))
        states.append(state)
    frames = [torch.zeros_like(states[-1][0])] * steps
    for gates, convs in forecaster:
        frames, _ = run(gates, order, frames, states.pop())
        for conv in convs:
            frames = [leaky_relu(conv(x), 0.2) for x in frames]
    return torch.stack(frames, 1)


def named(**layers):
    return nn.Sequential(OrderedDict(layers))


def cell(channels, hidden):
    return nn.ModuleDict({"conv": gate_layers(channels, hidden)})


class Published2020(nn.Module):
    """9,032,225 parameters; the last kernel's side is 1 there."""

    def __init__(self, last_kernel_size=1):
        super().__init__()
        last = nn.Conv2d(16, 1, last_kernel_size, padding=last_kernel_size // 2)
        self.encoder = nn.ModuleDict(
            {
                "stage1": named(conv1_leaky_1=nn.Conv2d(1, 16, 3, 1, 1)),
                "rnn1": cell(16, 64),
                "stage2": named(conv2_leaky_1=nn.Conv2d(64, 64, 3, 2, 1)),
                "rnn2": cell(64, 96),
                "stage3": named(conv3_leaky_1=nn.Conv2d(96, 96, 3, 2, 1)),
                "rnn3": cell(96, 96),
            }
        )
        self.decoder = nn.ModuleDict(
            {
                "rnn3": cell(96, 96),
                "stage3": named(deconv1_leaky_1=nn.ConvTranspose2d(96, 96, 4, 2, 1)),
                "rnn2": cell(96, 96),
                "stage2": named(deconv2_leaky_1=nn.ConvTranspose2d(96, 96, 4, 2, 1)),
                "rnn1": cell(96, 64),
                "stage1": named(
                    conv3_leaky_1=nn.Conv2d(64, 16, 3, 1, 1),
                    conv4_leaky_1=last,
                ),
            }
        )

    def forward(self, inputs, steps):
        def pairs(part, stages):
            return [(part[f"rnn{k}"]["conv"], part[f"stage{k}"]) for k in stages]

        encoder, forecaster = pairs(self.encoder, (1, 2, 3)), pairs(self.decoder, (3, 2, 1))
        return forecast(encoder, forecaster, "ifgo", inputs, steps)


class Published2022(nn.Module):
    """9,029,920 parameters."""

    def __init__(self):
        super().__init__()
        self.en_conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.en_conv2 = nn.Conv2d(64, 64, 3, 2, 1, bias=False)
        self.en_conv3 = nn.Conv2d(96, 96, 3, 2, 1, bias=False)
        self.en_rnn1 = gate_layers(16, 64, bias=False)
        self.en_rnn2 = gate_layers(64, 96, bias=False)
        self.en_rnn3 = gate_layers(96, 96, bias=False)
        self.dn_conv1 = nn.ConvTranspose2d(96, 96, 4, 2, 1, bias=False)
        self.dn_conv2 = nn.ConvTranspose2d(96, 96, 4, 2, 1, bias=False)
        self.dn_conv3 = nn.Conv2d(64, 16, 3, 1, 1, bias=False)
        self.dn_conv4 = nn.Conv2d(16, 1, 3, 1, 1, bias=False)
        self.dn_rnn1 = gate_layers(96, 96, bias=False)
        self.dn_rnn2 = gate_layers(96, 96, bias=False)
        self.dn_rnn3 = gate_layers(96, 64, bias=False)

    def forward(self, inputs, steps):
        encoder = [
            (self.en_rnn1, self.en_conv1),
            (self.en_rnn2, self.en_conv2),
            (self.en_rnn3, self.en_conv3),
        ]
        forecaster = [
            (self.dn_rnn1, [self.dn_conv1]),
            (self.dn_rnn2, [self.dn_conv2]),
            (self.dn_rnn3, [self.dn_conv3, self.dn_conv4]),
        ]
        return forecast(encoder, forecaster, "ifog", inputs, steps)

    def mindspore_entries(self):
        """Its parameters under the names that MindSpore gives them."""
        names = {".0.weight": ".conv.weight", ".1.weight": ".gro.gamma", ".1.bias": ".gro.beta"}
        for name, tensor in self.state_dict().items():
            for theirs, in_mindspore in names.items():
                if name.endswith(theirs):
                    name = name.removesuffix(theirs) + in_mindspore
            yield name, tensor.numpy()
