"""Scores against published tables, the package `scores`, plain loops and hand-made fields."""

import json
import math
import pickle

import numpy as np
import pytest
import xarray
from scores.categorical import ThresholdEventOperator
from scores.spatial import fss_2d

from src.errors import InputError
from src.evaluation.report import as_json, lines
from src.evaluation.scores import Scores, contingency_scores

THRESHOLDS, SIDES = (1.0, 3.0), (1, 5, 9)


def rain(rng, shape, margin=0):
    """Fields with a few events, (B, T, C, H, W), float32; dry within a margin."""
    fields = rng.gamma(0.5, 2.0, shape).astype(np.float32)
    if margin:
        inside = np.zeros(shape, bool)
        inside[..., margin:-margin, margin:-margin] = True
        fields[~inside] = 0
    return fields


def scored(forecast, truth, valid=None, sides=SIDES):
    scores = Scores(["model"], THRESHOLDS, sides)
    scores.update({"model": forecast}, truth, valid)
    return scores.result()["forecasts"]["model"]


def test_finleys_tornadoes():
    """The 1884 forecasts in every textbook: 28 hits, 72 false alarms, 23 misses, 2,680 neither."""
    result = contingency_scores(28, 72, 23, 2803)
    expected = {"csi": 28 / 123, "pod": 28 / 51, "far": 0.72, "frequency_bias": 100 / 51}
    for name, value in expected.items():
        assert result[name] == pytest.approx(value)
    assert result["hss"] == pytest.approx(0.355, abs=5e-4)


def test_equal_to_the_package_scores(rng):
    """Errors, contingency scores and FSS of each lead time; nothing rains near the border, where
    that package takes what is outside for dry.
    """
    truth, forecast = (rain(rng, (4, 3, 1, 32, 40), margin=8) for _ in range(2))
    ours = scored(forecast, truth)
    dims = ("sequence", "lead", "channel", "y", "x")
    theirs = [xarray.DataArray(frames.astype(float), dims=dims) for frames in (forecast, truth)]
    error = (forecast - truth).astype(float)
    for name, values in (("mse", error**2), ("mae", abs(error)), ("bias", error)):
        np.testing.assert_allclose(ours[name], values.mean((0, 2, 3, 4)), rtol=1e-5)
    for threshold in THRESHOLDS:
        events = ThresholdEventOperator(default_event_threshold=threshold)
        table = events.make_contingency_manager(*theirs).transform(preserve_dims="lead")
        got = ours["at"][f"{threshold:g}"]
        for name, value in (
            ("csi", table.critical_success_index()),
            ("pod", table.probability_of_detection()),
            ("far", table.false_alarm_ratio()),
            ("hss", table.heidke_skill_score()),
            ("frequency_bias", table.frequency_bias()),
        ):
            np.testing.assert_allclose(got[name], value, rtol=1e-12, err_msg=name)
        for side in SIDES:
            expected = fss_2d(
                *theirs,
                event_threshold=threshold,
                window_size=(side, side),
                spatial_dims=("y", "x"),
                preserve_dims="lead",
                zero_padding=True,
                threshold_operator=np.greater_equal,
            )
            np.testing.assert_allclose(got[f"fss_{side}"], expected, rtol=1e-9)


def test_fss_with_a_mask_is_plain_loops(rng):
    """Shares of the valid pixels inside square and frame, around each valid pixel."""
    shape = (2, 1, 1, 9, 12)
    truth, forecast = rain(rng, shape), rain(rng, shape)
    valid = rng.random(shape) < 0.7
    valid[..., :4, :5] = False
    above, below, half = 0.0, 0.0, 2
    for b, y, x in np.argwhere(valid[:, 0, 0]):
        square = slice(max(0, y - half), y + half + 1), slice(max(0, x - half), x + half + 1)
        seen = valid[b, 0, 0][square]
        told, came = ((f[b, 0, 0][square][seen] >= 1).mean() for f in (forecast, truth))
        above, below = above + (told - came) ** 2, below + told**2 + came**2
    assert scored(forecast, truth, valid)["at"]["1"]["fss_5"] == [pytest.approx(1 - above / below)]


def test_what_is_masked_changes_nothing(rng):
    """Neither forecast nor truth there, NaN included; without it the scores are others."""
    truth, forecast = rain(rng, (2, 2, 1, 16, 16)), rain(rng, (2, 2, 1, 16, 16))
    valid = rng.random(truth.shape) < 0.8
    expected = scored(forecast, truth, valid)
    assert scored(forecast, truth) != expected
    for value in (np.nan, 1e9):
        for frames in (truth, forecast):
            frames[~valid] = value
        assert scored(forecast, truth, valid) == expected


def test_undefined_is_not_a_number():
    """At lead time 1 nothing is forecast and nothing comes; at 2 it comes and was not forecast."""
    truth, forecast = np.zeros((2, 1, 2, 1, 4, 4))
    truth[:, 1, 0, 0, 0] = 2
    got = scored(forecast, truth)["at"]["1"]
    undefined = {name: [math.isnan(x) for x in values] for name, values in got.items()}
    far = undefined.pop("far")
    assert far == [True, True]
    assert set(map(tuple, undefined.values())) == {(True, False)}
    assert (got["csi"][1], got["pod"][1], got["fss_5"][1]) == (0, 0, 0)
    assert as_json(got)["csi"] == [None, 0.0]
    json.dumps(as_json(got), allow_nan=False)
    scores = Scores(["model"], (1.0,))
    scores.update({"model": forecast}, truth)
    table = list(lines({"climatology": None, **scores.result()}))
    (row,) = [line for line in table if line.startswith("csi")]
    assert row.split() == ["csi", "model", "–", "0"]


def test_counts_are_added_up_before_they_are_divided():
    """One sequence with 8 hits of 8, one with 0 of 2: POD 0.8, where a mean of both were 0.5."""
    truth = np.zeros((2, 1, 1, 2, 4))
    truth[0] = 2
    truth[1, ..., 0, :2] = 2
    forecast = truth.copy()
    forecast[1] = 0
    assert scored(forecast, truth)["at"]["1"]["pod"] == [0.8]


def test_batches_do_not_matter_and_memory_does_not_grow(rng):
    truth, forecast = rain(rng, (6, 2, 1, 16, 16)), rain(rng, (6, 2, 1, 16, 16))
    whole, parts = Scores(["model"], THRESHOLDS, SIDES), Scores(["model"], THRESHOLDS, SIDES)
    whole.update({"model": forecast}, truth)
    sizes = []
    for part in (slice(0, 1), slice(1, 3), slice(3, 6)):
        parts.update({"model": forecast[part]}, truth[part])
        sizes.append(len(pickle.dumps(parts)))
    assert len(set(sizes)) == 1
    one, other = (np.concatenate(_numbers(s.result())) for s in (whole, parts))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def _numbers(value):
    if isinstance(value, dict):
        return [x for item in value.values() for x in _numbers(item)]
    return [np.atleast_1d(np.asarray(value, float))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((math.inf,), ()), "thresholds has inf: they must be finite"),
        (((1.0,), (4,)), "neighbourhoods has 4: it must be odd"),
    ],
)
def test_wrong_settings(arguments, message):
    with pytest.raises(InputError, match=message):
        Scores(["model"], *arguments)
