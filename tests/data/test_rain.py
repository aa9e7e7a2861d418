"""Windows drawn by their rain, and warnings of splits that hardly reach the thresholds."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from src.config.presets import make_config
from src.data import rain
from src.data.sources import evaluation_source, training_sources
from src.errors import InputError
from src.evaluation import report
from src.tools.new_run import resolve_dataset

FRAMES = {"input_frames": 3, "forecast_frames": 2}


def write(path, values, units="mm h-1", name="rain"):
    """A record with a frame a minute, 8x12 pixels, each full of one value."""
    frames = np.broadcast_to(np.asarray(values, np.float32)[:, None, None], (len(values), 8, 12))
    attributes = {"units": units} if units else {}
    times = pd.date_range("2010-08-26", periods=len(values), freq="min")
    xr.Dataset({name: (("time", "y", "x"), frames, attributes)}, {"time": times}).to_netcdf(path)
    return path


def config_of(path, **options):
    options = {"dataset": str(path), "value_range": (0.0, 100.0), **FRAMES} | options
    return make_config("small", resolve_dataset({"batch_size": 1} | options)[0])


def starts_of(train, epochs):
    """The first frames of the windows of some epochs, by the number that each frame is full of."""
    drawn = [train.at_epoch(e)[range(len(train))][:, 0, 0, 0, 0] for e in range(epochs)]
    return np.stack(drawn).astype(int)


def test_a_window_is_drawn_by_its_rain(tmp_path, capsys):
    """Frames 10 to 12 of 60 have 2 mm/h, 1 - exp(-2) = 0.865: windows 6 to 12 hold 1, 2, 3, 3, 3, 2
    and 1 of them. Of 34 windows half are drawn in proportion to that, half evenly.
    """
    values = np.zeros(60)
    values[10:13] = 2
    config = config_of(write(tmp_path / "r.nc", values), wet_sampling=0.5)
    train, validation = training_sources(config)
    counts = np.zeros(34)
    counts[6:13] = [1, 2, 3, 3, 3, 2, 1]
    expected = 0.5 / 34 + 0.5 * counts / 15
    np.testing.assert_allclose(train.weights, expected, rtol=1e-6)
    assert validation.source.weights is None
    assert evaluation_source(config).weights is None
    assert len(train) == config.data.epoch_size == 34
    output = capsys.readouterr().out
    assert "which is 0 to 0.519; a window is used 0.5 to 3.9 times as often" in output


def test_the_draw_is_a_function_of_seed_epoch_and_number(tmp_path):
    """Each pass over n windows uses one of weight w n w times, rounded up or down; every call, in
    whatever order, finds the same.
    """
    config = config_of(write(tmp_path / "r.nc", np.arange(60) / 20), wet_sampling=0.8)
    train, _ = training_sources(config)
    train.array.conversion, numbered = None, train.array.read
    train.array.read = lambda a, b: np.round(20 * numbered(a, b))
    passes = starts_of(train, 50)
    wanted = 34 * train.weights
    for one in passes:
        counts = np.bincount(one, minlength=34)
        assert (np.floor(wanted - 1e-9) <= counts).all()
        assert (counts <= np.ceil(wanted + 1e-9)).all()
    counts = np.bincount(passes.ravel(), minlength=34) / 50
    np.testing.assert_allclose(counts, wanted, atol=0.3)
    assert len({tuple(one) for one in passes}) == 50
    again = training_sources(config)[0]
    again.array.read = train.array.read
    np.testing.assert_array_equal(
        again.at_epoch(7)[[5, 0, 33]][:, 0, 0, 0, 0], passes[7, [5, 0, 33]]
    )
    train.size = 17
    np.testing.assert_array_equal(starts_of(train, 4).reshape(2, 34), passes[:2])


def test_without_it_the_order_is_as_ever(tmp_path):
    """Each window once in a pass, in the order of the generator that earlier versions used."""
    np.save(tmp_path / "r.npy", np.broadcast_to(np.arange(60.0)[:, None, None], (60, 8, 12)))
    train, _ = training_sources(config_of(tmp_path / "r.npy"))
    expected = [np.random.default_rng((1, n)).permutation(34) for n in range(3)]
    np.testing.assert_array_equal(starts_of(train, 3), expected)


@pytest.mark.parametrize(
    ("units", "name", "value", "rate"),
    [
        ("mm/h", "z", 2.0, 2.0),
        ("kg m-2 s-1", "rainfall_flux", 2 / 3600, 2.0),
        ("dBZ", "reflectivity", 40.0, (1e4 / 200) ** (1 / 1.6)),
        ("mm", "rain", 0.5, 30.0),
        (None, "z", 2.0, 2.0),
    ],
)
def test_rain_in_any_units(tmp_path, units, name, value, rate):
    """A frame each minute, so 0.5 mm are 30 mm/h; dBZ by Z = 200 R^1.6; without units mm/h."""
    values = np.zeros(60)
    values[0], values[30:33] = 3 * value, value
    path = write(tmp_path / "r.nc", values, units, name)
    train, _ = training_sources(config_of(path, wet_sampling=1.0))
    dry = 1 - np.exp(-((1 / 200) ** (1 / 1.6))) if units == "dBZ" else 0
    wet = 1 - np.exp(-rate)
    assert train.weights[28] / train.weights[26] == pytest.approx(
        (3 * wet + 2 * dry) / (wet + 4 * dry), rel=1e-4
    )


def test_missing_values_and_whole_sequences(tmp_path, capsys):
    """Of a frame that is half missing the mean is that of the other half; so is it in sequences."""
    frames = np.zeros((10, 5, 1, 8, 12), np.float32)
    frames[3] = 1
    frames[5, ..., :6], frames[5, ..., 6:] = np.nan, 1
    np.save(tmp_path / "s.npy", frames)
    config = config_of(tmp_path / "s.npy", missing="mask", wet_sampling=1.0, split_seed=3)
    train, _ = training_sources(config)
    weights = dict(zip(train.indices.tolist(), train.weights, strict=True))
    wet = [weights[n] for n in (3, 5) if n in weights]
    np.testing.assert_allclose(wet, 1 / len(wet))
    assert sum(weights.values()) == pytest.approx(1)
    assert "s.npy: wet_sampling takes values without units for mm/h" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": "K", "name": "t"}, "r.nc: has the units 'K', and wet_sampling needs rain"),
        ({"units": "m s-1", "name": "wind"}, "the units 'm s-1', and wet_sampling needs rain"),
        ({"values": np.zeros(60)}, "it rains nowhere in the training split, and wet"),
    ],
)  # fmt: skip
def test_what_is_no_rain(tmp_path, options, message):
    config = config_of(write(tmp_path / "r.nc", **({"values": np.ones(60)} | options)),
        wet_sampling=0.5)  # fmt: skip
    with pytest.raises(InputError, match=message):
        training_sources(config)
    with pytest.raises(InputError, match="wet_sampling is 1.5: it must be at most 1"):
        config_of(tmp_path / "r.nc", wet_sampling=1.5)
    with pytest.raises(InputError, match="wet_sampling is 0.5: it can be set only with --dataset"):
        make_config("small", {"wet_sampling": 0.5})


def test_a_dry_split_is_a_warning(tmp_path, capsys):
    """Validation, frames 43 to 48, has 0.2 mm/h; test, 54 to 59, has 3."""
    values = np.full(60, 5.0)
    values[43:49], values[54:] = 0.2, 3.0
    path = write(tmp_path / "r.nc", values)
    training_sources(config_of(path))
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: {path}: its validation split is dry at 1, so scores there say little; "
        "fraction of the values at or above 0.1: 1, 1: 0; --validate_from and --test_from choose "
        "others"
    )
    training_sources(config_of(path, loss="mse", loss_weights=((2.0, 2.0), (4.0, 5.0))))
    lines = capsys.readouterr().err.splitlines()
    assert [("at or above 2: 0, 4: 0" in lines[0]), ("2: 1, 4: 0" in lines[1])] == [True, True]
    assert "its test split is dry at 4, so" in lines[1]
    training_sources(config_of(path), is_new=False)
    training_sources(config_of(write(tmp_path / "t.nc", values, "K", "t")))
    training_sources(config_of(write(tmp_path / "w.nc", np.full(60, 5.0))))
    assert not capsys.readouterr().err


def test_one_value_in_ten_thousand_is_enough():
    assert not rain.describe_dry({})
    assert not rain.describe_dry({"1": 0.5, "10": 1e-4})
    assert rain.describe_dry({"1": 0.5, "10": 9e-5}).endswith("at or above 1: 0.5, 10: 9e-05")


def test_test_data_that_are_dry_are_a_warning(capsys):
    """The thresholds of test.py, by lead time; a lead time without any value does not count."""
    result = {"test_set": "r.nc, test split", "scores": {"observed": {"1": [0.2, np.nan, 0.1]}}}
    report.warn_if_dry(result)
    assert not capsys.readouterr().err
    result["scores"]["observed"]["5"] = [1e-4, np.nan, 0.0]
    report.warn_if_dry(result)
    assert capsys.readouterr().err == (
        "warning: r.nc, test split is dry at 5, so scores there say little; fraction of the "
        "values at or above 1: 0.15, 5: 5e-05\n"
    )
