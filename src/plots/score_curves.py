"""Curves of scores over lead time, a forecaster a line."""

import numpy as np
from matplotlib.figure import Figure

from src.evaluation.scores import CATEGORICAL, CONTINUOUS
from src.plots.curves import COLOURS

LOOKS = {
    "model": {"color": COLOURS[0], "linestyle": "-", "marker": "o"},
    "persistence": {"color": COLOURS[1], "linestyle": "--", "marker": "s"},
    "climatology": {"color": COLOURS[2], "linestyle": "-.", "marker": "d"},
}
TITLES = {
    "mse": "mean squared error", "mae": "mean absolute error", "bias": "bias (mean error)",
    "csi": "CSI", "pod": "POD", "far": "FAR", "hss": "HSS", "frequency_bias": "frequency bias",
}  # fmt: skip
# What these scores are by definition between.
SHARES = ("csi", "pod", "far", "fss")
PANEL = 2.6, 1.9


def score_figure(result, title):
    """The figure of a `Verification.result`: errors in the first row, then a row for each score and
    a column for each threshold.

    A lead time at which a score is undefined has no point.
    """
    keys = [*CATEGORICAL, *(f"fss_{n}" for n in result["neighbourhoods"])]
    rows = 1 + len(keys) * bool(result["thresholds"])
    columns = max(len(CONTINUOUS), len(result["thresholds"]))
    size = PANEL[0] * columns, PANEL[1] * rows + 0.8
    figure = Figure(size, dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, key in zip(grid[0], CONTINUOUS, strict=False):
        _draw(axes, result, key, lambda scores, key=key: scores[key])
    for row, key in zip(grid[1:], keys, strict=False):
        for axes, threshold in zip(row, result["observed"], strict=False):
            _draw(
                axes, result, key, lambda scores, t=threshold, key=key: scores["at"][t][key],
                f", at or above {threshold}",
            )  # fmt: skip
    for axes in grid.flat:
        axes.set_visible(axes.has_data())
    figure.suptitle(title, fontsize=9, wrap=True)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(LOOKS), frameon=False)
    return figure


def _draw(axes, result, key, pick, suffix=""):
    """One score of all forecasters."""
    leads = result["lead_times"]
    for name, scores in result["forecasts"].items():
        axes.plot(leads, np.array(pick(scores), float), label=name, markersize=3, linewidth=1.4,
            **LOOKS[name])  # fmt: skip
    name, _, side = key.partition("_") if key.startswith("fss_") else (key, "", "")
    axes.set_title((f"FSS, {side}x{side} pixels" if side else TITLES[key]) + suffix, fontsize=8)
    if name in SHARES:
        axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("lead time in frames", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
