"""Synthetic rain in mm/h: cells that move with the wind, grow and decay.

A clustered point process in space and time: rain areas are born at random, each with a broad weak
shield and with cells that are born around its centre. Every cell is an elliptical Gaussian whose
rate and size rise and fall over its life. All move with one wind that turns slowly; cells also have
a small velocity of their own. The domain is a torus wider than the frame, so that rain moves in
from outside.

Sources of the construction: Cox & Isham 1988, "A simple spatial-temporal model of rainfall" (Proc.
R. Soc. Lond. A 415), and Northrop 1998, "A clustered spatial-temporal model of rainfall" (Proc. R.
Soc. Lond. A 454). The constants below are typical of mid-latitude radar images, but not fitted to
data. Not modelled: texture within a cell, mergers and splits, terrain, fronts, winds that differ
from place to place, and errors of measurement.

Frame t of record i is a pure function of (seed, i, t): what is born in a block of an hour is drawn
from the Philox stream with key (seed, KEY) and counter (0, 0, block, i).
"""

import numpy as np
from scipy.special import ndtri

from src.errors import InputError
from src.formats.arrays import npy_header
from src.runtime.files import write_atomically
from src.runtime.progress import progress

KEY = 0x7261696E
MINUTES, KILOMETRES = 6.0, 2.0
# Pixels per frame at 1 m/s.
SPEED = 60 * MINUTES / (1000 * KILOMETRES)
# The mean wind in m/s, to the south and to the east, and the periods and amplitude of three waves
# that vary each component; the path of the air then has a closed form.
WIND = (0.0, 9.0)
WAVES_MINUTES = (540.0, 1560.0, 3660.0)
WAVE_SPEED = 3.0
# Rain rates in mm/h: a radar does not detect less; its products cap more, because it may be hail.
LOWEST, HIGHEST = 0.1, 60.0

# In frames: the length of a block, and the shortest and longest life of an area and of a cell.
BLOCK = 10
AREA_LIFE, CELL_LIFE = (20, 50), (8, 30)
# The number of earlier blocks whose areas may still have living cells.
PAST = -(-(AREA_LIFE[1] + CELL_LIFE[1]) // BLOCK)
# The most areas in a block and cells in an area, and the probability that each is born.
AREAS, AREA_CHANCE = 10, 0.4
CELLS, CELL_CHANCE = 24, 0.6
# Pixels by which the torus is wider than the frame.
BEYOND = 128

# Lengths in pixels and times in frames; pairs are y and x, axes those of the ellipse.
CELL = np.dtype(
    [
        ("birth", "f8"),
        ("life", "f8"),
        ("place", "f8", 2),
        ("velocity", "f8", 2),
        ("axes", "f8", 2),
        ("angle", "f8"),
        ("rate", "f8"),
    ]
)
KINDS = (".npy", ".nc")
START = "2000-01-01"
AT_A_TIME = 100


class RainCells:
    """Records of synthetic rain, generated when they are read.

    Args:
        seed: seed of all records.
        image_size: (height, width) in pixels of 2 km.
    """

    def __init__(self, seed, image_size=(64, 64)):
        self.seed = seed
        self.image_size = tuple(image_size)
        self.world = np.array(image_size) + BEYOND

    def frames(self, record, start, stop):
        """Frames `start` to `stop` - 1 of a record, 6 minutes apart.

        Returns:
            (stop - start, H, W), float32, mm/h: 0, or from 0.1 to 60.
        """
        blocks = range(start // BLOCK, (stop - 1) // BLOCK + PAST + 1)
        cells = np.concatenate([self._born(record, block) for block in blocks])
        waves = 2 * np.pi * self._uniform(record, 0, (2, len(WAVES_MINUTES)))
        return np.stack([self._frame(cells, t, _path(waves, t)) for t in range(start, stop)])

    def _uniform(self, record, number, shape):
        """Random numbers in (0, 1): number 0 is for the whole record, n + 1 for its block n."""
        stream = np.random.Philox(key=[self.seed, KEY], counter=[0, 0, number, record])
        whole = stream.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return (whole.reshape(shape) + 0.5) * 2.0**-53

    def _born(self, record, block):
        """The shields and cells of the areas that are born in a block, (N,) of `CELL`.

        Block PAST begins with frame 0.
        """
        draws = self._uniform(record, block + 1, (AREAS, 8 + 11 * CELLS))
        chance, birth, life, y, x, angle, size, rate = draws[:, :8].T
        birth = (block - PAST + birth) * BLOCK
        life = _between(life, *AREA_LIFE)
        centre, angle = np.stack([y, x], -1) * self.world, np.pi * angle

        shields = np.zeros(AREAS, CELL)
        shields["birth"], shields["life"] = birth, life
        shields["place"], shields["angle"] = centre, angle
        shields["axes"] = _between(size, 8, 16)[:, None] * (1, 0.6)
        shields["rate"] = _between(rate, 0.8, 3.0)

        draws = np.moveaxis(draws[:, 8:].reshape(AREAS, 11, CELLS), 1, 0)
        normal = ndtri(draws[:6])
        cells = np.zeros((AREAS, CELLS), CELL)
        cells["birth"] = birth[:, None] + life[:, None] * draws[6]
        cells["life"] = _between(draws[7], *CELL_LIFE)
        offset = _turned(np.stack([10 * normal[0], 5 * normal[1]], -1), angle[:, None])
        cells["place"] = centre[:, None] + offset
        cells["velocity"] = 1.0 * SPEED * np.moveaxis(normal[2:4], 0, -1)
        cells["angle"] = angle[:, None] + 0.3 * normal[4]
        cells["rate"] = 9 * np.exp(0.6 * normal[5])
        long = _between(draws[8], 2.5, 5.0)
        cells["axes"] = np.stack([long, long * _between(draws[9], 0.5, 1.0)], -1)

        exists = chance < AREA_CHANCE
        return np.concatenate([shields[exists], cells[exists[:, None] & (draws[10] < CELL_CHANCE)]])

    def _frame(self, cells, t, moved):
        """Frame t, (H, W), float32; `moved` is how far the air has moved by then, in pixels."""
        age = (t - cells["birth"]) / cells["life"]
        alive = (age > 0) & (age < 1)
        cells, age = cells[alive], age[alive]
        place = cells["place"] + moved + cells["velocity"] * (age * cells["life"])[:, None]
        axes = cells["axes"] * (0.7 + 0.3 * np.sin(np.pi * age))[:, None]
        # Of the positions that a cell has on the torus, the one nearest to the frame counts.
        middle = np.array(self.image_size) / 2
        place = (place - middle + self.world / 2) % self.world - self.world / 2 + middle
        reach = 4 * axes.max(1, keepdims=True)
        near = ((place > -reach) & (place < self.image_size + reach)).all(1)
        rate = (cells["rate"] * np.sin(np.pi * age) ** 2)[near]
        rain = _ellipses(rate, place[near], axes[near], cells["angle"][near], self.image_size)
        rain[rain < LOWEST] = 0
        return np.minimum(rain, np.float32(HIGHEST))


def _ellipses(rate, place, axes, angle, image_size):
    """The sum of elliptical Gaussians, (H, W), float32."""
    y, x = (
        np.arange(side, dtype=np.float32) - place[:, [k]].astype(np.float32)
        for k, side in enumerate(image_size)
    )
    sin, cos = np.sin(angle), np.cos(angle)
    along, across = 0.5 / axes.T**2
    yy, xx, yx = (
        values.astype(np.float32)[:, None]
        for values in (
            along * cos**2 + across * sin**2,
            along * sin**2 + across * cos**2,
            2 * (along - across) * sin * cos,
        )
    )
    exponent = (yy * y * y)[:, :, None] + (xx * x * x)[:, None] + (yx * y)[:, :, None] * x[:, None]
    return np.tensordot(rate.astype(np.float32), np.exp(-exponent), 1)


def _path(waves, t):
    """How far the air has moved by frame t, (y, x) in pixels, up to a constant."""
    turns = 2 * np.pi * MINUTES / np.array(WAVES_MINUTES)
    return SPEED * (np.array(WIND) * t + (WAVE_SPEED / turns * np.sin(turns * t + waves)).sum(1))


def _between(uniform, low, high):
    return low + (high - low) * uniform


def _turned(points, angle):
    """Points (..., 2), y and x, rotated by an angle from y towards x."""
    y, x = points[..., 0], points[..., 1]
    sin, cos = np.sin(angle), np.cos(angle)
    return np.stack([cos * y - sin * x, sin * y + cos * x], -1)


def write_sequences(path, rain, count, frames):
    """Writes (count, frames, H, W), float32: the first frames of as many records."""

    def pieces():
        yield npy_header((count, frames, *rain.image_size))
        with progress(count, "rain") as bar:
            for record in range(count):
                yield rain.frames(record, 0, frames).tobytes()
                bar.update()

    write_atomically(path, pieces())


def write_record(path, rain, frames):
    """Writes (frames, H, W), float32."""

    def pieces():
        yield npy_header((frames, *rain.image_size))
        yield from (part.tobytes() for part in _parts(rain, frames))

    write_atomically(path, pieces())


def write_netcdf(path, rain, frames):
    """Writes a record as NetCDF 3 by the CF conventions: the variable rain_rate (time, y, x).

    Raises:
        InputError: xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise InputError(
            f"{path}: NetCDF needs xarray: pip install xarray, or write .npy"
        ) from None
    values = np.concatenate(list(_parts(rain, frames)))
    minutes = {"standard_name": "time", "axis": "T", "units": f"minutes since {START} 00:00:00"}
    coordinates = {"time": ("time", MINUTES * np.arange(frames), minutes)}
    for name, side in zip("yx", rain.image_size, strict=True):
        # y points north, and row 0 is the northern one.
        places = KILOMETRES * np.arange(side)
        attributes = {
            "standard_name": f"projection_{name}_coordinate",
            "axis": name.upper(),
            "units": "km",
        }
        coordinates[name] = (name, places[::-1] if name == "y" else places, attributes)
    about = {"standard_name": "rainfall_rate", "long_name": "rain rate", "units": "mm h-1"}
    dataset = xarray.Dataset({"rain_rate": (("time", "y", "x"), values, about)}, coordinates)
    dataset.attrs = {
        "Conventions": "CF-1.8",
        "title": "synthetic rain cells, not observed",
        "source": f"src/radar/rain_cells.py, seed {rain.seed}",
    }
    write_atomically(path, [dataset.to_netcdf(engine="scipy")])


def _parts(rain, frames):
    """Yields the frames of record 0 in pieces."""
    with progress(frames, "rain", unit="frames") as bar:
        for start in range(0, frames, AT_A_TIME):
            part = rain.frames(0, start, min(start + AT_A_TIME, frames))
            yield part
            bar.update(len(part))
