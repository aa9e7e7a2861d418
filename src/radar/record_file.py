"""One record of many frames as a NetCDF file or a Zarr store by the CF conventions.

Conventions: CF, chapters 4.4 (time), 5.6 (grid mappings) and 8.1 (packed data);
https://cfconventions.org. Values are 16-bit integers in steps of 0.01; -32768 is missing. Frames
are added in order of time; only a few are held at a time.
"""

import datetime
import os
import shlex
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from src.errors import DiskError, InputError
from src.radar.frames import RATE, REFLECTIVITY
from src.runtime.files import behind_links, check_writable, sync_folder, unfinished_name

# By the suffix of a record, the module that writes it.
SUFFIXES = {".nc": "netCDF4", ".zarr": "zarr"}
STEP = 0.01
MISSING, LARGEST = -32768, 32767
CHUNK_BYTES, CHUNK_FRAMES = 1 << 20, 16
EPOCH = "seconds since 1970-01-01 00:00:00"
VARIABLES = {
    RATE: ("rainfall_rate", "rain rate", "mm h-1"),
    REFLECTIVITY: ("equivalent_reflectivity_factor", "radar reflectivity", "dBZ"),
}
CRS = "crs"
TIMES_CHUNK = 4096
# A coordinate has no missing values: xarray would give it a fill value.
NO_FILL = {"_FillValue": None}


def check_output(path, overwrite):
    """Raises `InputError` unless a record can be written to `path`."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: must end in {' or '.join(SUFFIXES)} (output)")
    module = SUFFIXES[path.suffix]
    if missing := [name for name in ("xarray", module) if find_spec(name) is None]:
        raise InputError(
            f"{path}: needs {missing[0]}, which is not installed: pip install xarray {module}"
        )
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path}: exists already: use --overwrite or another name")
    if path.is_dir():
        if path.suffix != ".zarr":
            raise InputError(f"{path}: is a folder (output); name a file")
    else:
        check_writable(path, "output")


class RecordFile:
    """A record that is being written; under its name it stands once it is complete.

    Args:
        path: the file or store, which ends in one of `SUFFIXES`.
        frame: the first `Frame`, a rain rate or a reflectivity, for the metadata.
        about: attributes of the record, such as its source.
        comment: a remark on the variable, or None.
    """

    def __init__(self, path, frame, about, comment=None):
        self.path = behind_links(Path(path))
        self.unfinished = unfinished_name(self.path)
        self.name, self.long_name, self.units = VARIABLES[frame.unit]
        self.grid, self.about, self.comment = frame.grid, about, comment
        size = max(1, 2 * frame.values.size)
        self.chunk = max(1, min(CHUNK_FRAMES, CHUNK_BYTES // size))
        self.times, self.frames = [], []
        self.written = self.clipped = 0
        self.store = None

    def __enter__(self):
        self._remove(self.unfinished)
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self._guarded(self._finish)
        elif self.store is not None:
            self.store.close()
        self._remove(self.unfinished)

    def add(self, time, values):
        """Adds the frame of a time, (H, W), NaN where it is missing."""
        steps = np.rint(values / STEP)
        self.clipped += int((np.abs(steps) > LARGEST).sum())
        steps = np.clip(steps, -LARGEST, LARGEST)
        self.times.append(time)
        self.frames.append(np.where(np.isfinite(steps), steps, MISSING).astype(np.int16))
        if len(self.frames) == self.chunk:
            self._guarded(self._flush)

    def _guarded(self, write):
        try:
            write()
        except (OSError, RuntimeError) as error:  # HDF5 raises RuntimeError
            raise DiskError(f"{self.path}: cannot be written: {error}") from None

    def _flush(self):
        """Writes the frames that are held."""
        if not self.frames:
            return
        times = np.array(self.times).astype("datetime64[s]").astype(np.float64)
        frames = np.stack(self.frames)
        if self.path.suffix == ".zarr":
            self._write_zarr(times, frames)
        else:
            self._write_netcdf(times, frames)
        self.written += len(frames)
        self.times, self.frames = [], []

    def _write_zarr(self, times, frames):
        import zarr

        if self.written:
            group = zarr.open_group(str(self.unfinished), mode="r+")
            for name, values in (("time", times), (self.name, frames)):
                group[name].resize((self.written + len(values), *values.shape[1:]))
                group[name][self.written :] = values
            return
        encoding = self._encoding("chunks", frames)
        self._dataset(times, frames).to_zarr(
            self.unfinished, mode="w", encoding=encoding, consolidated=False
        )

    def _write_netcdf(self, times, frames):
        import netCDF4

        if self.store is None:
            encoding = self._encoding("chunksizes", frames)
            encoding[self.name] |= {"zlib": True, "complevel": 4, "shuffle": True}
            self._dataset(times, frames).to_netcdf(
                self.unfinished, engine="netcdf4", unlimited_dims=["time"], encoding=encoding
            )
            self.store = netCDF4.Dataset(self.unfinished, "a")
            self.store.set_auto_maskandscale(False)
            return
        part = slice(self.written, self.written + len(frames))
        self.store["time"][part] = times
        self.store[self.name][part] = frames

    def _encoding(self, chunks, frames):
        """xarray's settings of the variables, with the sizes of chunks under a name of `chunks`."""
        return {
            self.name: {chunks: (self.chunk, *frames.shape[1:])},
            "time": NO_FILL | {chunks: (TIMES_CHUNK,)},
            "y": NO_FILL,
            "x": NO_FILL,
        }

    def _dataset(self, times, frames):
        """Frames as a Dataset of xarray that holds the numbers as they are stored."""
        import xarray

        about = {
            "standard_name": self.name,
            "long_name": self.long_name,
            "units": self.units,
            "scale_factor": STEP,
            "add_offset": 0.0,
            "_FillValue": np.int16(MISSING),
        }
        if self.comment:
            about["comment"] = self.comment
        time = {"standard_name": "time", "axis": "T", "units": EPOCH, "calendar": "standard"}
        data = {self.name: (("time", "y", "x"), frames, about)}
        coordinates = {"time": ("time", times, time)}
        for name in "yx":
            values = getattr(self.grid, name)
            coordinates[name] = (name, values, _axis_attributes(self.grid.projection, name))
        if self.grid.projection is not None:
            about["grid_mapping"] = CRS
            data[CRS] = ((), np.int32(0), _mapping_attributes(self.grid.projection))
        return xarray.Dataset(data, coordinates, self._attributes())

    def _attributes(self):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "Conventions": "CF-1.8",
            "title": f"{self.long_name} of a radar composite",
            **self.about,
            "history": f"{now}: {shlex.join(map(str, sys.argv))}",
        }

    def _finish(self):
        self._flush()
        if self.store is not None:
            self.store.close()
        if self.path.suffix == ".zarr":
            _consolidate(self.unfinished)
        if self.path.is_dir():
            old = self.path.with_name(f".{self.path.name}.old")
            os.replace(self.path, old)
            os.replace(self.unfinished, self.path)
            shutil.rmtree(old)
        else:
            os.replace(self.unfinished, self.path)
        sync_folder(self.path.parent)

    @staticmethod
    def _remove(path):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _consolidate(store):
    """Gathers the metadata of a Zarr store in one place, where xarray looks first."""
    import zarr

    with warnings.catch_warnings():
        # Version 3 of the format does not define that place yet.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(store))


def _axis_attributes(projection, name):
    """The attributes of a coordinate along the rows or the columns."""
    if projection is not None and projection.is_geographic:
        standard, units = {
            "x": ("longitude", "degrees_east"),
            "y": ("latitude", "degrees_north"),
        }[name]
    else:
        standard, units = f"projection_{name}_coordinate", "m"
    return {"standard_name": standard, "axis": name.upper(), "units": units}


def _mapping_attributes(projection):
    """The attributes of a grid mapping."""
    with warnings.catch_warnings():
        # It warns of what the CF attributes leave out and crs_wkt says.
        warnings.simplefilter("ignore")
        attributes = projection.to_cf()
    if attributes.get("grid_mapping_name") == "polar_stereographic":
        parallel = attributes.get("standard_parallel", 90.0)
        pole = float(np.copysign(90, parallel))
        attributes.setdefault("latitude_of_projection_origin", pole)
    return attributes
