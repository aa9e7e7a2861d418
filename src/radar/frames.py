"""One composite of a radar network: its values and its grid, and what is done to both.

Rows run from north to south, columns from west to east; missing values are NaN. A reflectivity
Z = 10^(dBZ / 10) and a rain rate R in mm/h belong together by Z = a R^b.
"""

from dataclasses import dataclass, replace

import numpy as np

from src.errors import InputError
from src.formats.cf.units import MARSHALL_PALMER, rain_rate

RATE, AMOUNT, REFLECTIVITY = "mm/h", "mm", "dBZ"
# The reflectivity that stands for no rain, as in the archives of FMI and KNMI.
DRY_DBZ = -32.0
# Coordinates of one grid agree to this fraction of a pixel.
TOLERANCE = 0.01


@dataclass(frozen=True)
class RadarGrid:
    """Where the pixels of a composite are.

    Args:
        projection: a `pyproj.CRS`, or None if it is unknown.
        x, y: the centres of the columns and of the rows, in metres, or in degrees if the
            projection is geographic.
    """

    projection: object
    x: np.ndarray
    y: np.ndarray

    @property
    def shape(self):
        """Rows and columns."""
        return len(self.y), len(self.x)

    def difference(self, other):
        """How another grid differs from this one, in words; "" if it does not."""
        if self.shape != other.shape:
            return f"{_text(other.shape)} pixels, not {_text(self.shape)}"
        if self.projection != other.projection:
            return "another projection"
        for name in "xy":
            places, others = getattr(self, name), getattr(other, name)
            pixel = np.abs(np.diff(places)).min(initial=np.inf)
            if not np.allclose(places, others, 0, TOLERANCE * min(pixel, 1e9)):
                return f"other values of {name}"
        return ""


@dataclass(frozen=True)
class Frame:
    """A composite.

    Args:
        values: (H, W), float.
        unit: `RATE`, `AMOUNT` or `REFLECTIVITY`.
        grid: its `RadarGrid`.
        minutes: the interval of an accumulation, or None.
        zr: a and b of Z = a R^b.
        institution: who publishes it, or None.
    """

    values: np.ndarray
    unit: str
    grid: RadarGrid
    minutes: float | None = None
    zr: tuple[float, float] = MARSHALL_PALMER
    institution: str | None = None

    def as_unit(self, unit):
        """The frame as a rain rate or as a reflectivity."""
        if unit == self.unit:
            return self
        rate = self._rate()
        values = rate if unit == RATE else to_dbz(rate, self.zr)
        return replace(self, values=values, unit=unit)

    def _rate(self):
        if self.unit == AMOUNT:
            return self.values * (60 / self.minutes)
        return rain_rate(self.values, self.zr) if self.unit == REFLECTIVITY else self.values

    def crop(self, top, left, height, width):
        """The frame's part of `height` rows from row `top` on and `width` columns from `left` on.

        Raises:
            InputError: the part is not within the frame.
        """
        rows, columns = self.grid.shape
        if top + height > rows or left + width > columns:
            raise InputError(
                f"crop takes rows {top} to {top + height - 1} and columns {left} to "
                f"{left + width - 1}: the frames have {rows} rows and {columns} columns"
            )
        part = slice(top, top + height), slice(left, left + width)
        grid = replace(self.grid, y=self.grid.y[part[0]], x=self.grid.x[part[1]])
        return replace(self, values=self.values[part], grid=grid)

    def coarsen(self, n):
        """The frame on pixels of n x n of its own: the mean of their rain rates, also of a
        reflectivity. A pixel is missing if more than half of its own are. Rows at the bottom and
        columns at the right that fill no pixel are left out.

        Raises:
            InputError: the frame is smaller than one such pixel.
        """
        rows, columns = (side // n for side in self.grid.shape)
        if not rows * columns:
            raise InputError(f"coarsen is {n}: the frames have {_text(self.grid.shape)} pixels")
        blocks = self._rate()[: rows * n, : columns * n].reshape(rows, n, columns, n)
        known = np.isfinite(blocks)
        count = known.sum((1, 3))
        total = np.where(known, blocks, 0).sum((1, 3), np.float64)
        mean = np.full(count.shape, np.nan)
        np.divide(total, count, out=mean, where=2 * count >= n * n)
        y, x = (
            axis[: size * n].reshape(size, n).mean(1)
            for axis, size in ((self.grid.y, rows), (self.grid.x, columns))
        )
        values = to_dbz(mean, self.zr) if self.unit == REFLECTIVITY else mean
        unit = REFLECTIVITY if self.unit == REFLECTIVITY else RATE
        return replace(self, values=values, unit=unit, grid=replace(self.grid, x=x, y=y))


def to_dbz(rate, zr):
    """The reflectivity in dBZ that belongs to a rain rate in mm/h, at least `DRY_DBZ`."""
    a, b = zr
    return 10 * np.log10(np.maximum(a * np.asarray(rate) ** b, 10 ** (DRY_DBZ / 10)))


def _text(shape):
    return "x".join(map(str, shape))
