"""How values become colours: grey levels, a colour map over the value range, classes of rain.

They cover the whole value range, so that pictures of different epochs and runs are comparable; rain
has the colours of weather services, in classes that widen with it.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize, from_levels_and_colors

from src.data.normalizer import denormalize, normalize
from src.formats.cf.units import RAIN_RATE, is_known, same_spelling

# The lightness of this colour map grows evenly, for every kind of colour vision.
ERROR_COLOURS = "cividis"
# So does that of the values' colour map; missing values are grey. Pixels are shown as grey levels.
VALUE_COLOURS, PIXEL_COLOURS, MISSING = "viridis", "gray", "#b8b8b8"
PIXEL_RANGES = ((0.0, 1.0), (0.0, 255.0))
# Limits of the classes of rain, in mm/h and in dBZ, and their colours, the first and the last of
# which are below and above all limits; after the maps of STEPS-BE, Foresti et al. 2016, Hydrol.
# Earth Syst. Sci. 20, 505-527.
RAIN_CLASSES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
DBZ_CLASSES = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50)
RAIN_COLOURS = (
    *("white", "cyan", "deepskyblue", "blue", "chartreuse", "green", "yellow", "orange", "red"),
    *("magenta", "darkmagenta"),
)
# Colours of forecast less truth, white at 0: of rain from too dry to too wet, and of other data;
# they reach to this percentile of the errors above a hundredth of the largest.
RAIN_ERRORS, ERRORS, PERCENTILE = "BrBG", "RdBu_r", 99
# A colour bar below the first height has room for two numbers only, one below the second for five.
LOW_BAR, TALL_BAR = 60, 150
BAR_TICKS = (0, 0.25, 0.5, 0.75, 1)


@dataclass(frozen=True)
class ColorScale:
    """How values become colours: pixels as grey levels, others by a colour map with a colour bar.

    Args:
        value_range: the values at the two ends of the colours.
        transform: a transform of `src.data.normalizer`; the colours are even in transformed values.
        label: name and units of the values, "rain (mm h-1)" for example.
        classes: the limits of the classes of rain, in the units of the values; (): no rain.
    """

    value_range: tuple[float, float] = (0.0, 1.0)
    transform: str = "none"
    label: str = ""
    classes: tuple[float, ...] = ()

    @property
    def is_of_pixels(self):
        """Whether the values are grey levels."""
        plain = tuple(map(float, self.value_range)) in PIXEL_RANGES and self.transform == "none"
        return plain and not self.label

    @property
    def colours(self):
        """The colour map of one channel, and the norm of what `_as_images` returns."""
        if self.classes:
            colours, norm = from_levels_and_colors(self.classes, RAIN_COLOURS, extend="both")
            return colours.with_extremes(bad=MISSING), norm
        name = PIXEL_COLOURS if self.is_of_pixels else VALUE_COLOURS
        return colour_map(name), Normalize(0, 1)

    def ticks(self, height):
        """The positions and the texts of the numbers beside a colour bar of some pixels' height."""
        ticks = self.classes or BAR_TICKS
        if height < LOW_BAR:
            ticks = (ticks[0], ticks[-1])
        elif self.classes and height < TALL_BAR:
            ticks = ticks[::2]
        values = ticks if self.classes else self.values_at(ticks)
        return ticks, [f"{value:.4g}" for value in values]

    def scaled(self, frames):
        """The values scaled to [0, 1], not clipped; float64 unless they are transformed."""
        if self.transform != "none":
            return normalize(np.asarray(frames), self.value_range, self.transform)
        low, high = self.value_range
        return (np.asarray(frames, np.float64) - low) / (high - low)

    def values_at(self, ticks):
        """The values at some positions in [0, 1] along the colour bar."""
        return denormalize(np.array(ticks, np.float32), self.value_range, self.transform)


def color_scale(source):
    """The `ColorScale` of a source's frames."""
    normalizer, grid = source.normalizer, source.grid
    label, classes = "", ()
    if grid is not None:
        label = f"{grid.variable} ({grid.units})" if grid.units else grid.variable
    units = grid.units if grid is not None and is_known(grid.units) else ""
    if normalizer.transform == "dbz" or same_spelling(units, RAIN_RATE):
        classes = RAIN_CLASSES
    elif units.lower() == "dbz":
        classes = DBZ_CLASSES
    return ColorScale(normalizer.value_range, normalizer.transform, label, classes)


def colour_map(name):
    """A colour map with grey for missing values."""
    return colormaps[name].with_extremes(bad=MISSING)
