"""Values that look like codes for missing ones, although the data do not declare them."""

import sys

import numpy as np

# The most values, and the number of frames or sequences, that are looked at.
LOOKED_AT, SAMPLED = 1 << 20, 16
# The most codes at each end of the values.
CODES = 3
# Codes above and below the other values are farther from them than this fraction of their range ...
FAR, FAR_BELOW = 0.25, 0.1
# ... and than this many times the widest gap between those.
WIDE = 3
# An unusual code is one if this fraction of the values, and so many, have it, and if so many other
# values are different ones.
OFTEN, TIMES, OTHERS = 1e-3, 10, 8
# Usual codes: below all values, and the largest number of a type or a row of nines.
BELOW = (-99.0, -99.9, -999.0, -999.9, -9999.0, -9999.9, -99999.0)
ABOVE = (999.0, 9999.0, 99999.0, 1e20)
# No data reach this.
ABSURD = 1e30
# Radars write so low a reflectivity where there is no echo; so many pixels are not by chance.
NO_ECHO, NO_ECHO_FRACTION = -20.0, 0.3


def sample_of(read, indices):
    """Some of the values of frames or sequences, (n,): evenly spread ones that are not missing.

    Args:
        read: function of an index that returns an array.
        indices: the indices.
    """
    spread = np.unique(np.linspace(0, len(indices) - 1, SAMPLED).astype(int))
    pieces = []
    for n in spread:
        values = np.ravel(read(indices[n]))
        # An odd step, so that it is not always the same columns.
        piece = values[:: -(-values.size * len(spread) // LOOKED_AT) | 1]
        pieces.append(piece[np.isfinite(piece)])
    return np.concatenate(pieces)


def warn_of_codes(path, sample, extremes, stored_dtype, stored=float, units=None):
    """Warns on stderr of values that look like codes for missing ones.

    Args:
        path: name of the data.
        sample: (n,), some of the values.
        extremes: the smallest and the largest of all values.
        stored_dtype: the type in which the values are stored.
        stored: function of a value that returns the number that is stored for it.
        units: the units of the values.
    """
    codes = suspected_codes(sample, extremes, stored_dtype, stored, units)
    if not codes:
        return
    words = []
    for value in codes:
        fraction = np.mean(sample == value)
        often = f"{fraction:.1%} of the values" if fraction >= 5e-4 else "few values"
        number = f"{stored(value):.9g}"
        unpacked = "" if float(number) == float(f"{value:.9g}") else f", unpacked {value:.6g}"
        words.append((number, f"{number} ({often}{unpacked})"))
    numbers, texts = zip(*words, strict=True)
    verb = "looks" if len(codes) == 1 else "look"
    print(
        f"warning: {path}: {' and '.join(texts)} {verb} like a code for missing values: if so, "
        f"give --nodata {' '.join(numbers)}",
        file=sys.stderr,
    )


def suspected_codes(sample, extremes, stored_dtype, stored=float, units=None):
    """The values that look like codes, ascending; arguments as in `warn_of_codes`."""
    values = np.union1d(sample, [e for e in extremes if np.isfinite(e)]).astype(np.float64)
    absurd = np.abs(values) > ABSURD
    found, values = values[absurd].tolist(), values[~absurd]

    def is_code(value, is_below, others):
        """Whether the value itself may be a code, beside its distance to so many others."""
        if value == 0 and units != "K":
            return False
        if _usual(stored(value), stored_dtype, is_below):
            return True
        return others >= OTHERS and np.sum(sample == value) >= max(TIMES, OFTEN * sample.size)

    below, above = _ends(values, is_code)
    found += [*values[:below], *values[len(values) - above :]]
    if not found and len(values) and "dbz" in str(units).lower():
        lowest = values[0]
        if lowest <= NO_ECHO and np.mean(sample == lowest) >= NO_ECHO_FRACTION:
            found = [lowest]
    return sorted(map(float, found))


def _ends(values, is_code):
    """How many of some ascending values are codes, below and above the others; as many as can be.

    Args:
        values: the values, (n,).
        is_code: function of a value, whether it is below, and the number of the others.
    """
    gaps = np.diff(values)
    for count in range(2 * CODES, 0, -1):
        for below in range(max(0, count - CODES), min(count, CODES) + 1):
            stop = len(values) - (count - below)
            others, inner = values[below:stop], gaps[below : stop - 1]
            if len(others) < (1 if below == count else 2):
                continue
            near, spread = WIDE * inner.max(initial=0), others[-1] - others[0]
            ends = (values[:below], gaps[below - 1 : below]), (values[stop:], gaps[stop - 1 : stop])
            if all(
                gap > max(near, far * spread) and is_code(value, far == FAR_BELOW, len(others))
                for (codes, distance), far in zip(ends, (FAR_BELOW, FAR), strict=True)
                for gap in distance
                for value in codes
            ):
                return below, count - below
    return 0, 0


def _usual(number, dtype, is_below):
    """Whether a stored number is a usual code, below or above the values."""
    if np.isclose(number, BELOW if is_below else ABOVE, rtol=1e-6, atol=0).any():
        return True
    if dtype.kind == "f":
        return number in ((-32768.0, -32767.0) if is_below else (32767.0, 65535.0))
    limits = np.iinfo(dtype)
    if is_below:
        return dtype.kind == "i" and number in (limits.min, limits.min + 1)
    return number in (limits.max, limits.max - 1)
