"""Figures of curves: learning curves from metrics.csv, and scores over the lead time."""

import csv
import io
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from src import run_folder
from src.errors import InputError
from src.runtime.files import check_writable, write_atomically

# Okabe & Ito's colours, distinct for every kind of colour vision; the dashes help in print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = "osd^vPX"
# Published in the README of the public repository lyqcom/convlstm: Moving MNIST's official test set
# after 100 epochs of 10,000 sequences. Its SSIM is left out: it is of values that wrapped around as
# uint8.
MSE_2022 = (
    19.57088385925293, 22.804474285888674, 26.540182116699217, 29.597495532226564,
    32.90274191894531, 36.1155828125, 39.4725357421875, 42.654525384521484,
    46.08683151855469, 49.655734912109374,
)  # fmt: skip
SIZE_2022 = (64, 64)
KINDS = ("png", "svg", "pdf")
LEARNING = {
    "loss": "training loss (each run's own)",
    "val_mse": "validation MSE",
    "val_ssim": "validation SSIM",
    "learning_rate": "learning rate",
}
LOOKS = {
    "model": {"color": COLOURS[0], "linestyle": "-", "marker": "o"},
    "persistence": {"color": COLOURS[1], "linestyle": "--", "marker": "s"},
    "climatology": {"color": COLOURS[2], "linestyle": "-.", "marker": "d"},
    "extrapolation": {"color": COLOURS[3], "linestyle": ":", "marker": "^"},
}
TITLES = {
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "bias": "bias (mean error)",
    "csi": "CSI",
    "pod": "POD",
    "far": "FAR",
    "hss": "HSS",
    "frequency_bias": "frequency bias",
}
# Scores that are in [0, 1] by definition.
FRACTIONS = ("csi", "pod", "far", "fss")
PANEL = 2.6, 1.9


def read_metrics(run):
    """Reads the columns of a run's metrics.csv that the curves need.

    Args:
        run: the run's folder, or the file itself.

    Returns:
        A dict by column of float arrays of equal length, NaN where a row has no value. A last row
        that is still being written is left out.

    Raises:
        InputError: the file is missing, is not a metrics.csv, or has no row yet.
    """
    path = Path(run) / run_folder.METRICS if Path(run).is_dir() else Path(run)
    columns = ("sequences", "minutes", *LEARNING)
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}; name the folder of a run") from None
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: not a metrics.csv of train.py: it lacks the column {missing[0]}")
    if rows and None in rows[-1].values():
        rows.pop()
    if not rows:
        raise InputError(f"{path}: has no row yet; train.py writes one every --log_every steps")
    try:
        return {
            name: np.array([float(row[name] or "nan") for row in rows], float) for name in columns
        }
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a metrics.csv of train.py: {error}") from None


def learning_figure(runs, against="sequences"):
    """Loss, validation scores and learning rate of several runs, a panel each.

    Args:
        runs: dict by the run's name of what `read_metrics` returned.
        against: the horizontal axis, "sequences" or "minutes".
    """
    figure = Figure((10, 6.2), dpi=100, layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, LEARNING.items(), strict=True):
        for (run, columns), look in zip(runs.items(), _looks(), strict=False):
            known = np.isfinite(columns[name])
            # A single point is visible only with a marker; evaluations are few.
            marked = name.startswith("val_") or known.sum() == 1
            axes.plot(
                columns[against][known],
                columns[name][known],
                label=run,
                marker=look["marker"] if marked else None,
                markersize=4,
                linewidth=1.4,
                color=look["color"],
                linestyle=look["linestyle"],
            )
        axes.set(title=title, xlabel=f"training {against}")
    _tidy(figure)
    _legend(figure, len(runs))
    return figure


def frame_figure(per_frame, title, image_size, leads=None):
    """MSE and SSIM of each forecast frame: of a model, any baselines and, MSE only, 2022's version.

    Args:
        per_frame: dict by forecaster of what `FrameMetrics.per_frame` returned, "model" first.
        title: the test set.
        image_size: height and width; the MSE of 2022 is drawn at 64x64 only, where it is
            comparable.
        leads: the lead times as a dict of "unit" and "values"; None: in frames.
    """
    figure = Figure((10, 4.2), dpi=100, layout="constrained")
    mse, ssim = figure.subplots(1, 2)
    looks = dict(zip(per_frame, _looks(), strict=False))
    for name, look in looks.items():
        for axes, metric in ((mse, "mse"), (ssim, "ssim")):
            values = per_frame[name][metric]
            axes.plot(
                leads["values"] if leads else range(1, len(values) + 1),
                values,
                label=name.replace("_", " "),
                linewidth=2.4 if name == "model" else 1.4,
                markersize=4,
                **look,
            )
    note = ""
    if tuple(image_size) == SIZE_2022 and not leads:
        mse.plot(
            range(1, 11),
            MSE_2022,
            color="#777777",
            marker="*",
            linestyle=":",
            label="2022 version, official test set (published)",
        )
        note = "; the 2022 SSIM is not comparable and left out"
    mse.set_ylim(0, None)
    titles = "MSE, summed over a frame", f"SSIM{note}"
    for axes, text in zip((mse, ssim), titles, strict=True):
        axes.set_title(text, fontsize=10)
        axes.set_xlabel(f"lead time in {leads['unit']}" if leads else "forecast frame")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(title, fontsize=9, wrap=True)
    _tidy(figure)
    _legend(figure, len(per_frame) + 1)
    return figure


def _looks():
    """Yields colours, dashes and markers; neighbours differ in all three."""
    for colour, dash, marker in zip(cycle(COLOURS), cycle(DASHES), cycle(MARKERS), strict=False):
        yield {"color": colour, "linestyle": dash, "marker": marker}


def _tidy(figure):
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)


def _legend(figure, count):
    """Adds one legend below all panels."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(count, 5), frameon=False)


def check_output(path, argument):
    """Raises `InputError`, naming the argument, unless a figure can be written to `path`."""
    if _kind(path) not in KINDS:
        raise InputError(f"{path}: must end in one of .{', .'.join(KINDS)} ({argument})")
    check_writable(path, argument)


def write(figure, path):
    """Writes a figure in the format of the file's suffix."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=_kind(path))
    write_atomically(path, [buffer.getvalue()])


def _kind(path):
    return Path(path).suffix[1:].lower()


def score_figure(result, title, errors, event_scores, leads=None):
    """The figure of scores over the lead time: errors in the first row, then a row for each score
    of events, with a column for each threshold.

    A lead time at which a score is undefined has no point.

    Args:
        result: what `Verification.result` returned.
        title: a line above the panels.
        errors, event_scores: the names of the scores to draw; the FSS comes after them.
        leads: the lead times as a dict of "unit" and "values"; None: in frames.
    """
    leads = leads or {"unit": "frames", "values": result["lead_times"]}
    keys = [*event_scores, *(f"fss_{n}" for n in result["neighbourhoods"])]
    rows = 1 + len(keys) * bool(result["thresholds"])
    columns = max(len(errors), len(result["thresholds"]))
    size = PANEL[0] * columns, PANEL[1] * rows + 0.8
    figure = Figure(size, dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, key in zip(grid[0], errors, strict=False):
        _draw(axes, result, leads, key, lambda scores, key=key: scores[key])
    for row, key in zip(grid[1:], keys, strict=False):
        for axes, threshold in zip(row, result["observed"], strict=False):
            _draw(
                axes,
                result,
                leads,
                key,
                lambda scores, t=threshold, key=key: scores["at"][t][key],
                f", at or above {threshold}",
            )
    for axes in grid.flat:
        axes.set_visible(axes.has_data())
    figure.suptitle(title, fontsize=9, wrap=True)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=max(3, len(handles)), frameon=False
    )
    return figure


def _draw(axes, result, leads, key, pick, suffix=""):
    """Draws one score of all forecasters."""
    for name, scores in result["forecasts"].items():
        values = np.array(pick(scores), float)
        axes.plot(leads["values"], values, label=name, markersize=3, linewidth=1.4, **LOOKS[name])
    name, _, side = key.partition("_") if key.startswith("fss_") else (key, "", "")
    axes.set_title((f"FSS, {side}x{side} pixels" if side else TITLES[key]) + suffix, fontsize=8)
    if name in FRACTIONS:
        axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel(f"lead time in {leads['unit']}", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
