"""One variable of a NetCDF file or a Zarr store, read in pieces by xarray, which is optional.

A file is open only while it is read: there may be any number of files, and of processes.
"""

import hashlib
import math
import os
import warnings
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from src.errors import InputError
from src.formats.cf.axes import Axes, single_time
from src.formats.cf.missing import Decoder, remove_zero_fills, without_nan
from src.formats.cf.times import decode_cf, decode_time
from src.formats.containers import (
    UNREADABLE,
    attribute_time,
    open_undecoded,
    own_part,
    single_values,
    unreadable,
    variable_of,
)
from src.runtime.memory import KEPT, READING

# Frames are read and kept in blocks of about this size, or of some frames, if those are large, and
# of whole chunks of the file.
BLOCK_BYTES = 1 << 20
BLOCK_FRAMES = 8
# Blocks that large chunks make larger than this are not kept.
LARGE_BYTES = 1 << 26
# Attributes of times that may differ between the files of a record.
OF_TIME = ("units", "calendar")


@dataclass
class Layout:
    """What the files of a record have in common if they have one layout.

    Args:
        group: the group of the variable, "/" for the root.
        variable: name of the variable.
        decoder: the `Decoder` of its values.
        file_dims: its dimensions as the file has them.
        dims: those of time, channels, rows and columns; the first two may be None.
        squeezed: 0 by dimension for those that have one entry and no role.
        versions: the dimension of which each frame has values at a single entry, or None.
        coordinates: names of the variables that are its coordinates.
        time: name of the variable that holds the times of a file, or None.
        time_attribute: name of the file's attribute that says the time of its frame, or None.
        chunk: number of frames in a chunk of the file.
        digest: a hash of names, types, attributes and coordinates, once it was needed.
    """

    group: str
    variable: str
    decoder: Decoder
    file_dims: tuple
    dims: tuple
    squeezed: dict
    versions: str | None
    coordinates: tuple
    time: str | None
    time_attribute: str | None
    chunk: int
    digest: bytes | None = None


class XarrayReader:
    """Frames of one variable of a NetCDF file or a Zarr store, decoded: missing values are NaN.

    Args:
        path: the file.
        options: the `ReadOptions` of the file.
        like: the reader of another file of the same record, or None: what the two have in common
            need not be found again.

    Raises:
        InputError: xarray is missing, the file cannot be read, or the variable has no time axis.
    """

    has_names = True

    def __init__(self, path, options, like=None):
        self.path, self.options = path, options
        self.key, self.process, self.array = object(), None, None
        with READING:
            if like is None or not self._take_over(like):
                with open_undecoded(path, options) as (group, dataset):
                    self._describe(group, dataset)

    def _describe(self, group, undecoded):
        """Sets layout, shape, type, times and grid from an undecoded Dataset of xarray."""
        path, options = self.path, self.options
        self.zero = remove_zero_fills(undecoded, Path(path).is_dir())
        variable = variable_of(undecoded, options.variable, path)
        raw = undecoded.variables[variable]
        if len(set(raw.dims)) < raw.ndim:
            raise InputError(
                f"{path}: {variable} has the dimensions {', '.join(raw.dims)}, two of one name, "
                "which cannot be told apart: name them differently in the file"
            )
        try:
            part, undecodable = decode(own_part(undecoded, variable))
            array = part.cf.guess_coord_axis()[variable]
        except UNREADABLE as error:
            raise unreadable(path, error) from None
        if array.dtype.kind not in "iuf":
            raise InputError(f"{path}: {variable} holds {array.dtype}; numbers are needed")
        found = {}
        axes = Axes(array, options, path, lambda: self._frame_time(undecoded, variable, found))
        for name in undecodable.keys() & {variable, axes.time, *array.dims}:
            raise unreadable(f"{path}, {name}", undecodable[name])
        channels = axes.dims[1]
        if channels is not None and not axes.is_channels(channels):
            where = Path(path).parent
            print_once(f"{where}: the dimension {channels} of {variable} is read as channels")
        sizes = [array.sizes[dim] if dim else 1 for dim in axes.dims]
        self.shape, self.dtype = tuple(sizes), array.dtype
        if 0 in self.shape:
            raise InputError(f"{path}: {variable} has no frames: its shape is {self.shape}")
        try:
            self.times, self.grid = axes.times(), axes.grid(variable, part)
        except UNREADABLE as error:
            raise unreadable(path, error) from None
        chunks = raw.encoding.get("preferred_chunks", {})
        self.layout = Layout(
            group=group,
            variable=variable,
            decoder=Decoder(raw, options.nodata, not Path(path).is_dir()),
            file_dims=raw.dims,
            dims=axes.dims,
            squeezed=axes.squeezed,
            versions=axes.versions,
            coordinates=tuple(map(str, array.coords)),
            time=None if self.times is None else self.grid.time_name,
            time_attribute=found.get("attribute"),
            chunk=chunks.get(axes.dims[0], 1),
        )

    def _frame_time(self, dataset, variable, found):
        """Name and time, a Variable, of the file's only frame, or None: by the file's name, by a
        variable, or by an attribute of the file, whose name `found` gets.
        """
        from xarray import Variable

        path, options = self.path, self.options
        if options.time_from_name:
            return "time", Variable((), options.time_in_name(path))
        values, given = single_values(dataset, variable), options.time
        name = single_time(values, path) if given is None else given
        if name in values:
            try:
                return name, decode_time(name, values[name].values, values[name].attrs)
            except UNREADABLE as error:
                raise unreadable(f"{path}, {name}", error) from None
        said = attribute_time(dataset.attrs, given, path)
        if said is None:
            return None
        time, found["attribute"] = said
        print_once(
            f"{Path(path).parent}: the attribute {said[1]} of a file is the time of its frame"
        )
        return "time", Variable((), time)

    def _take_over(self, like):
        """Takes over what this file has in common with another; False if its layout is another.

        Only what may differ is read: a record may have ten thousand files.
        """
        layout = like.layout
        if Path(self.path).is_dir() or Path(like.path).is_dir():
            return False
        try:
            if layout.digest is None:
                with _open_netcdf(like.path) as file:
                    layout.digest = _digest(file, layout)
            with _open_netcdf(self.path) as file:
                if _digest(file, layout) != layout.digest:
                    return False
                shape = _groups(file, layout)[-1].variables[layout.variable].shape
                times = self._times_of(file, layout)
                scalars = _scalars_of(file, layout, like.grid.scalars)
        except UNREADABLE:
            return False
        sizes = dict(zip(layout.file_dims, shape, strict=True))
        self.shape, self.dtype = (sizes.get(layout.dims[0], 1), *like.shape[1:]), like.dtype
        self.layout, self.grid, self.times, self.zero = layout, like.grid, None, like.zero
        if times is not None:
            self.times = times.values
            attributes = like.grid.time_attributes
            own = {k: v for k, v in times.encoding.items() if k in attributes and k in OF_TIME}
            if own != {k: attributes[k] for k in own}:
                self.grid = replace(like.grid, time_attributes=attributes | own)
        if any(axis is not like.grid.scalars[name] for name, axis in scalars.items()):
            self.grid = replace(self.grid, scalars=scalars)
        return self.shape[0] > 0

    def _times_of(self, file, layout):
        """The times of a file of a known layout, a Variable, or None."""
        from xarray import Variable

        if self.options.time_from_name:
            return Variable("n", [self.options.time_in_name(self.path)])
        groups = _groups(file, layout)
        if layout.time_attribute:
            attributes = {n: v for group in groups for n, v in group.__dict__.items()}
            time, _ = attribute_time(attributes, self.options.time, self.path)
            return Variable("n", [time])
        if layout.time is None:
            return None
        variable = _variables(groups)[layout.time]
        return decode_time(layout.time, np.asarray(variable[...]), variable.__dict__)

    def read(self, start, stop):
        """Reads frames start to stop - 1, (n, C, H, W)."""
        size, frame_bytes = self._block()
        if size * frame_bytes > LARGE_BYTES:
            return self._merge_versions(self._read(start, stop), start)
        pieces = []
        for number in range(start // size, (stop - 1) // size + 1):
            first = number * size
            last = min(first + size, self.shape[0])
            block = KEPT.get((self.key, number), partial(self._read, first, last))
            pieces.append(block[max(start - first, 0) : stop - first])
        values = without_nan(np.concatenate(pieces), self.dtype)
        return self._merge_versions(values, start)

    @property
    def stored_dtype(self):
        """The type in which the file stores the values."""
        return self.layout.decoder.dtype

    @property
    def added(self):
        """The constant that unpacking adds to a value, without its sign; None if none is packed."""
        return self.layout.decoder.added

    @property
    def notes(self):
        """What is assumed about missing values, in words."""
        return self.layout.decoder.notes + [
            f"the fill_value 0 of {name} is zarr's own default, so 0 is a value; if it stands for "
            "missing ones, give --nodata 0"
            for name in self.zero
            if name == self.layout.variable
        ]

    @property
    def changes(self):
        """What is read otherwise than before version 0.3.0, among the frames read so far."""
        zero = [f"0 in {name} is a value" for name in self.zero]
        return zero + sorted(self.layout.decoder.applied)

    def stored(self, value):
        """The number that is stored for a value."""
        return self.layout.decoder.stored(value)

    def _block(self):
        """The number of frames in a block, and the bytes of a frame."""
        frame_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        some = min(BLOCK_FRAMES, LARGE_BYTES // 4 // frame_bytes)
        size = max(1, BLOCK_BYTES // frame_bytes, some)
        chunk = self.layout.chunk
        return min(math.ceil(size / chunk) * chunk, self.shape[0]), frame_bytes

    def _read(self, start, stop):
        """Reads frames from the file, (n, versions, C, H, W)."""
        layout = self.layout
        time, *others = layout.dims
        index = {dim: slice(None) for dim in layout.file_dims} | layout.squeezed
        if time is not None:
            index[time] = slice(start, stop)
        try:
            with READING:
                raw = self._raw(index)
            values = layout.decoder(raw)
        except UNREADABLE as error:
            raise unreadable(self.path, error) from None
        dims = [dim for dim in layout.file_dims if dim not in layout.squeezed]
        order = [dim for dim in (time, layout.versions, *others) if dim is not None]
        values = values.transpose([dims.index(dim) for dim in order])
        versions = 1 if layout.versions is None else values.shape[time is not None]
        return np.ascontiguousarray(values).reshape(-1, versions, *self.shape[1:])

    def _raw(self, index):
        """The undecoded values at an index by dimension."""
        layout = self.layout
        if not Path(self.path).is_dir():
            with _open_netcdf(self.path) as file:
                variable = _groups(file, layout)[-1].variables[layout.variable]
                return np.asarray(variable[tuple(index[dim] for dim in layout.file_dims)])
        if self.process != os.getpid():
            with open_undecoded(self.path, replace(self.options, group=layout.group)) as (_, store):
                self.process, self.array = os.getpid(), store[layout.variable].variable
        return self.array.isel(index).values

    def _merge_versions(self, values, start):
        """Of frames in several versions, (n, versions, C, H, W), the one that has values.

        Raises:
            InputError: two versions of a frame have values.
        """
        if values.shape[1] == 1:
            return values[:, 0]
        has = np.isfinite(values).reshape(*values.shape[:2], -1).any(2)
        several = np.flatnonzero(has.sum(1) > 1)
        if len(several):
            name = self.layout.versions
            raise InputError(
                f"{self.path}: {self.layout.variable} has values at two entries of {name} in frame "
                f"{start + several[0]} (from 0), and which of them hold is not said: keep one "
                f"entry of {name}"
            )
        return values[np.arange(len(values)), has.argmax(1)]


def decode(dataset):
    """A Dataset decoded by CF, as far as that goes; and the exceptions where it does not, by name
    of the variable, which then is as it was.
    """
    import xarray

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has multiple fill values")
        try:
            return decode_cf(dataset), {}
        except UNREADABLE:
            errors = {}
        for name, variable in dataset.variables.items():
            try:
                decode_cf(xarray.Dataset({name: variable}))
            except UNREADABLE as error:
                errors[name] = error
        decoded = decode_cf(dataset.drop_vars(errors))
    undecoded = {name: dataset[name].variable for name in errors}
    coordinates = [name for name in errors if name in dataset.coords]
    return decoded.assign(undecoded).set_coords(coordinates), errors


def _open_netcdf(path):
    """Opens a NetCDF file without xarray, which takes much longer; values stay undecoded."""
    import netCDF4

    file = netCDF4.Dataset(os.path.abspath(path))
    file.set_auto_maskandscale(False)
    file.set_auto_chartostring(False)
    return file


def _groups(file, layout):
    """The groups of a NetCDF file from the root to that of the variable."""
    groups = [file]
    for name in filter(None, layout.group.split("/")):
        groups.append(groups[-1].groups[name])
    return groups


def _variables(groups):
    return {name: v for group in groups for name, v in group.variables.items()}


def _scalars_of(file, layout, scalars):
    """Scalar coordinates of another file of a layout, by name: those that are times are this one's,
    such as the time of the analysis, for they are not in the digest.
    """
    found, variables = dict(scalars), _variables(_groups(file, layout))
    for name, axis in scalars.items():
        if axis.values.dtype.kind in "MO":
            variable = variables[name]
            time = decode_time(name, np.asarray(variable[...]), variable.__dict__)
            found[name] = replace(axis, values=time.values.reshape(axis.values.shape))
    return found


def _digest(file, layout):
    """A hash of all in a NetCDF file that decides how it is read: names, types, sizes, attributes,
    coordinates at the first time; not times, their units and their number.
    """
    found = hashlib.blake2b(digest_size=16)
    time = layout.dims[0]
    for name, variable in _variables(_groups(file, layout)).items():
        attributes = variable.__dict__
        is_time = name == layout.time or " since " in str(attributes.get("units"))
        sizes = zip(variable.dimensions, variable.shape, strict=True)
        found.update(repr((name, str(variable.dtype), [s for s in sizes if s[0] != time])).encode())
        for key, value in attributes.items():
            if not (is_time and key in OF_TIME):
                found.update(repr((key, np.asarray(value).tolist())).encode())
        if not is_time and name in layout.coordinates:
            first = tuple(0 if dim == time else slice(None) for dim in variable.dimensions)
            found.update(np.asarray(variable[first or ...]).tobytes())
    return found.digest()


@cache
def print_once(line):
    """Prints a line that is true of many files, once."""
    print(line)
