"""Files of `RainCells`: sequences or one record as .npy, a record as NetCDF."""

import io

import numpy as np

from src.data.rain_cells import KILOMETRES, MINUTES
from src.errors import InputError
from src.runtime.files import write_atomically
from src.runtime.progress import progress

KINDS = (".npy", ".nc")
START = "2000-01-01"
AT_A_TIME = 100


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


def npy_header(shape):
    """The first bytes of a .npy file of float32."""
    header = io.BytesIO()
    layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    return header.getvalue()


def _parts(rain, frames):
    """Yields the frames of record 0, some at a time."""
    with progress(frames, "rain", unit="frames") as bar:
        for start in range(0, frames, AT_A_TIME):
            part = rain.frames(0, start, min(start + AT_A_TIME, frames))
            yield part
            bar.update(len(part))
