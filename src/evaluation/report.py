"""Reports the result of an evaluation: as text, as JSON and as curves."""

import json
import math
import sys

import numpy as np

from src.data.dataset import lead_step
from src.data.rain import describe_dry
from src.evaluation.scores import CATEGORICAL, CONTINUOUS
from src.evaluation.verification import MODEL
from src.model import timed_network
from src.plots import curves
from src.plots.curves import score_figure
from src.runtime.files import check_json_output, write_atomically

# Metrics printed first, under the labels of the published version.
PUBLISHED = (("mse", "mse"), ("ssim", "ssim"), ("mae", "fmae"))
MEANING = {
    "mse": "unclipped; comparable with the 2022 version and OpenSTL",
    "mae": "unclipped; comparable with the 2022 version and OpenSTL",
    "mse_clipped": "clipped to [0, 1]; comparable with the PredRNN family",
    "mae_clipped": "clipped to [0, 1]; comparable with the PredRNN family",
    "ssim": "float, clipped, range 1; the one to quote",
    "ssim_uint8": "uint8; comparable with the PredRNN family",
    "ssim_range2": "float, clipped, range 2; comparable with OpenSTL's tables",
    "psnr": "dB, clipped",
}
BASELINE_METRICS = ("mse", "mae", "ssim")
LEADS_IN_A_ROW = 10


def make(metrics, source, timing, scores=None):
    """Makes the result, a dict.

    Args:
        metrics: dict of the `FrameMetrics` of "model" and any baselines.
        source: the source of the test sequences.
        timing: the dict that `TimedNetwork.timing` returned.
        scores: the `Verification` of the model, or None.
    """
    model, (low, high) = metrics["model"], source.value_range
    result = {"test_set": source.name, "sequences": model.sequences, **model.means()}
    result["per_frame"] = model.per_frame()
    result["lead_times"] = _lead_times(source, len(result["per_frame"]["mse"]))
    result["non_finite"] = model.non_finite.astype(int).tolist()
    shape = source.shape[1:]
    values = model.values_per_frame
    result["frame_shape"], result["value_range"] = shape, [low, high]
    result["transform"] = source.normalizer.transform
    if source.normalizer.transform == "none":
        result["own_units"] = {
            "rmse": math.sqrt(result["mse"] / values) * (high - low),
            "mae": result["mae"] / values * (high - low),
        }
    result["timing"] = timing
    if len(metrics) > 1:
        result["baselines"] = {
            name: {key: m.means()[key] for key in BASELINE_METRICS}
            for name, m in metrics.items()
            if name != "model"
        }
    if scores:
        result["scores"] = scores.result()
    return result


def _lead_times(source, frames):
    """The lead times of the frames and their unit, or None if the test data do not say."""
    step = lead_step(source)
    return step and {"unit": step.unit, "values": [step.lead(k + 1) for k in range(frames)]}


def show(result):
    """Prints the lines of the published version, then all results as tables."""
    for name, published in PUBLISHED:
        print(f"{published} per frame: {result[name]}")
        for value in result["per_frame"][name]:
            print(value)
    print(f"\n{result['sequences']:,} sequences of {result['test_set']}")
    low, high = result["value_range"]
    frame = "x".join(map(str, result["frame_shape"]))
    scale = "" if result["transform"] == "none" else f", transform {result['transform']}"
    print(
        f"errors are summed over a frame of {frame}, in which {low:g} is 0 and {high:g} is 1{scale}"
    )
    for name, meaning in MEANING.items():
        print(f"{name:12} {result[name]:10.4f}  {meaning}")
    if any(result["non_finite"]):
        print(describe_non_finite(MODEL, result["non_finite"]))
    for name, value in result.get("own_units", {}).items():
        print(f"{'own ' + name:12} {value:10.4f}  of a value, unclipped, in the data's own units")
    for name, scores in result.get("baselines", {}).items():
        text = "  ".join(f"{key} {scores[key]:8.4f}" for key in BASELINE_METRICS)
        print(f"baseline {name:11} {text}")
    for line in lines(result["scores"], result["lead_times"]) if "scores" in result else ():
        print(line)
    print(timed_network.describe(result["timing"]))
    warn_if_dry(result)


def warn_if_dry(result):
    """Warns if the test data hardly reach some thresholds."""
    observed = result["scores"]["observed"] if "scores" in result else {}
    fractions = {t: np.array(some)[np.isfinite(some)] for t, some in observed.items()}
    warning = describe_dry({t: some.sum() / max(len(some), 1) for t, some in fractions.items()})
    if warning:
        print(f"warning: {result['test_set']} {warning}", file=sys.stderr)


def check_outputs(json_file=None, plot_file=None):
    """Raises `InputError` unless the files that are given can be written."""
    if json_file:
        check_json_output(json_file, "json")
    if plot_file:
        curves.check_output(plot_file, "plot")


def write(result, metrics, json_file=None, plot_file=None):
    """Writes the files that are given: the result, with null for undefined values, and curves."""
    if json_file:
        text = json.dumps(as_json(result), indent=2, allow_nan=False)
        write_atomically(json_file, [text.encode() + b"\n"])
    if plot_file:
        curves.write(_figure(result, metrics), plot_file)


def _figure(result, metrics):
    """Curves over lead time: of the result's scores if it has them, else of MSE and SSIM."""
    title = f"{result['sequences']:,} sequences of {result['test_set']}"
    leads = result["lead_times"]
    if "scores" in result:
        return score_figure(result["scores"], title, CONTINUOUS, CATEGORICAL, leads)
    per_frame = {name: m.per_frame() for name, m in metrics.items()}
    return curves.frame_figure(per_frame, title, result["frame_shape"][1:], leads)


def as_json(value):
    """A result with None in place of NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def lines(result, leads=None):
    """Yields the lines of the tables of what `Verification.result` returned.

    Args:
        result: that.
        leads: the lead times as a dict of "unit" and "values"; None: in frames only.
    """
    forecasts, heads = result["forecasts"], {"lead time": result["lead_times"]}
    if leads:
        heads[f"  in {leads['unit']}"] = [f"{lead:.6g}" for lead in leads["values"]]
    yield "scores in the data's own units at each lead time, in frames; –: undefined"
    if result["climatology"]:
        yield f"climatology: {result['climatology']}"
    if "extrapolation" in result:
        yield describe_extrapolation(**result["extrapolation"])
    for name, scores in forecasts.items():
        if any(scores["non_finite"]):
            yield describe_non_finite(name, scores["non_finite"])
    yield from _table(
        heads,
        {(key, name): scores[key] for key in CONTINUOUS for name, scores in forecasts.items()},
    )
    keys = [*CATEGORICAL, *(f"fss_{n}" for n in result["neighbourhoods"])]
    for threshold, observed in result["observed"].items():
        fraction = np.mean(observed)
        fraction = "–" if np.isnan(fraction) else f"{fraction:.3%}"
        yield f"\nat or above {threshold}: {fraction} of the values"
        yield from _table(
            heads,
            {
                (key, name): scores["at"][threshold][key]
                for key in keys
                for name, scores in forecasts.items()
            },
        )


def describe_non_finite(name, counts):
    """A line about a forecaster that has forecast NaN or infinity, by lead time."""
    leads = ", ".join(str(lead) for lead, count in enumerate(counts, 1) if count)
    return f"{name}: {sum(counts):,} values are not finite, at lead time {leads}: no score there"


def describe_extrapolation(ms_per_sequence, without_value):
    """A line about an extrapolation."""
    return (
        f"extrapolation: optical flow of the input frames moves the last one, by pysteps, "
        f"{ms_per_sequence:.0f} ms a sequence; nobody is scored at the {without_value:.1%} of the "
        "pixels that move in from outside"
    )


def _table(heads, rows):
    """Yields the lines of a table with a column for each lead time, ten side by side; `heads` are
    the lead times in frames and in units.
    """
    width = max(12, *(len(name) + 1 for _, name in rows))
    for start in range(0, len(heads["lead time"]), LEADS_IN_A_ROW):
        some = slice(start, start + LEADS_IN_A_ROW)
        for head, lead_times in heads.items():
            yield f"{head:{15 + width}}" + "".join(f"{lead:>9}" for lead in lead_times[some])
        for (key, name), values in rows.items():
            yield f"{key:15}{name:{width}}" + "".join(_cell(value) for value in values[some])


def _cell(value):
    return f"{'–':>9}" if math.isnan(value) else f"{value:9.4g}"
