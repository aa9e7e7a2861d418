"""Units of data: whether two are the same, and how one becomes the other.

UDUNITS, to which CF refers, knows the units. What it does not know stands here: other spellings,
that a kilogram of water on a square metre is a millimetre deep, and that what falls in a step is
the rate times the step.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from src.errors import InputError

RAIN_RATE = "mm h-1"
# A reflectivity Z in mm^6/m^3 and a rain rate R in mm/h belong together by Z = a R^b: Marshall &
# Palmer 1948, The distribution of raindrops with size, Journal of Meteorology 5, 165-166; these
# numbers are from Marshall, Hitschfeld & Gunn 1955, Advances in Geophysics 2, 1-56.
MARSHALL_PALMER = 200.0, 1.6
UNKNOWN = ("", "-", "?", "none", "n/a", "na", "nan", "null", "undefined", "unknown")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
WATER_EQUIVALENT = re.compile(r"\s*\b(of )?(liquid )?(water( equivalent)?|w\.? ?e\.?)$", re.I)
STEP_IN_UNIT = re.compile(r"(?:/|\bper\b)\s*(\d+)\s*([A-Za-z]+)")
TEMPERATURE = re.compile(r"(?:deg(?:rees?)?\.?[ _]*)?([CFK])$", re.I)
GLUED_RATE = re.compile(r"(mm|cm|kg ?m-2)(s|sec|min|h|hr|hour|d|day)(?:\^|\*\*)?-1$", re.I)
# Names of precipitation in the CF table: its amount and flux by mass, its amount and rate by depth.
PRECIPITATION = tuple(
    (f"{kind}_amount", f"{kind}_flux", f"{depth}_{kind}_amount", f"{rate}{kind}_rate")
    for kind, depth, rate in (
        ("precipitation", "lwe_thickness_of", "lwe_"),
        ("convective_precipitation", "lwe_thickness_of", "lwe_"),
        ("stratiform_precipitation", "lwe_thickness_of", "lwe_"),
        ("snowfall", "lwe_thickness_of", "lwe_"),
        ("rainfall", "thickness_of", ""),
    )
)
DIMENSIONS = ("kg m-2", "kg m-2 s-1", "m", "m s-1")


class UnitsError(ValueError):
    """Units that are not known, or that cannot be converted; `known` says which of the two."""

    def __init__(self, reason, known):
        super().__init__(reason)
        self.known = known


@dataclass(frozen=True)
class Conversion:
    """How values in one unit become values in another.

    Args:
        source, target: the units, as they are spelled.
        via: the source as UDUNITS knows it, times the density of water or divided by the step.
        step: seconds of a step, if `source` or `target` is an amount in a step; else None.
        by_mass: whether one of them is a mass of water and the other its depth.
    """

    source: str
    target: str
    via: object
    step: float | None = None
    by_mass: bool = False

    def __call__(self, values):
        """Converts values: float64 stay so, all others become float32; NaN stays NaN."""
        dtype = self.dtype(values.dtype)
        exact = np.asarray(values, np.float64)
        return self.via.convert(exact, _unit(self.target)).astype(dtype).reshape(values.shape)

    def dtype(self, dtype):
        """The type of the values that values of this type become."""
        return np.dtype(np.float64 if dtype == np.float64 else np.float32)

    def added(self, constant):
        """The largest constant that is added to a value, in the target's units, if one has been
        added before, in the source's.
        """
        zero, end = (self.via.convert(x, _unit(self.target)) for x in (0.0, constant))
        return max(filter(np.isfinite, (abs(zero), abs(end - zero))), default=0.0)

    def describe(self):
        """The conversion in words."""
        amount = f" in {self.step:g} s, its step," if self.step else ""
        one, zero = (self.via.convert(x, _unit(self.target)) for x in (1.0, 0.0))
        factor = f" (1 becomes {one:.6g})" if abs(zero) < 1e-12 else ""
        return f"{self.source!r}{amount} is converted to {self.target!r}{factor}"

    def attributes(self, attributes):
        """The attributes of a variable after the conversion."""
        kept = dict(attributes) | {"units": self.target}
        if not (self.step or self.by_mass):
            return kept
        if self.step:
            kept.pop("cell_methods", None)
        family = _family(kept.pop("standard_name", None))
        target = _unit(self.target)
        for name, dimension in zip(family, DIMENSIONS, strict=False):
            if target.is_convertible(dimension):
                kept["standard_name"] = name
        return kept


def is_known(units):
    """Whether an attribute says a unit at all."""
    return isinstance(units, str) and units.strip().lower() not in UNKNOWN


def same_spelling(first, other):
    """Whether two units are the same but for their spelling, as far as that is told by the text."""
    return _plain(first) == _plain(other)


def same_name(first, other):
    """Whether two standard names are of the same quantity, in whatever units."""
    return first == other or other in _family(first)


@lru_cache(maxsize=256)
def conversion(source, target, step=None, water=False):
    """The `Conversion` of units, or None if the numbers stay as they are.

    Args:
        source, target: the units, as files spell them.
        step: seconds of the record's step, by which an amount becomes a rate; None: unknown.
        water: whether the values are of water, such as rain or snow.

    Raises:
        UnitsError: a unit is not known, or the two are of different things.
        InputError: cf-units is not installed.
    """
    if same_spelling(source, target):
        return None
    for text in (source, target):
        if _unit(text) is None:
            raise UnitsError(f"the units {text!r} are unknown to UDUNITS", known=False)
    unit, wanted = _unit(source), _unit(target)
    if unit.is_convertible(wanted):
        same = [abs(unit.convert(x, wanted) - x) < 1e-9 for x in (0.0, 1.0)]
        return None if all(same) else Conversion(source, target, unit)
    water = water or _is_rate_of_water(source, target)
    for by_mass, over_step in ((False, True), (True, False), (True, True)):
        if not water and (by_mass or not _is_energy(unit, wanted)):
            continue
        via = _related(unit, wanted, by_mass, (step or 1.0) if over_step else None)
        if via is None:
            continue
        if over_step and step is None:
            raise UnitsError(
                f"of {source!r} and {target!r} one is an amount and one a rate, and the record has "
                "no constant step in time",
                known=True,
            )
        same = abs(via.convert(1.0, wanted) - 1) < 1e-9 and not over_step
        changed = Conversion(source, target, via, step if over_step else None, by_mass)
        return None if same else changed
    raise UnitsError(f"{source!r} cannot be converted to {target!r}", known=True)


def converted(values, source, target):
    """Values in one unit, in another one; raises as `conversion` does."""
    found = conversion(source, target)
    return found(values) if found else values


def rain_rate(reflectivity, zr=MARSHALL_PALMER):
    """The rain rate in mm/h that belongs to a reflectivity in dBZ by Z = a R^b; `zr` is (a, b)."""
    a, b = zr
    return (10 ** (reflectivity / 10) / a) ** (1 / b)


def _related(unit, wanted, by_mass, step):
    """The unit as a depth in place of a mass, as a rate in place of an amount, or the reverse, if
    that can be converted to the wanted unit; else None.
    """
    if "lg(" in unit.definition or "ln(" in unit.definition:
        return None
    density, found = _cf_units().Unit("1000 kg m-3"), [unit]
    if by_mass:
        found = [unit / density, unit * density]
    if step is not None:
        time = _cf_units().Unit(f"{step:.17g} s")
        found = [each for x in found for each in (x / time, x * time)]
    return next((each for each in found if each.is_convertible(wanted)), None)


def _is_rate_of_water(*units):
    """Whether one of two units is a depth in millimetres or inches over a time."""
    rates = [_unit(text).is_convertible("m s-1") for text in units]
    spelled = [bool(re.search(r"mm|millim|inch|\bin\b", text, re.I)) for text in units]
    return any(rate and small for rate, small in zip(rates, spelled, strict=True))


def _is_energy(*units):
    """Whether one of two units is an energy on an area."""
    return any(unit.is_convertible("J m-2") for unit in units)


def _family(name):
    return next((names for names in PRECIPITATION if name in names), ())


def _plain(text):
    """A unit in one of its spellings: products of powers, the hour as h."""
    text = text.translate(SUPERSCRIPTS).strip().strip(".")
    text = re.sub(r"\*\*|\^", "", text)
    text = re.sub(r"[ .*·]+", " ", re.sub(r"\s*/\s*([A-Za-z]+)(?!\w)", r" \1-1", text))
    return re.sub(r"\b(?:hours?|hr)\b", "h", text)


@lru_cache(maxsize=256)
def _unit(text):
    """The unit of a text, or None if it is none that is known."""
    cf_units = _cf_units()
    if not is_known(text):
        return None
    text = text.translate(SUPERSCRIPTS).strip().strip(".")
    text = WATER_EQUIVALENT.sub("", text) or text
    text = STEP_IN_UNIT.sub(r"/(\1 \2)", text)
    temperature = TEMPERATURE.match(text)
    if temperature:
        text = {"C": "degC", "F": "degF", "K": "K"}[temperature[1].upper()]
    spellings = [text, GLUED_RATE.sub(r"\1 \2-1", text)]
    spellings += [each.lower() for each in spellings] + ["dBZ" if text.lower() == "dbz" else text]
    for spelling in dict.fromkeys(spellings):
        try:
            with cf_units.suppress_errors():
                return cf_units.Unit(spelling)
        except ValueError:
            continue
    return None


def _cf_units():
    try:
        import cf_units
    except ImportError as error:
        raise InputError(
            f"units cannot be compared without cf-units, which is not installed ({error.name}): "
            "pip install cf-units"
        ) from None
    return cf_units
