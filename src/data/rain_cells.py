"""Rain made of cells that move with the wind, grow and decay, in mm/h.

A clustered point process in space and time: rain areas are born at random, each with a broad weak
shield and with cells that are born around its centre; every cell is an elliptical Gaussian whose
rate and size rise and fall over its life. All move with one steering wind that turns slowly, cells
with a small velocity of their own besides. The world is a torus wider than the frame, so that rain
comes in from outside.

Sources of the construction: Cox & Isham 1988, "A simple spatial-temporal model of rainfall" (Proc.
R. Soc. Lond. A 415), and Northrop 1998, "A clustered spatial-temporal model of rainfall" (Proc. R.
Soc. Lond. A 454). The numbers below are of the order of mid-latitude radar pictures' and fitted to
no data. What it lacks of real rain: texture below the size of a cell, mergers and splits, terrain,
fronts, winds that differ from place to place, and errors of measurement.

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
# m/s -> pixels a frame.
SPEED = 60 * MINUTES / (1000 * KILOMETRES)
# The prevailing wind in m/s, to the south and to the east, and what turns it: three waves for each
# component, so that the path of the air is known in closed form.
WIND = (0.0, 9.0)
WAVES_MINUTES = (540.0, 1560.0, 3660.0)
WAVE_SPEED = 3.0
# mm/h: below this a radar sees nothing; above that its products are capped for fear of hail.
LOWEST, HIGHEST = 0.1, 60.0

# Frames.
BLOCK = 10
AREA_LIFE, CELL_LIFE = (20, 50), (8, 30)
# Blocks whose areas may still have a cell alive.
PAST = -(-(AREA_LIFE[1] + CELL_LIFE[1]) // BLOCK)
# What may be born in a block, and how likely each is.
AREAS, AREA_CHANCE = 10, 0.4
CELLS, CELL_CHANCE = 24, 0.6
# Pixels of the world beyond the frame.
BEYOND = 128

# Lengths in pixels and times in frames; pairs are y and x, axes those of the ellipse.
CELL = np.dtype(
    [("birth", "f8"), ("life", "f8"), ("place", "f8", 2), ("velocity", "f8", 2),
     ("axes", "f8", 2), ("angle", "f8"), ("rate", "f8")]
)  # fmt: skip
KINDS = (".npy", ".nc")
START = "2000-01-01"
AT_A_TIME = 100


class RainCells:
    """Records of rain, made when they are asked for.

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

    def _uniform(self, record, block, shape):
        """Numbers in (0, 1); block 0 is the record's own, block PAST begins with frame 0."""
        stream = np.random.Philox(key=[self.seed, KEY], counter=[0, 0, block, record])
        whole = stream.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return (whole.reshape(shape) + 0.5) * 2.0**-53

    def _born(self, record, block):
        """The cells of the areas that are born in a block, (N,) of `CELL`."""
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

        there = chance < AREA_CHANCE
        return np.concatenate([shields[there], cells[there[:, None] & (draws[10] < CELL_CHANCE)]])

    def _frame(self, cells, t, moved):
        """(H, W), float32: the cells of a moment when the air has moved by `moved` pixels."""
        age = (t - cells["birth"]) / cells["life"]
        alive = (age > 0) & (age < 1)
        cells, age = cells[alive], age[alive]
        place = cells["place"] + moved + cells["velocity"] * (age * cells["life"])[:, None]
        axes = cells["axes"] * (0.7 + 0.3 * np.sin(np.pi * age))[:, None]
        # On the torus each cell is where it is nearest to the frame.
        middle = np.array(self.image_size) / 2
        place = (place - middle + self.world / 2) % self.world - self.world / 2 + middle
        reach = 4 * axes.max(1, keepdims=True)
        near = ((place > -reach) & (place < self.image_size + reach)).all(1)
        rate = (cells["rate"] * np.sin(np.pi * age) ** 2)[near]
        rain = _ellipses(rate, place[near], axes[near], cells["angle"][near], self.image_size)
        rain[rain < LOWEST] = 0
        return np.minimum(rain, np.float32(HIGHEST))


def _ellipses(rate, place, axes, angle, image_size):
    """The sum of Gaussians of elliptical outline, (H, W), float32."""
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
    """How far the air has moved at frame t, (y, x) in pixels, less a constant."""
    turns = 2 * np.pi * MINUTES / np.array(WAVES_MINUTES)
    return SPEED * (np.array(WIND) * t + (WAVE_SPEED / turns * np.sin(turns * t + waves)).sum(1))


def _between(uniform, low, high):
    return low + (high - low) * uniform


def _turned(points, angle):
    """(..., 2) turned by an angle: what lay along y lies along the angle's cosine in y."""
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
        raise InputError(f"{path}: NetCDF needs xarray: pip install xarray, or .npy") from None
    values = np.concatenate(list(_parts(rain, frames)))
    minutes = {"standard_name": "time", "axis": "T", "units": f"minutes since {START} 00:00:00"}
    coordinates = {"time": ("time", MINUTES * np.arange(frames), minutes)}
    for name, side in zip("yx", rain.image_size, strict=True):
        # y points north, and row 0 is the northern one.
        places = KILOMETRES * np.arange(side)
        attributes = {
            "standard_name": f"projection_{name}_coordinate", "axis": name.upper(), "units": "km",
        }  # fmt: skip
        coordinates[name] = (name, places[::-1] if name == "y" else places, attributes)
    about = {"standard_name": "rainfall_rate", "long_name": "rain rate", "units": "mm h-1"}
    dataset = xarray.Dataset({"rain_rate": (("time", "y", "x"), values, about)}, coordinates)
    dataset.attrs = {
        "Conventions": "CF-1.8", "title": "synthetic rain cells, not observed",
        "source": f"src/data/rain_cells.py, seed {rain.seed}",
    }  # fmt: skip
    write_atomically(path, [dataset.to_netcdf(engine="scipy")])


def _parts(rain, frames):
    """Yields the frames of record 0, some at a time."""
    with progress(frames, "rain", unit="frames") as bar:
        for start in range(0, frames, AT_A_TIME):
            part = rain.frames(0, start, min(start + AT_A_TIME, frames))
            yield part
            bar.update(len(part))
