"""Extrapolation is pysteps's own, exact for rain that only moves, and scored as the others are."""

import sys

import numpy as np
import pysteps
import pytest

from src.data.normalizer import Normalizer
from src.data.sequences import OwnSequences
from src.errors import InputError
from src.evaluation import report
from src.evaluation.extrapolation import Extrapolation
from src.evaluation.verification import Verification
from src.plots.curves import score_figure

READS, FORECASTS, SIDE = 4, 5, 64


@pytest.fixture
def moving():
    """A shower, (T, H, W) in mm/h, that moves 2 pixels a frame to the right and 1 downwards."""
    y, x = np.mgrid[:SIDE, :SIDE]
    t = np.arange(READS + FORECASTS)[:, None, None]
    return 20 * np.exp(-((y - 25 - t) ** 2 + (x - 20 - 2 * t) ** 2) / 40)


def test_it_is_a_direct_call_of_pysteps(moving):
    """Rain of 0.1 mm/h or more in dB, the rest -15 dB; Lucas-Kanade; semi-Lagrangian."""
    inputs = moving[:READS]
    decibels = np.where(inputs >= 0.1, 10 * np.log10(np.maximum(inputs, 0.1)), -15)
    motion = pysteps.motion.get_method("LK")(decibels)
    expected = pysteps.extrapolation.get_method("semilagrangian")(inputs[-1], motion, FORECASTS)
    got = Extrapolation(READS, 1, "mm/h")(np.stack([inputs, inputs])[:, :, None], FORECASTS)
    assert got.shape == (2, FORECASTS, 1, SIDE, SIDE)
    for forecast in got:
        np.testing.assert_array_equal(forecast[:, 0], expected)


def test_motion_of_reflectivity_is_that_of_its_rain(moving):
    dbz = 10 * np.log10(200 * np.maximum(moving[:READS], 1e-3) ** 1.6)
    by_dbz, by_rain = Extrapolation(READS, 1, "dBZ"), Extrapolation(READS, 1, "mm h-1")
    np.testing.assert_allclose(by_dbz.motion(dbz), by_rain.motion(moving[:READS]), atol=1e-3)
    np.testing.assert_allclose(by_rain.motion(moving[:READS])[:, 30, 30], [2, 1], atol=0.05)


def test_frames_without_rain_or_without_values(moving):
    """Nothing moves where no rain is; a frame without a value interrupts the motion."""
    extrapolation = Extrapolation(READS, 1)
    assert not extrapolation(np.zeros((1, READS, 1, SIDE, SIDE)), 2).any()
    hidden = moving[:READS].copy()
    hidden[2] = np.nan
    forecast = extrapolation(hidden[None, :, None], 2)
    np.testing.assert_allclose(forecast[0, :, 0], np.stack([hidden[-1]] * 2))
    hidden[3] = np.nan
    assert np.isnan(extrapolation(hidden[None, :, None], 2)).all()


@pytest.fixture
def scored(moving, capsys):
    """The `Verification` of a forecast of nothing."""
    array = moving[None, :, None]
    normalizer = Normalizer((0.0, 20.0), frame_size=(SIDE, SIDE))
    source = OwnSequences(array, np.arange(1), READS + FORECASTS, normalizer, "a test")
    extrapolation = Extrapolation(READS, 1)
    assert "taken for mm/h" in capsys.readouterr().out
    verification = Verification(source, READS, None, (1.0, 10.0), (3,), extrapolation)
    verification.add([0], np.zeros((1, FORECASTS, 1, SIDE, SIDE), np.float32))
    return verification


def test_a_moving_shower_beats_persistence(scored):
    forecasts = scored.result()["forecasts"]
    assert set(forecasts) == {"model", "persistence", "extrapolation"}
    for threshold in ("1", "10"):
        csi = {name: np.array(scores["at"][threshold]["csi"]) for name, scores in forecasts.items()}
        assert (csi["extrapolation"] > 0.9).all()
        assert (csi["persistence"] < 0.8).all()
    assert max(forecasts["extrapolation"]["mse"]) < 0.01


def test_what_moves_in_is_scored_for_nobody(scored, moving):
    """After k frames 2k columns and k rows have no value; persistence is not scored there."""
    forecast = Extrapolation(READS, 1)(moving[None, :READS, None], FORECASTS)[0, :, 0]
    inside = np.isfinite(forecast)
    lost = [1 - (SIDE - 2 * k) * (SIDE - k) / SIDE**2 for k in range(1, FORECASTS + 1)]
    np.testing.assert_allclose(1 - inside.mean((1, 2)), lost, atol=0.02)
    result = scored.result()
    np.testing.assert_allclose(result["extrapolation"]["without_value"], 1 - inside.mean())
    error = np.where(inside, (moving[READS - 1] - moving[READS:]) ** 2, 0)
    mse = error.sum((1, 2)) / inside.sum((1, 2))
    np.testing.assert_allclose(result["forecasts"]["persistence"]["mse"], mse, rtol=1e-5)


def test_tables_and_curves_have_it(scored):
    result = scored.result()
    lines = list(report.lines(result))
    assert any(line.startswith("extrapolation: optical flow") for line in lines)
    rows = [line for line in lines if line.startswith("mse")]
    assert len({len(line) for line in rows}) == 1
    names = score_figure(result, "", ("mse",), ("csi",)).legends[0].get_texts()
    assert [text.get_text() for text in names] == ["model", "persistence", "extrapolation"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((READS, 1, "K"), "needs rain in mm/h or dBZ; the data have 'K'"),
        ((READS, 1, "kg m-2 s-1"), "needs rain in mm/h or dBZ"),
        ((1, 1), "two or more input frames of one channel"),
        ((READS, 3), "two or more input frames of one channel"),
    ],
)
def test_what_is_not_rain_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Extrapolation(*arguments)


def test_without_pysteps(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysteps", None)
    with pytest.raises(InputError, match="--extrapolation needs pysteps, which is not installed"):
        Extrapolation(READS, 1)
