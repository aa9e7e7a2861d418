"""Draws docs/figures: the ConvLSTM cell and the networks of the presets.

python scripts/draw_figures.py
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from src.config.presets import PRESETS  # noqa: E402

FIGURES = ROOT / "docs" / "figures"
COLOURS = {"data": "#f0f0f0", "conv": "#cfe3f5", "lstm": "#fbe3c0", "gate": "#d9ecd2"}


def box(axes, x, y, width, height, text, kind):
    """A rounded box with text, centred on (x, y)."""
    corner = x - width / 2, y - height / 2
    shape = "round,pad=0,rounding_size=0.12"
    style = {"fc": COLOURS[kind], "ec": "#333333", "lw": 0.8}
    axes.add_patch(FancyBboxPatch(corner, width, height, shape, **style))
    axes.text(x, y, text, ha="center", va="center", fontsize=8)


def arrow(axes, start, end, text=""):
    """An arrow with a label above its middle."""
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "lw": 0.9, "color": "#333333"}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    axes.text(x, y + 0.12, text, ha="center", va="bottom", fontsize=7)


def canvas(width, height, size):
    """A figure of `size` inches and its axes, without a frame."""
    figure, axes = plt.subplots(figsize=size)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure, axes


def draw_cell():
    """Draws a ConvLSTM step: convolutions of input and state, four gates, two states."""
    figure, axes = canvas(15, 6.4, (9, 3.9))
    box(axes, 1.3, 4.2, 1.8, 0.8, "$x_t$\nC × H × W", "data")
    box(axes, 1.3, 2.2, 1.8, 0.8, "$h_{t-1}$\nh × H × W", "data")
    box(axes, 1.3, 0.7, 1.8, 0.8, "$c_{t-1}$\nh × H × W", "data")
    box(axes, 4.3, 4.2, 2.2, 0.8, "$W_x *$  k × k conv\nall t at once", "conv")
    box(axes, 4.3, 2.2, 2.2, 0.8, "$W_h *$  k × k conv\nstep by step", "conv")
    box(axes, 6.9, 3.2, 1.7, 0.9, "+ b\n(GroupNorm)", "conv")
    gates = ("i = σ  input", "f = σ  forget", "g = tanh  content", "o = σ  output")
    for text, y in zip(gates, (5.4, 4.2, 3.0, 1.8), strict=True):
        box(axes, 9.6, y, 2.4, 0.7, text, "gate")
        arrow(axes, (7.75, 3.2), (8.4, y))
    box(axes, 13.0, 4.2, 2.9, 0.9, "$c_t = f \\circ c_{t-1} + i \\circ g$", "lstm")
    box(axes, 13.0, 2.2, 2.9, 0.9, "$h_t = o \\circ \\tanh(c_t)$", "lstm")
    for y in (5.4, 4.2, 3.0):
        arrow(axes, (10.8, y), (11.55, 4.2))
    arrow(axes, (10.8, 1.8), (11.55, 2.2))
    arrow(axes, (13.0, 3.75), (13.0, 2.65))
    arrow(axes, (2.2, 4.2), (3.2, 4.2))
    arrow(axes, (2.2, 2.2), (3.2, 2.2))
    arrow(axes, (5.4, 4.2), (6.05, 3.35))
    arrow(axes, (5.4, 2.2), (6.05, 3.05))
    axes.plot([2.2, 14.75, 14.75], [0.7, 0.7, 4.2], color="#333333", lw=0.9)
    arrow(axes, (14.75, 4.2), (14.46, 4.2))
    save(figure, "cell")


def draw_network(name):
    """Draws the encoder-forecaster of a preset, with the finest stage at the bottom."""
    config = PRESETS[name].model
    count, row = len(config.stages), 2.4
    figure, axes = canvas(13, row * count + 1.1, (8, 1.5 * count + 0.7))
    left, right, side = 3.2, 9.8, 64 // config.patch_size
    patches = f" ({config.patch_size}×{config.patch_size} patches)" if config.patch_size > 1 else ""
    folded = f"{config.patch_size**2} × {side}²{patches}"
    box(axes, left, 0.6, 3.6, 0.8, f"10 input frames\n{folded}", "data")
    box(axes, right, 0.6, 3.6, 0.8, f"10 forecast frames\n{folded}", "data")
    for k, stage in enumerate(config.stages):
        side //= stage.stride
        y, hidden = row * (k + 1) + 0.4, stage.hidden_channels
        label = f"ConvLSTM {hidden}, {config.kernel_size}×{config.kernel_size}\n{hidden} × {side}²"
        box(axes, left, y, 3.6, 0.9, label, "lstm")
        box(axes, right, y, 3.6, 0.9, label + (", no input" if k == count - 1 else ""), "lstm")
        arrow(axes, (left + 1.8, y), (right - 1.8, y), "last $h, c$")
        below = 1.0 if k == 0 else y - row + 0.45
        arrow(axes, (left, below), (left, y - 0.45))
        arrow(axes, (right, y - 0.45), (right, below))
        middle = (below + y - 0.45) / 2
        if stage.conv_channels:
            text = f"conv 3×3, {stage.conv_channels}, stride {stage.stride}"
            box(axes, left, middle, 3.2, 0.5, text, "conv")
        if k and stage.conv_channels:
            text = f"transposed conv 4×4, {hidden}, stride {stage.stride}"
            box(axes, right, middle, 4.2, 0.5, text, "conv")
        if k == 0:
            size = config.output_kernel_size
            last = f"conv {size}×{size}, {config.patch_size**2}"
            first = f"conv 3×3, {config.head_channels}" if config.head_channels else "all states"
            text = f"{first}; {last}; {config.output_activation}"
            box(axes, right, middle, 4.6, 0.5, text, "conv")
    save(figure, name)


def save(figure, name):
    """Writes the figure as SVG, without a date, so that the file changes only with the drawing."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{name}.svg"
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    print(path)


if __name__ == "__main__":
    plt.rcParams.update({"svg.hashsalt": "convlstm", "font.family": "DejaVu Sans"})
    draw_cell()
    for preset in PRESETS:
        draw_network(preset)
