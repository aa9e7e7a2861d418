"""Persistence, climatology and the pixels that all forecasters are measured on."""

import numpy as np
import pytest

from src.data.dataset import First
from src.data.normalizer import Normalizer
from src.data.sequences import OwnSequences
from src.evaluation.report import lines
from src.evaluation.scores import CATEGORICAL, CONTINUOUS
from src.evaluation.verification import Climatology, Verification
from src.plots.curves import score_figure

READS, FORECASTS = 3, 2


class Timed(OwnSequences):
    """Sequences of months, the first of sequence n in month n."""

    def times(self, index):
        months = index + np.arange(self.shape[0])
        return months.astype("datetime64[M]").astype("datetime64[s]")


def source_of(array, kind=OwnSequences):
    frames, normalizer = READS + FORECASTS, Normalizer((10.0, 30.0), frame_size=array.shape[3:])
    return kind(array, np.arange(len(array)), frames, normalizer, "a test")


@pytest.fixture
def array(rng):
    return rng.uniform(10, 30, (6, READS + FORECASTS, 1, 8, 8))


def scores_of(verification, source, forecast):
    for indices in (range(0, 4), range(4, 6)):
        verification.add(indices, forecast[indices])
    return verification.result()["forecasts"]


def test_all_three_in_the_data_s_units(array, rng):
    """The model's [0, 1] is 10 to 30; persistence repeats frame 3; the climatology is the mean."""
    source, forecast = source_of(array), rng.random((6, FORECASTS, 1, 8, 8)).astype(np.float32)
    training = source_of(array[:2] + 1)
    got = scores_of(Verification(source, READS, training), source, forecast)
    truth, expected = array[:, READS:], {"model": 10 + 20 * forecast}
    expected["persistence"] = array[:, [READS - 1] * FORECASTS]
    expected["climatology"] = (array[:2] + 1).mean((0, 1))
    assert set(got) == set(expected)
    for name, values in expected.items():
        error = values - truth
        for score, value in (("mse", error**2), ("mae", abs(error)), ("bias", error)):
            np.testing.assert_allclose(got[name][score], value.mean((0, 2, 3, 4)), rtol=1e-5)


def test_missing_pixels_count_for_nobody(array):
    """Land is missing everywhere, a cloud hides the last input, another one a truth."""
    land, cloud = (slice(None), slice(None), 0, 0), (1, READS - 1, 0, 4)
    array[land] = array[cloud] = array[2, READS, 0, 5] = np.nan
    forecast = np.full((6, FORECASTS, 1, 8, 8), 0.5, np.float32)
    got = scores_of(Verification(source_of(array), READS, source_of(array)), None, forecast)
    truth, last = array[:, READS:], array[:, READS - 1].copy()
    last[1, 0, 4] = array[1, READS - 2, 0, 4]
    error = abs(last[:, None] - truth)
    np.testing.assert_allclose(got["persistence"]["mae"], np.nanmean(error, (0, 2, 3, 4)))
    error = abs(20 - truth)
    np.testing.assert_allclose(got["model"]["mae"], np.nanmean(error, (0, 2, 3, 4)))
    assert np.isfinite(got["climatology"]["mae"]).all()


def test_what_no_input_has_is_missing_and_no_error(array):
    """A pixel that all inputs lack, and the truth does not: nobody is measured there."""
    array[2, :READS, 0, 1, 1] = np.nan
    normalizer = Normalizer((10.0, 30.0), fill=20.0, frame_size=(8, 8))
    source = OwnSequences(array, np.arange(6), READS + FORECASTS, normalizer, "a test")
    forecast = np.full((6, FORECASTS, 1, 8, 8), 0.5, np.float32)
    model = scores_of(Verification(source, READS), source, forecast)["model"]
    error = abs(20 - array[:, READS:])
    error[2, :, 0, 1, 1] = np.nan
    np.testing.assert_allclose(model["mae"], np.nanmean(error, (0, 2, 3, 4)))
    assert model["non_finite"] == [0, 0]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_forecast_that_is_not_finite_is_an_error_of_the_model_alone(array, broken):
    """A pixel of one sequence at the second lead time, where the truth is missing in another; the
    others have the scores that they have beside a good model.
    """
    array[0, READS + 1, 0, 2, 3] = np.nan
    source, results = source_of(array), []
    forecast = np.full((6, FORECASTS, 1, 8, 8), 0.5, np.float32)
    for value in (0.5, broken):
        forecast[(0, 5), 1, 0, 2, 3] = value
        verification = Verification(source, READS, source, (20.0,), (3,))
        results.append(scores_of(verification, source, forecast))
    good, bad = results
    for name in ("persistence", "climatology"):
        assert bad[name] == good[name]
        assert bad[name]["non_finite"] == [0, 0]
    assert bad["model"].pop("non_finite") == [0, 1]
    good, bad = ({**r["model"], **r["model"]["at"]["20"]} for r in results)
    for key in (*CONTINUOUS, *CATEGORICAL, "fss_3"):
        assert bad[key][0] == good[key][0]
        assert np.isnan(bad[key][1])


def test_climatology_of_the_same_month(array):
    """6 sequences of 5 months from January on; November and December have the mean of all."""
    got = Climatology(source_of(array, Timed))
    assert "same month" in got.kind
    march = np.mean([array[n, 2 - n] for n in range(3)], 0)
    december = array.mean((0, 1))
    times = np.array([["1999-03-15", "1999-12-31"]], "datetime64[D]")
    np.testing.assert_allclose(got(times), np.stack([march, december])[None], rtol=1e-12)
    limited = First(source_of(array, Timed), 1)
    verification = Verification(limited, READS, source_of(array, Timed))
    verification.add([0], np.zeros((1, FORECASTS, 1, 8, 8), np.float32))
    april = np.mean([array[n, 3 - n] for n in range(4)], 0)
    error = april - array[0, 3]
    bias = verification.result()["forecasts"]["climatology"]["bias"]
    assert bias[0] == pytest.approx(error.mean())


def test_lead_times_of_a_record(array):
    """A second line of the tables' heads, and the axis of the curves; frames stay the first."""
    verification = Verification(source_of(array), READS, None, (20.0,), (3,))
    scores_of(verification, None, np.full((6, FORECASTS, 1, 8, 8), 0.5, np.float32))
    result, leads = verification.result(), {"unit": "minutes", "values": [7.5, 15]}
    plain, timed = list(lines(result)), list(lines(result, leads))
    assert [line for line in timed if not line.startswith("  in ")] == plain
    heads = [timed[n : n + 2] for n, line in enumerate(timed) if line.startswith("lead time")]
    assert [[line.split() for line in head] for head in heads] == [
        [["lead", "time", "1", "2"], ["in", "minutes", "7.5", "15"]]
    ] * 2
    panel = score_figure(result, "a test", CONTINUOUS, CATEGORICAL, leads).axes[0]
    assert panel.get_xlabel() == "lead time in minutes"
    assert panel.lines[0].get_xdata().tolist() == [7.5, 15]


def test_curves(array):
    """A panel for each error, and for each score at each threshold; an undefined score is a gap."""
    verification = Verification(source_of(array), READS, source_of(array), (20.0, 99.0), (3,))
    scores_of(verification, None, np.full((6, FORECASTS, 1, 8, 8), 0.5, np.float32))
    result = verification.result()
    panels = [
        a for a in score_figure(result, "a test", CONTINUOUS, CATEGORICAL).axes if a.get_visible()
    ]
    titles = [panel.get_title() for panel in panels]
    assert len(titles) == len(set(titles)) == 3 + 2 * 6
    (csi,) = [panel for panel in panels if panel.get_title() == "CSI, at or above 20"]
    for line in csi.lines:
        drawn = result["forecasts"][line.get_label()]["at"]["20"]["csi"]
        np.testing.assert_array_equal(line.get_ydata(), drawn)
    (csi,) = [panel for panel in panels if panel.get_title() == "CSI, at or above 99"]
    assert np.isnan([line.get_ydata() for line in csi.lines]).all()
