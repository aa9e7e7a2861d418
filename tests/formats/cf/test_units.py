"""Units: which are the same, how one becomes the other by hand, and what is refused."""

import sys

import numpy as np
import pytest

from src.errors import InputError
from src.formats.cf.units import UnitsError, conversion, same_name

SAME = [
    *("mm/h", "mm/hr", "mm/hour", "mm h^-1", "mm.h-1", "mm h**-1", "kg m-2 h-1", "mmh-1", "mmhr-1"),
    *("MM/H", "MM/HR", "millimeters/hour", "Millimetres per hour", "mm h⁻¹", "mm / h", "l m-2 h-1"),
]


@pytest.mark.parametrize("units", SAME)
def test_spellings_of_millimetres_an_hour(units):
    """The numbers stay as they are, so nothing is converted."""
    assert conversion(units, "mm h-1") is None
    assert conversion("mm h-1", units) is None


@pytest.mark.parametrize(
    ("source", "target", "step", "value", "expected"),
    [
        ("mm s-1", "mm h-1", None, 0.001, 3.6),
        ("m s-1", "mm/h", None, 1e-6, 3.6),
        ("kg m-2 s-1", "MM/H", None, 0.001, 3.6),
        ("kg m**-2 s**-1", "mm d-1", None, 0.001, 86.4),
        ("mm/5min", "mm h-1", None, 0.5, 6.0),
        ("mm per 10 minutes", "mm h-1", None, 1.0, 6.0),
        ("inch/hr", "mm/h", None, 1.0, 25.4),
        ("mm", "mm h-1", 300.0, 0.5, 6.0),
        ("kg m-2", "mm h-1", 600.0, 1.0, 6.0),
        ("m of water equivalent", "mm h-1", 3600.0, 0.001, 1.0),
        ("mm h-1", "mm", 300.0, 6.0, 0.5),
        ("mm h-1", "kg m-2 s-1", None, 3.6, 0.001),
        ("J m-2", "W m-2", 3600.0, 7200.0, 2.0),
        ("degC", "K", None, 20.0, 293.15),
        ("deg C", "K", None, 20.0, 293.15),
        ("C", "degF", None, 100.0, 212.0),
        ("hPa", "Pa", None, 1013.25, 101325.0),
        ("%", "1", None, 50.0, 0.5),
        ("dBZ", "mm6 m-3", None, 30.0, 1000.0),
    ],
)
def test_values_by_hand(source, target, step, value, expected):
    """NaN stays NaN, and 32 bits stay 32 bits."""
    convert = conversion(source, target, step)
    values = convert(np.array([[value, np.nan]], np.float32))
    assert values.dtype == np.float32
    assert values.shape == (1, 2)
    np.testing.assert_allclose(values, [[expected, np.nan]], rtol=1e-6)
    assert convert(np.array([3], np.int16)).dtype == np.float32
    assert convert(np.array([3.0])).dtype == np.float64


@pytest.mark.parametrize(
    ("source", "target", "step", "message"),
    [
        ("dBZ", "mm h-1", 300.0, "'dBZ' cannot be converted to 'mm h-1'"),
        ("DBZ", "mm/h", 300.0, "'DBZ' cannot be converted to 'mm/h'"),
        ("mm h-1", "dBZ", 300.0, "cannot be converted"),
        ("K", "m s-1", 300.0, "cannot be converted"),
        ("mm", "mm h-1", None, "one is an amount and one a rate, .* no constant step"),
        ("m", "m s-1", 300.0, "cannot be converted"),
        ("kg m-2 s-1", "m s-1", None, "cannot be converted"),
        ("level", "mm h-1", None, "units 'level' are unknown to UDUNITS"),
    ],
)
def test_what_cannot_be_converted(source, target, step, message):
    """A height is no rain: only of water is a length in a step a rate."""
    with pytest.raises(UnitsError, match=message):
        conversion(source, target, step)


def test_water_is_told_by_its_name():
    """ERA5's m in an hour, 0.0036 m, is 1e-6 m/s; a flux by mass is 1/1000 of that by depth."""
    assert conversion("m", "m s-1", 3600.0, True)(np.float64([0.0036])) == pytest.approx([1e-6])
    assert conversion("kg m-2 s-1", "m s-1", None, True)(np.float64([1.0])) == pytest.approx([1e-3])


def test_attributes_are_those_of_the_converted_values():
    """A flux by mass that becomes a rate by depth has another name in the CF table."""
    rain = {"standard_name": "precipitation_flux", "units": "kg m-2 s-1", "long_name": "rain"}
    assert conversion("kg m-2 s-1", "mm h-1").attributes(rain) == {
        "standard_name": "lwe_precipitation_rate", "units": "mm h-1", "long_name": "rain",
    }  # fmt: skip
    amount = {"standard_name": "rainfall_amount", "units": "kg m-2", "cell_methods": "time: sum"}
    assert conversion("kg m-2", "mm h-1", 300.0).attributes(amount) == {
        "standard_name": "rainfall_rate", "units": "mm h-1",
    }  # fmt: skip
    other = {"standard_name": "runoff_flux", "units": "kg m-2 s-1"}
    assert conversion("kg m-2 s-1", "mm h-1").attributes(other) == {"units": "mm h-1"}
    warm = {"standard_name": "air_temperature", "units": "K"}
    assert conversion("K", "degC").attributes(warm) == warm | {"units": "degC"}
    assert same_name("precipitation_flux", "lwe_precipitation_rate")
    assert not same_name("precipitation_flux", "rainfall_flux")


def test_without_cf_units(monkeypatch):
    """Usual spellings need no package; what does names it."""
    monkeypatch.setitem(sys.modules, "cf_units", None)
    for units in ("mm/h", "mm/hr", "mm/hour", "mm h-1", "mm hour-1", "mm h^-1", "mm.h-1"):
        assert conversion(units, "mm h-1") is None
    with pytest.raises(InputError, match="pip install cf-units"):
        conversion("mm a-1", "mm h-1")
