"""What is at or above a threshold, where files hold values in steps; what thresholds are called."""

import numpy as np
import pytest
import xarray as xr

from src.config.presets import make_config
from src.data.rain import warn_if_dry
from src.data.sources import evaluation_source
from src.evaluation.report import lines
from src.evaluation.scores import Scores
from src.evaluation.verification import Verification
from src.formats.events import in_words
from src.tools.new_run import resolve_dataset

FRAMES = {"input_frames": 3, "forecast_frames": 2}
# Numbers of steps, in each frame the same.
STEPS = 7 * np.arange(96).reshape(8, 12)


def packed(path, scale, offset, units, kind="f4", freq=60):
    """A record of STEPS as 16-bit integers, with a step and a constant of a type of floats."""
    stored = np.broadcast_to(STEPS.astype(np.int16), (60, *STEPS.shape))
    attributes = {"units": units, "scale_factor": np.dtype(kind).type(scale)}
    if offset:
        attributes["add_offset"] = np.dtype(kind).type(offset)
    minutes = {"units": "minutes since 2001-02-03", "standard_name": "time"}
    record = xr.Dataset(
        {"rain": (("time", "y", "x"), stored, attributes)},
        {"time": ("time", freq * np.arange(60), minutes)},
    )
    record.to_netcdf(path)
    return path


def config_of(path):
    options = {"dataset": str(path), "value_range": (0.0, 400.0), "batch_size": 1, **FRAMES}
    return make_config("small", resolve_dataset(options)[0])


def result_of(source, thresholds):
    """The scores of persistence, and the fractions of events, of frames that do not change."""
    verification = Verification(source, 3, thresholds=thresholds)
    verification.add(range(2), np.zeros((2, 2, *source.shape[1:]), np.float32))
    result = verification.result()
    return result["forecasts"]["persistence"]["at"], result["observed"]


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(
    ("scale", "offset", "units", "trained", "value_of"),
    [
        (0.01, 0, "mm h-1", None, lambda k: k / 100),
        (0.01, 273.15, "K", None, lambda k: (k + 27315) / 100),
        (0.1, -30, "dBZ", None, lambda k: (k - 300) / 10),
        # A network in other units: degrees Celsius, among them 0, and rates of amounts.
        (0.1, 259.15, "K", "degC", lambda k: (k - 140) / 10),
        (0.01, 0, "mm", "mm h-1", lambda k: 12 * k / 100),
    ],
)
def test_values_at_a_threshold_are_events(tmp_path, kind, scale, offset, units, trained, value_of):
    """Whatever the steps are: of 96 values those from the k-th on are at or above the k-th."""
    freq = 5 if trained == "mm h-1" else 60
    path = packed(tmp_path / "r.nc", scale, offset, units, kind, freq)
    config = config_of(path)
    if trained:
        config = config_of(packed(tmp_path / "trained.nc", 0.5, 0, trained, kind, freq))
    source = evaluation_source(config, dataset=str(path) if trained else None, limit=2)
    thresholds = [value_of(k) for k in STEPS.ravel().tolist()]
    at, observed = result_of(source, thresholds)
    for number, threshold in enumerate(thresholds):
        assert observed[in_words(threshold)] == [(96 - number) / 96] * 2, threshold
        assert at[in_words(threshold)]["csi"] == [1, 1]
    # A tenth of a step above a value is above it.
    at, observed = result_of(source, [value_of(k + 0.1) for k in STEPS.ravel().tolist()])
    assert [fractions[0] for fractions in observed.values()] == [n / 96 for n in range(95, -1, -1)]


def test_a_split_at_a_threshold_is_not_dry(tmp_path, capsys):
    """The largest value that float32 unpacks as less than it is counts as one that reaches it."""
    source = evaluation_source(config_of(packed(tmp_path / "r.nc", 0.01, 0, "mm h-1")))
    frames, steps = source[[0]][0, 0, 0], STEPS / 100
    below = steps[frames < steps.astype(np.float32)]
    assert len(below)
    warn_if_dry(source, "test", (float(below.max()), 9.0), "r.nc")
    fraction = (steps >= below.max()).mean()
    said = capsys.readouterr().err
    assert f"at or above {below.max():g}: {fraction:.2g}, 9: 0;" in said


def test_values_that_nothing_has_rounded_are_taken_as_they_are(tmp_path):
    """What an array holds is below a threshold by the smallest difference there is."""
    frames = np.full((60, 8, 12), 0.1, np.float32)
    frames[:, 0] = np.nextafter(np.float32(0.1), np.float32(0))
    np.save(tmp_path / "r.npy", frames)
    _, observed = result_of(evaluation_source(config_of(tmp_path / "r.npy")), [0.1])
    assert observed == {"0.1": [7 / 8] * 2}


@pytest.mark.parametrize(
    ("threshold", "text"),
    [(0.1, "0.1"), (5.0, "5"), (1e-7, "1e-07"), (100013.25, "100013.25"), (1 / 3, None)],
)
def test_a_threshold_is_called_what_it_is(threshold, text):
    assert float(in_words(threshold)) == threshold
    assert text is None or in_words(threshold) == text


def test_thresholds_that_differ_late_are_two():
    """Between 100,013.25 and 100,013.75 Pa there are three thresholds, and three tables."""
    truth = np.array([100013.0, 100013.25, 100013.5, 100013.75]).reshape(1, 1, 1, 2, 2)
    scores = Scores(["model"], (100013.25, 100013.5, 100013.75))
    scores.update({"model": truth}, truth)
    result = scores.result()
    assert result["observed"] == {"100013.25": [0.75], "100013.5": [0.5], "100013.75": [0.25]}
    table = "\n".join(lines({"climatology": None, **result}))
    assert "at or above 100013.25: 75.000% of the values" in table
