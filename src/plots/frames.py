"""Pictures of one forecast: a PNG strip of its frames, and an animated GIF.

The error of pixels is the absolute one, over the whole value range. That of other data is forecast
less truth, in colours that reach as far as nearly all errors of the picture.
"""

import io
import math
import textwrap
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from src.plots.colours import (
    ERROR_COLOURS,
    ERRORS,
    LOW_BAR,
    PERCENTILE,
    RAIN_ERRORS,
    ColorScale,
    colour_map,
)
from src.runtime.files import write_atomically

DPI = 120
# In pixels: the longer side of a frame in a strip and in an animation, the least width of a frame
# below its number, the gap between frames, the width of a letter.
PANEL, SCREEN, NARROWEST, GAP, PIXELS_PER_LETTER = 112, 260, 60, 6, 7
MAX_COLUMNS = 20
# The least width of a colour bar with its numbers and its label, that of the bar alone, and the
# height of a line of its label.
BAR_WIDTH, BAR, LINE = 70, 10, 13
NO_BREAK = "\u00a0"
# Long, narrow frames, a belt of the tropics for example, are enlarged until their shorter side has
# LOWEST pixels or the row has WIDEST.
LOWEST, WIDEST = 32, 2400
FRAME_MILLISECONDS = 200
LAST_FRAME_MILLISECONDS = 1000
OUTLINE = {"fill": False, "edgecolor": "#888888", "linewidth": 0.5, "clip_on": False}
INPUT_COLOUR, FORECAST_COLOUR = "#0072b2", "#d55e00"


def draw_strip(path, inputs, forecast, truth=None, colors=None, step=None):
    """Writes a PNG with rows of frames: inputs, truth, forecast and absolute error.

    Without a truth there are inputs and forecast only. Three channels are shown as RGB, otherwise
    only the first channel is shown. Missing values, NaN, are grey.

    Args:
        path: the file, *.png.
        inputs: (T, C, H, W), float, in the data's units.
        forecast: (F, C, H, W), not clipped.
        truth: (F, C, H, W), or None.
        colors: the `ColorScale` of the values; default: grey levels in [0, 1].
        step: the `LeadStep` from frame to frame, by which frames are numbered; None: from 1.

    Raises:
        ValueError: the shapes do not match, or the value range is empty.
        DiskError: the file cannot be written.
    """
    figure = strip_figure(inputs, forecast, truth, colors, step)
    write_atomically(path, [png_of(figure)])


def draw_animation(path, inputs, forecast, truth=None, colors=None, step=None):
    """Writes a GIF of truth and forecast side by side, an image for each frame of the sequence.

    Both sides begin with the inputs. Without a truth there is only the forecast.

    Args:
        path: the file, *.gif.
        inputs, forecast, truth, colors, step: as in `draw_strip`.

    Raises:
        ValueError, DiskError: as in `draw_strip`.
    """
    first, *others = [
        Image.fromarray(image) for image in animation_frames(inputs, forecast, truth, colors, step)
    ]
    durations = [FRAME_MILLISECONDS] * len(others) + [LAST_FRAME_MILLISECONDS]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    write_atomically(path, [buffer.getvalue()])


def png_of(figure):
    """The bytes of a figure as PNG."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def squared_errors(forecast, truth, colors=None):
    """The MSE of each frame as `src.evaluation.metrics` defines it: scaled to [0, 1], summed over
    the valid values.
    """
    colors = colors or ColorScale()
    error = colors.scaled(forecast) - colors.scaled(truth)
    return np.nansum(error**2, (1, 2, 3))


def strip_figure(inputs, forecast, truth=None, colors=None, step=None):
    """The figure of `draw_strip`: an axes for each row, with an image for each frame shown.

    The numbers are tick labels. After the rows come the axes of the colour bars: of the error and,
    unless they are grey levels, of the values.
    """
    colors = colors or ColorScale()
    _check(inputs, forecast, truth, colors)
    past, future = _shown(len(inputs)), _shown(len(forecast))
    frames = len(inputs) + 1 + future
    if step:
        frames = _signed(step.lead(1 + future))
    numbers = _signed(step.lead(past + 1 - len(inputs))) if step else past + 1
    rows = [("input", _as_images(inputs, colors)[past], numbers, *colors.colours)]
    if truth is not None:
        rows.append(("truth", _as_images(truth, colors)[future], frames, *colors.colours))
    rows.append(("forecast", _as_images(forecast, colors)[future], frames, *colors.colours))
    errors = None
    if truth is not None:
        errors = _Errors.of(forecast, truth, colors)
        squared = [f"{n:.1f}" for n in squared_errors(forecast, truth, colors)[future]]
        rows.append((errors.label, errors.images[future], squared, errors.colours, errors.norm))
    shown = (len(past) + len(future), len(inputs) + len(forecast))
    note = _note(inputs.shape[1], colors, errors, step, *shown)
    columns = max(len(past), len(future))
    figure, grid = _canvas(len(rows), columns, inputs.shape, note, colors, errors)
    for axes, row in zip(grid, rows, strict=True):
        _draw_row(axes, *row, outlined=not colors.is_of_pixels)
    if truth is not None:
        grid[2].set_xticks([])
        _finish_errors(figure, grid[3], errors)
    if not colors.is_of_pixels and inputs.shape[1] != 3:
        row = grid[1]
        bar = _add_bar(figure, row, _end_of(row), colors.ticks(row.bbox.height))
        _label_bar(bar, colors.label)
    return figure


@dataclass(frozen=True)
class _Errors:
    """The errors of a forecast as a strip shows them.

    Args:
        images: (F, H, W).
        label: what they are, in the margin.
        colours, norm: their colour map and its norm.
        ticks: positions and texts of the numbers beside their colour bar.
    """

    images: np.ndarray
    label: str
    colours: object
    norm: object
    ticks: tuple

    @classmethod
    def of(cls, forecast, truth, colors):
        """The errors of a forecast (F, C, H, W): absolute ones of pixels and of three channels,
        whose mean they are; else forecast less truth of the channel that is shown.
        """
        error = np.asarray(forecast, np.float64) - truth
        if colors.is_of_pixels or error.shape[1] == 3:
            width = colors.value_range[1] - colors.value_range[0]
            error = np.abs(error).mean(1) if error.shape[1] == 3 else np.abs(error)[:, 0]
            ticks = [0, 1], ["0", f"{width:.4g}"]
            colours, norm = colour_map(ERROR_COLOURS), Normalize(0, 1)
            return cls(error / width, "absolute\nerror", colours, norm, ticks)
        largest = _usual_error(error[:, 0])
        ticks = [-largest, 0, largest]
        return cls(
            error[:, 0],
            "forecast\nless truth",
            colour_map(RAIN_ERRORS if colors.classes else ERRORS),
            Normalize(-largest, largest),
            (ticks, [f"{tick:+g}" if tick else "0" for tick in ticks]),
        )


def _usual_error(error):
    """What all but a few errors stay below, to two digits; 1 if there is none."""
    sizes = np.abs(error[np.isfinite(error)])
    largest = sizes.max(initial=0)
    if not largest:
        return 1.0
    return float(f"{np.percentile(sizes[sizes >= largest / 100], PERCENTILE):.2g}")


def _draw_row(axes, label, images, numbers, colours, norm, outlined):
    """Draws images side by side with a number above each, outlined where they may be as white as
    the page; the units of the axes are pixels.
    """
    low, high = axes.get_ylim()[::-1]
    width = (high - low) * images.shape[2] / images.shape[1]
    starts = np.arange(len(images)) * (width + GAP)
    for image, start in zip(images, starts, strict=True):
        _show(axes, image, colours, norm, (start, start + width, high, low))
        if outlined:
            axes.add_patch(Rectangle((start, low), width, high - low, **OUTLINE))
    axes.set_yticks([])
    axes.set_xticks(starts + width / 2, numbers)
    axes.set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center", labelpad=5)


def _show(axes, image, colours, norm, place=None):
    """Draws an image at a place in the axes, or over the whole axes."""
    shown = axes.imshow(image, cmap=colours, norm=norm, extent=place, aspect="auto")
    left, right = shown.get_extent()[:2]
    if (right - left) / np.ptp(axes.get_xlim()) * axes.bbox.width > image.shape[1] - 1:
        # By default matplotlib blurs images that are not enlarged by a whole number.
        shown.set_interpolation("nearest")
    return shown


def _finish_errors(figure, axes, errors):
    """Puts the MSE below the row of errors, and a bar in the data's units beside it."""
    axes.xaxis.tick_bottom()
    axes.tick_params(length=0, labelsize=8, pad=2)
    axes.annotate(
        "MSE",
        (0, 0),
        (-4, -3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8,
    )
    _add_bar(figure, axes, _end_of(axes), errors.ticks)


def _end_of(axes):
    """Where the images of a row end, in the figure's width."""
    pixel = 1 / axes.figure.bbox.width
    return axes.get_position().x0 + axes.images[-1].get_extent()[1] * pixel


def _add_bar(figure, axes, right, ticks):
    """Adds a colour bar to an axes whose images end at `right`; `ticks` are positions and texts."""
    box, pixel = axes.get_position(), 1 / figure.bbox.width
    bar = figure.add_axes((right + GAP * pixel, box.y0, BAR * pixel, box.height))
    figure.colorbar(axes.images[0], cax=bar, ticks=ticks[0])
    bar.minorticks_off()
    bar.set_yticks(*ticks)
    bar.tick_params(labelsize=7, length=2, pad=1)
    return bar


def _label_bar(bar, label):
    """Writes a label beside a colour bar, in lines that are no longer than the bar."""
    bar.set_ylabel("\n".join(_label_lines(label, bar.bbox.height)), fontsize=7, labelpad=2)


def _label_lines(label, height):
    """The lines of a colour bar's label, with the units in one; none beside a low bar."""
    if height < LOW_BAR:
        return []
    name, bracket, units = label.replace("_", " ").partition(" (")
    text = name + bracket + units.replace(" ", NO_BREAK)
    lines = textwrap.wrap(text, max(1, round(height / PIXELS_PER_LETTER)))
    return [line.replace(NO_BREAK, " ") for line in lines]


def _bar_width(height, colors, errors=None):
    """The width in pixels that the colour bars beside rows of some height need with their texts."""
    lines = _label_lines(colors.label, height)
    texts = colors.ticks(height)[1] + (errors.ticks[1] if errors else [])
    longest = max(map(len, texts)) * PIXELS_PER_LETTER
    return max(BAR_WIDTH, GAP + BAR + 6 + longest + len(lines) * LINE + GAP)


def _canvas(rows, columns, shape, note, colors, errors):
    """A figure with an axes for each row, wide enough for `columns` frames, in whole pixels."""
    height, width = _panel_size(*shape[2:], PANEL)
    larger = min(LOWEST / min(height, width), WIDEST / (columns * width))
    if larger > 1:
        height = round(larger * height)
    # As wide as a row draws it, by the height: that of a low frame is rounded by much of itself.
    width = math.ceil(height * shape[3] / shape[2])
    left, right, top, row_gap = 90, _bar_width(height, colors, errors), 26, 24
    inner = max(columns, 4) * (width + GAP)
    lines = textwrap.wrap(note, (left + inner + right) // PIXELS_PER_LETTER)
    size = left + inner + right, top + rows * (height + row_gap) + 18 + 14 * len(lines)
    figure = Figure((size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    figure.text(8 / size[0], 8 / size[1], "\n".join(lines), fontsize=7, color="#555555")
    grid = []
    for row in range(rows):
        y = size[1] - top - height - row * (height + row_gap)
        place = left / size[0], y / size[1], inner / size[0], height / size[1]
        axes = figure.add_axes(place, frame_on=False)
        axes.set(xlim=(0, inner), ylim=(height, 0))
        axes.autoscale(False)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=8, pad=2)
        grid.append(axes)
    return figure, grid


def _panel_size(height, width, longest):
    """The size of a drawn frame: a small one is enlarged by a whole number, so that it is crisp."""
    scale = max(longest / max(height, width), NARROWEST / width)
    if scale > 1:
        scale = round(scale)
    return round(height * scale), round(width * scale)


def _note(channels, colors, errors, step, shown, frames):
    """The line below a strip that explains its numbers and colours."""
    low, high = colors.value_range
    above = f"{step.unit} from the last input frame" if step else "number of the frame"
    parts = [f"above: {above}"]
    if errors is not None:
        scale = "" if colors.transform == "none" else f" by transform {colors.transform}"
        if scale or (low, high) != (0, 1):
            scale = f", frames scaled from [{low:g}, {high:g}] to [0, 1]{scale}"
        parts.append(f"MSE: squared error summed over a frame{scale}")
    if colors.label:
        parts.append(f"colours: {colors.label}; grey: missing")
    if colors.classes and channels != 3:
        parts.append(f"white: below {colors.classes[0]:g}")
    if channels not in (1, 3):
        parts.append(f"shown: the first of {channels} channels")
    if shown < frames:
        parts.append(f"shown: {shown} of {frames} frames")
    return "; ".join(parts)


def _signed(leads):
    """Lead times as text, the ones after the last input with a plus."""
    return [f"{lead:+.6g}" if lead else "0" for lead in leads]


def _shown(count):
    """The indices of the frames that a row shows: all, or evenly spread ones of a long sequence."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_COLUMNS)).round().astype(int))


def animation_frames(inputs, forecast, truth=None, colors=None, step=None):
    """Yields the images of `draw_animation`, (height, width, 3), uint8."""
    colors = colors or ColorScale()
    _check(inputs, forecast, truth, colors)
    sides = {"forecast": forecast} if truth is None else {"truth": truth, "forecast": forecast}
    films = [_as_images(np.concatenate((inputs, frames)), colors) for frames in sides.values()]
    has_bar = not colors.is_of_pixels and inputs.shape[1] != 3
    figure, panels = _screen(len(films), inputs.shape, colors if has_bar else None)
    canvas = FigureCanvasAgg(figure)
    pictures = [
        _show(panel, film[0], *colors.colours) for panel, film in zip(panels, films, strict=True)
    ]
    if has_bar:
        ticks = colors.ticks(panels[-1].bbox.height)
        bar = _add_bar(figure, panels[-1], panels[-1].get_position().x1, ticks)
        _label_bar(bar, colors.label)
    headline = figure.text(0.5, 1 - 8 / figure.bbox.height, "", ha="center", va="top", fontsize=11)
    for frame in range(len(films[0])):
        is_input = frame < len(inputs)
        colour = INPUT_COLOUR if is_input else FORECAST_COLOUR
        text = f"frame {frame + 1} of {len(films[0])}"
        if step:
            (lead,) = _signed([step.lead(frame + 1 - len(inputs))])
            text += f", {lead} {step.unit}"
        headline.set_text(text)
        for name, panel, picture, film in zip(sides, panels, pictures, films, strict=True):
            picture.set_data(film[frame])
            panel.set_title("input" if is_input else name, fontsize=11, color=colour, pad=5)
            panel.spines[:].set(color=colour, linewidth=2)
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _screen(count, shape, colors):
    """A figure with `count` axes side by side, in whole pixels, and room for the colour bar of a
    `ColorScale` beside them, if there is one.
    """
    height, width = _panel_size(*shape[2:], SCREEN)
    margin, top, right = 18, 72, _bar_width(height, colors) if colors else 0
    size = margin + count * (width + margin) + right, top + height + margin
    figure = Figure((size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    panels = []
    for k in range(count):
        x = margin + k * (width + margin)
        place = x / size[0], margin / size[1], width / size[0], height / size[1]
        panels.append(figure.add_axes(place, xticks=[], yticks=[]))
    return figure, panels


def _as_images(frames, colors):
    """Frames as images, (T, H, W), or (T, H, W, 3) for three channels, scaled to [0, 1]; rain
    stays in its units.
    """
    if colors.classes and frames.shape[1] != 3:
        return np.asarray(frames, np.float64)[:, 0]
    scaled = np.clip(colors.scaled(frames), 0, 1)
    return scaled.transpose(0, 2, 3, 1) if frames.shape[1] == 3 else scaled[:, 0]


def _check(inputs, forecast, truth, colors):
    """Raises `ValueError` unless the arrays can be of one sequence."""
    low, high = colors.value_range
    if not low < high:
        raise ValueError(f"value_range is {low} {high}: the first must be the smaller one")
    if inputs.ndim != 4 or forecast.ndim != 4 or inputs.shape[1:] != forecast.shape[1:]:
        raise ValueError(
            f"inputs and forecast have the shapes {inputs.shape} and {forecast.shape}: both must "
            "be (T, C, H, W) with the same C, H and W"
        )
    if truth is not None and truth.shape != forecast.shape:
        raise ValueError(f"truth has the shape {truth.shape}: it must be {forecast.shape}")
