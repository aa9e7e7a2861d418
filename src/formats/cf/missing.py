"""Which stored values stand for missing ones, and how the others are unpacked.

xarray unpacks the values and knows `_FillValue` and `missing_value`. The other rules are those of
the NetCDF Users' Guide, as netCDF4-python applies them: the default fill value of each type, and
`valid_min`, `valid_max` and `valid_range`;
https://docs.unidata.ucar.edu/nug/current/attribute_conventions.html.
"""

from dataclasses import dataclass

import numpy as np

# Attributes by which xarray unpacks values.
PACKING = ("scale_factor", "add_offset")
FILLS = ("_FillValue", "missing_value")
# Given codes are compared with this relative tolerance: a float32 holds -999.9 as -999.90002.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Rule:
    """Values that are missing: a code, or those beyond a limit.

    Args:
        words: the rule in words; "" for what versions before 0.3.0 knew, and for what is given.
        compare: function of an array that says where its values are missing.
        unpacked: whether it compares the unpacked values, not the stored ones.
    """

    words: str
    compare: object
    unpacked: bool = False


class Decoder:
    """Turns stored values of one variable into numbers, with NaN where they are missing.

    Integers that are not packed stay integers, except where a value is missing.

    Args:
        variable: the variable as it is stored, of xarray.
        nodata: further stored values that stand for missing ones, or None.
        is_netcdf: whether the file is NetCDF, in which integers have a default fill value too.
    """

    def __init__(self, variable, nodata=None, is_netcdf=True):
        attributes = variable.attrs
        self.attributes = {k: attributes[k] for k in PACKING if k in attributes}
        self.dtype = _type_of(variable.dtype, attributes.get("_Unsigned"))
        # Whether `_Unsigned` says that the type is another one.
        self.corrected = self.dtype.kind != variable.dtype.kind
        if self.corrected:
            self.attributes["_Unsigned"] = str(attributes["_Unsigned"]).lower()
        self.notes, self.applied = [], set()
        fills = {name: self._numbers(attributes, name) for name in FILLS}
        self.rules = [self._code(value) for values in fills.values() for value in values]
        # One of them lets xarray choose the type of the values; the rules find the others.
        for name in [name for name in FILLS if fills[name]][:1]:
            fill = fills[name][0]
            own = np.asarray(fill).astype(variable.dtype)[()] if self.corrected else fill
            self.attributes[name] = own
        if "_FillValue" not in attributes and (is_netcdf or self.dtype.kind == "f"):
            self.rules += self._default_fill()
        self.rules += [self._given(value) for value in nodata or ()]
        self.rules += self._limits(attributes)

    def __call__(self, stored):
        """The values of stored ones, an array of any shape."""
        values = self._unpacked(stored)
        if self.corrected:
            stored = stored.view(self.dtype.newbyteorder(stored.dtype.byteorder))
        missing = np.zeros(values.shape, bool)
        for rule in self.rules:
            found = rule.compare(values if rule.unpacked else stored)
            if rule.words and rule.words not in self.applied and (found & ~missing).any():
                self.applied.add(rule.words)
            missing |= found
        return with_nan(values, missing)

    def stored(self, value):
        """The number that is stored for a value."""
        scale, offset = self.attributes.get("scale_factor", 1), self.attributes.get("add_offset", 0)
        number = float((value - offset) / scale)
        return round(number) if self.dtype.kind in "iu" else number

    @property
    def added(self):
        """The constant that unpacking adds to a value, without its sign; None if none is packed."""
        if self.attributes.keys().isdisjoint(PACKING):
            return None
        return abs(float(self.attributes.get("add_offset", 0)))

    def _unpacked(self, stored):
        """The values as xarray unpacks them."""
        import xarray

        dims = [f"d{k}" for k in range(stored.ndim)]
        packed = xarray.Dataset({"x": (dims, stored, self.attributes)})
        return xarray.decode_cf(packed, decode_times=False, decode_coords=False)["x"].values

    def _numbers(self, attributes, name):
        """The numbers of an attribute, a list without NaN; what is no number is not used."""
        if name not in attributes:
            return []
        found = np.ravel(attributes[name])
        if found.dtype.kind not in "iuf":
            found = _parsed(attributes[name])
        if found is None:
            self.notes.append(f"its {name}, {attributes[name]!r}, is no number and is not used")
            return []
        return [value.item() for value in found if not np.isnan(value)]

    def _code(self, value, words=""):
        """The rule of a stored value, which need not be written in the variable's own type."""
        dtype = self.dtype
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                spellings = {float(dtype.type(value)), float(np.float32(value))}
            return Rule(words, lambda stored: _is_any(stored, spellings))
        value, limits = self._wrapped(value), np.iinfo(dtype)
        fits = float(value).is_integer() and limits.min <= value <= limits.max
        return Rule(words, lambda stored: _is_any(stored, {int(value)} if fits else ()))

    def _given(self, value):
        """The rule of a value that is given, as it is stored."""
        if self.dtype.kind == "f":
            return Rule("", lambda stored: is_close(stored, value))
        return self._code(value)

    def _wrapped(self, value):
        """A stored value; where `_Unsigned` corrects the type, it may have the other sign."""
        if not self.corrected:
            return value
        values = 2 ** (8 * self.dtype.itemsize)
        if self.dtype.kind == "u":
            return value + values if -values // 2 <= value < 0 else value
        return value - values if values // 2 <= value < values else value

    def _default_fill(self):
        """The rule of the type's default fill value; bytes have none, nor has a corrected type."""
        import netCDF4

        fill = netCDF4.default_fillvals.get(self.dtype.str[1:])
        if fill is None or self.dtype.itemsize == 1 or self.corrected:
            return []
        return [
            self._code(fill, f"{fill:.9g}, the default fill value of {self.dtype.name}, is missing")
        ]

    def _limits(self, attributes):
        """The rules of `valid_range`, or else of `valid_min` and `valid_max`."""
        pair = self._numbers(attributes, "valid_range")
        if len(pair) == 2:
            found = [("valid_range", pair[0], np.less), ("valid_range", pair[1], np.greater)]
        else:
            if pair:
                self.notes.append(f"its valid_range has {len(pair)} values and is not used")
            found = [
                (name, self._numbers(attributes, name), compare)
                for name, compare in (("valid_min", np.less), ("valid_max", np.greater))
            ]
            found = [(name, values[0], compare) for name, values, compare in found if values]
        return [self._limit(attributes, *limit) for limit in found]

    def _limit(self, attributes, name, value, compare):
        """The rule of one limit.

        It is a stored value; but in the Users' Guide a float is an unpacked one if the file packs
        floats into integers.
        """
        packs = {"scale_factor", "add_offset"} & set(attributes)
        unpacked = bool(packs) and self.dtype.kind in "iu"
        unpacked &= np.asarray(attributes[name]).dtype.kind == "f"
        if unpacked:
            note = f"its {name} is of another type than the packed values: it limits unpacked ones"
            self.notes += [note] if note not in self.notes else []
        elif self.dtype.kind == "f":
            value = self.dtype.type(value)
        else:
            value = self._wrapped(value)
        words = f"values beyond {name} are missing"
        return Rule(words, lambda array: compare(array, value), unpacked)


def _type_of(dtype, unsigned):
    """The type of stored values, which `_Unsigned` may correct."""
    word = str(unsigned).lower()
    if dtype.kind == "i" and word == "true":
        return np.dtype(f"u{dtype.itemsize}")
    if dtype.kind == "u" and word == "false":
        return np.dtype(f"i{dtype.itemsize}")
    return dtype.newbyteorder("=")


def _parsed(text):
    """Numbers that are written as text, or None."""
    try:
        return np.array([float(word) for word in str(text).replace(",", " ").split()])
    except ValueError:
        return None


def _is_any(stored, values):
    """Where an array has one of some values."""
    found = np.zeros(stored.shape, bool)
    for value in values:
        found |= stored == value
    return found


def is_close(stored, code):
    """Where an array has a code, up to rounding."""
    if stored.dtype.kind != "f" or not np.isfinite(code):
        return _is_any(stored, {code})
    with np.errstate(invalid="ignore", over="ignore"):
        return np.abs(stored - stored.dtype.type(code)) <= TOLERANCE * abs(code)


def with_nan(values, missing):
    """An array with NaN where `missing` is true; integers become floats if it is anywhere."""
    if not missing.any():
        return values
    dtype = values.dtype if values.dtype.kind == "f" else np.result_type(values.dtype, np.float32)
    return np.where(missing, dtype.type(np.nan), values.astype(dtype, copy=False))


def without_nan(values, dtype):
    """An array in its variable's type again, if that is of integers and nothing is missing."""
    if dtype.kind == "f" or values.dtype.kind != "f" or not np.isfinite(values).all():
        return values
    return values.astype(dtype)


def remove_zero_fills(dataset, is_zarr):
    """Removes the fill value 0 from variables for which nobody chose it; returns their names.

    Version 2 of Zarr has one `fill_value`, for what was never written. xarray writes `_FillValue`
    there, and null where there is none; zarr itself writes 0. So 0 is no fill value where all
    variables of a store have it, and never that of a coordinate, which has no missing values.

    Args:
        dataset: a Dataset that is not decoded.
        is_zarr: whether it is of a Zarr store.
    """
    numeric = [name for name, v in dataset.variables.items() if v.dtype.kind in "iuf"]
    zero = [name for name in numeric if np.array_equal(_fill_of(dataset, name), 0)]
    is_default = is_zarr and len(zero) == len(numeric)
    dropped = zero if is_default else [name for name in zero if name in dataset.dims]
    for name in dropped:
        del dataset.variables[name].attrs["_FillValue"]
    return dropped


def _fill_of(dataset, name):
    return dataset.variables[name].attrs.get("_FillValue")


class WithoutNodata:
    """An array in which some values read as NaN, floats; of slices alone it gives such an array.

    Args:
        array: an array of numbers, which may be a memory map.
        nodata: the values.
    """

    def __init__(self, array, nodata):
        self.array, self.nodata = array, nodata
        self.shape, self.ndim, self.nbytes = array.shape, array.ndim, array.nbytes
        is_float = array.dtype.kind == "f"
        self.dtype = array.dtype if is_float else np.result_type(array.dtype, np.float32)

    def __len__(self):
        return len(self.array)

    def __getitem__(self, key):
        values = self.array[key]
        if isinstance(key, tuple) and all(isinstance(k, slice) for k in key):
            return WithoutNodata(values, self.nodata)
        missing = np.any([is_close(values, code) for code in self.nodata], axis=0)
        return with_nan(np.asarray(values).astype(self.dtype, copy=False), missing)


def without_nodata(array, nodata):
    """An array, `WithoutNodata` if there are such values."""
    return WithoutNodata(array, nodata) if nodata else array
