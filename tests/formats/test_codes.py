"""Which values look like undeclared codes for missing ones, and which do not."""

import numpy as np
import pytest
import xarray as xr

from src.config.presets import make_config
from src.data.moving_mnist import MovingMNIST
from src.data.sources import evaluation_source, training_sources
from src.errors import InputError
from src.formats.codes import suspected_codes, warn_of_codes
from src.tools.new_run import resolve_dataset

COUNT = 50_000


def codes_in(values, stored_dtype=None, stored=float, units=None):
    extremes = float(values.min()), float(values.max())
    return suspected_codes(values, extremes, stored_dtype or values.dtype, stored, units)


def rain_of(rng):
    """Rain in mm/h at a fifth of the pixels."""
    rain = rng.gamma(0.5, 8, COUNT)
    return np.float32(np.where(rng.random(COUNT) < 0.8, 0, rain))


def with_codes(values, *codes):
    """A tenth of the values for each code."""
    values = values.copy()
    for k, code in enumerate(codes):
        values[k::10] = code
    return values


CLEAN = {
    "rain": rain_of,
    "rain in tenths": lambda rng: np.round(rain_of(rng), 1),
    "rain in whole millimetres": lambda rng: np.round(rain_of(rng)).astype(np.int16),
    "rain above a threshold": lambda rng: np.where(rain_of(rng) < 2, 0, rain_of(rng)),
    "reflectivity, dry 0": lambda rng: np.maximum(20 * np.log10(rain_of(rng) + 0.1) + 23, 0),
    "temperature": lambda rng: rng.normal(280, 10, COUNT),
    "freezing sea": lambda rng: np.maximum(rng.normal(5, 8, COUNT), -1.8),
    "saturated humidity": lambda rng: np.minimum(rng.normal(80, 20, COUNT), 100),
    "wind": lambda rng: rng.normal(0, 8, COUNT),
    "heights": lambda rng: rng.uniform(-100, 8000, COUNT),
    "saturated pixels": lambda rng: rng.normal(128, 90, COUNT).clip(0, 255).astype(np.uint8),
    "black and white": lambda rng: (rng.integers(0, 2, COUNT) * 255).astype(np.uint8),
    "three greys": lambda rng: rng.choice([0, 127, 255], COUNT).astype(np.uint8),
    "five greys": lambda rng: rng.choice([0, 64, 128, 192, 255], COUNT).astype(np.uint8),
    "classes": lambda rng: rng.integers(0, 17, COUNT).astype(np.uint8),
    "all of 16 bits": lambda rng: rng.integers(0, 65536, COUNT).astype(np.uint16),
    "coarse blocks": lambda rng: np.repeat(np.round(rng.gamma(0.5, 8, 500)), 100),
    "rare counts": lambda rng: np.where(rng.random(COUNT) < 1e-4, 50, rng.poisson(0.5, COUNT)),
    "constant": lambda rng: np.full(COUNT, 3.0),
}


@pytest.mark.parametrize("kind", CLEAN)
def test_clean_data(rng, kind):
    assert codes_in(CLEAN[kind](rng)) == []


def test_moving_digits(digits):
    """0 is black, 255 is where a pen was: at many pixels, beside 254 and 1."""
    source = MovingMNIST(digits[:100], 10, 20, (64, 64), (2,), 1, "train", "digits")
    frames = source[range(10)]
    assert (frames == 255).mean() > 1e-3
    assert codes_in(np.ravel(frames)) == []


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (rain_of, (-9999.0,)),
        (rain_of, (-9999.0, -8888.0)),
        (rain_of, (-999.0, 9.969209968386869e36)),
        (rain_of, (1e20,)),
        (lambda rng: np.zeros(COUNT), (-99.0,)),
        (lambda rng: rng.uniform(0, 8000, COUNT), (-999.0,)),
        (lambda rng: rng.integers(0, 180, COUNT).astype(np.uint8), (255.0,)),
        (lambda rng: rng.integers(0, 180, COUNT).astype(np.uint8), (254.0, 255.0)),
        (lambda rng: rng.integers(0, 2, COUNT).astype(np.uint8), (255.0,)),
        (lambda rng: rng.integers(0, 9000, COUNT).astype(np.uint16), (65535.0,)),
        (lambda rng: rng.integers(-3000, 3000, COUNT).astype(np.int16), (-32768.0,)),
        (lambda rng: rng.uniform(270, 300, COUNT), (-9.0,)),
    ],
)
def test_codes(rng, values, codes):
    assert codes_in(with_codes(values(rng), *codes)) == pytest.approx(sorted(codes), rel=1e-6)


def test_no_echo(rng):
    """-32 dBZ, whether the echoes begin far above it or beside it; 0 K is no temperature."""
    for low in (-5, -31.5):
        echoes = rng.uniform(low, 60, COUNT)
        echoes[::2] = -32
        assert codes_in(echoes, units="dBZ") == [-32]
    assert codes_in(with_codes(rng.normal(280, 5, COUNT), 0.0), units="K") == [0]


def test_one_pixel_in_a_long_record(rng, capsys):
    """It is in no sample, but it is the largest of all values; what was stored is named."""
    rain = rain_of(rng)
    warn_of_codes("r.nc", rain, (0.0, 9.969209968386869e36), np.dtype("f4"))
    assert capsys.readouterr().err == (
        "warning: r.nc: 9.96920997e+36 (few values) looks like a code for missing values: if so, "
        "give --nodata 9.96920997e+36\n"
    )
    counts = with_codes(rng.integers(60, 180, COUNT).astype(float), 255)
    values = np.float32(counts * 0.5 - 32)
    warn_of_codes("r.nc", values, (-2.0, 95.5), np.dtype("u1"), lambda v: round((v + 32) / 0.5))
    assert (
        "255 (10.0% of the values, unpacked 95.5) looks like a code for missing values: if so, "
        "give --nodata 255"
    ) in capsys.readouterr().err


def test_the_warning_and_what_it_advises(tmp_path, rng, capsys):
    """In training, and for another file that is measured; with the code given it is silent."""
    counts = rng.integers(0, 120, (60, 8, 12)).astype(np.uint8)
    counts[:, :2, :3] = 255
    data = xr.Dataset({"rain": (("time", "y", "x"), counts)}, {"time": np.arange(60.0)})
    data.rain.attrs |= {"scale_factor": 0.5, "add_offset": -10.0}
    data.to_netcdf(tmp_path / "r.nc")
    np.save(tmp_path / "s.npy", counts.reshape(12, 5, 8, 12))
    options = {"value_range": (-10.0, 50.0), "input_frames": 3, "forecast_frames": 2}
    options |= {"batch_size": 1}
    for name, value_range in (("r.nc", (-10.0, 120.0)), ("s.npy", (0.0, 255.0))):
        path = str(tmp_path / name)
        options |= {"dataset": path, "value_range": value_range}
        config = make_config("small", resolve_dataset(options)[0])
        training_sources(config)
        assert "255 (6.2% of the values" in capsys.readouterr().err
        digits = make_config("small", {"input_frames": 3, "forecast_frames": 2})
        evaluation_source(digits, dataset=path, value_range=(0.0, 1.0))
        assert "give --nodata 255" in capsys.readouterr().err
        masked = options | {"nodata": (255.0,), "missing": "mask"}
        config = make_config("small", resolve_dataset(masked)[0])
        train, _ = training_sources(config)
        assert "--nodata" not in capsys.readouterr().err
        assert np.isnan(train[[0]]).sum() == 5 * 6
        with pytest.raises(InputError, match="values are "):
            training_sources(
                make_config("small", resolve_dataset(masked | {"missing": "refuse"})[0])
            )
