"""NetCDF files and Zarr stores as they lie: their groups, undecoded, which of their variables may
hold frames, and what else in them belongs to one of those.
"""

import datetime
import re
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from src.errors import InputError
from src.formats.cf.axes import TIME

# Exceptions that xarray and its engines raise on damaged files, found by fuzzing.
UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    IndexError,
    MemoryError,
)
# How xarray opens what it does not decode; its `open_groups` knows no decode_cf.
UNDECODED = {
    "mask_and_scale": False,
    "decode_times": False,
    "decode_timedelta": False,
    "decode_coords": False,
    "concat_characters": False,
    "cache": False,
}
# CF attributes that name other variables; what they name holds no frames.
REFERENCES = (
    "coordinates",
    "bounds",
    "climatology",
    "grid_mapping",
    "ancillary_variables",
    "cell_measures",
    "formula_terms",
)
BOUNDS = ("_bnds", "_bounds")
# Attributes of a file that may say the time of its only frame.
TIME_ATTRIBUTES = ("time_coverage_start", "valid_time", "datetime", "timestamp", "date", "time")


def import_xarray(path):
    """The module xarray; raises `InputError` if it or what reads a file is not installed."""
    try:
        import cf_xarray  # noqa: F401
        import xarray

        if Path(path).is_dir():
            import zarr  # noqa: F401
        else:
            import netCDF4  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{path}: NetCDF and Zarr need xarray, which is not installed ({error.name}): "
            "pip install xarray cf_xarray netcdf4 zarr"
        ) from None
    return xarray


def unreadable(path, error):
    """The `InputError` for an exception among `UNREADABLE`."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"{path}: cannot be read: {reason}")


@contextmanager
def open_undecoded(path, options):
    """Opens the group of a file that holds the variable to read.

    Args:
        path: a NetCDF file or a Zarr store.
        options: the `ReadOptions` of the file.

    Yields:
        The group's name, "/" for the root; and its undecoded Dataset, with the coordinates and
        attributes of the groups around it.

    Raises:
        InputError: the file cannot be read, or it remains open which group is meant.
    """
    xarray = import_xarray(path)
    if not Path(path).exists():
        raise InputError(f"{path}: not found")
    engine = {"engine": "netcdf4"}
    if Path(path).is_dir():
        engine = {"engine": "zarr", "consolidated": False}
    with ExitStack() as stack:
        # What xarray says of dimensions of one name the reader says of the variable that it reads.
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Duplicate dimension names")
        try:
            groups = {"/": xarray.open_dataset(path, **engine, **UNDECODED)}
            stack.callback(groups["/"].close)
            if options.group is not None or not _holding(groups, options.variable, False):
                groups = xarray.open_groups(path, **engine, **UNDECODED)
                for group in groups.values():
                    stack.callback(group.close)
        except UNREADABLE as error:
            raise unreadable(path, error) from None
        if str(groups["/"].attrs.get("Conventions")).startswith("ODIM"):
            raise InputError(
                f"{path}: is ODIM HDF5, which packs values in a way of its own: convert it to "
                "NetCDF, with xradar or wradlib for example"
            )
        name = _group_of(groups, options, path)
        yield name, _with_parents(groups, name)


def _group_of(groups, options, path):
    """The name of the group that is given, or of the only one that holds what is looked for."""
    if options.group is not None:
        name = "/" + options.group.strip("/")
        if name not in groups:
            raise InputError(f"{path}: has no group {options.group!r}; there are: {_list(groups)}")
        return name
    found = _holding(groups, options.variable) or _holding(groups, options.variable, True)
    if len(found) == 1:
        return found[0]
    wanted = f"variable {options.variable!r}" if options.variable else "variable of frames"
    if found:
        raise InputError(
            f"{path}: has a {wanted} in several groups, {', '.join(found)}; there are: "
            f"{_list(groups)}",
            group="name one with --group",
        )
    if any(dataset.data_vars for name, dataset in groups.items() if name != "/"):
        raise InputError(f"{path}: has no {wanted} in any group; there are: {_list(groups)}")
    return "/"


def _holding(groups, variable, flat=False):
    """The names of the groups that hold a variable, or, for None, one that may be frames."""
    return [
        name
        for name, dataset in groups.items()
        if (variable in dataset.data_vars if variable else candidates(dataset, flat))
    ]


def _list(groups):
    """What is in which group, in words."""
    found = {name: ", ".join(map(str, dataset.data_vars)) for name, dataset in groups.items()}
    return "; ".join(f"{name} ({names})" for name, names in found.items() if names) or "nothing"


def _with_parents(groups, name):
    """A group with the attributes of those around it, and their variables of its dimensions."""
    import xarray

    group = groups[name]
    parents = [parent for parent in groups if f"{name}/".startswith(f"{parent.rstrip('/')}/")]
    if len(parents) == 1:
        return group
    variables, attributes = {}, {}
    for parent in sorted(parents, key=len):
        attributes |= groups[parent].attrs
        variables |= {
            n: v
            for n, v in groups[parent].variables.items()
            if (parent == name or n not in candidates(groups[parent]))
            and all(group.sizes.get(dim) == size for dim, size in v.sizes.items())
        }
    return xarray.Dataset(variables, attrs=attributes)


def variable_of(dataset, name, path):
    """The name of the variable to read: the given one, else the only one that may hold frames.

    Raises:
        InputError: there is none, or there are several.
    """
    if name in dataset.data_vars:
        return name
    named = _referenced(dataset)
    available = ", ".join(str(n) for n in dataset.data_vars if n not in named) or "none"
    if name is not None:
        raise InputError(f"{path}: has no variable {name!r}; there are: {available}")
    found = candidates(dataset) or candidates(dataset, flat=True)
    if len(found) != 1:
        what = "no variable" if not found else f"several variables, {', '.join(found)},"
        flat = found and dataset[found[0]].ndim == 2
        kind = "of rows and columns" if flat else "with three or more dimensions"
        raise InputError(
            f"{path}: has {what} {kind}; there are: {available}",
            variable="name one with --variable",
        )
    return found[0]


def candidates(dataset, flat=False):
    """The names of the variables that may hold frames.

    Args:
        dataset: an undecoded Dataset.
        flat: look for single frames, of two dimensions, and not for those of three or more.
    """
    named = _referenced(dataset)
    found = {n: v for n, v in dataset.data_vars.items() if n not in named and not _is_position(v)}
    if flat:
        times = {dim for dim in dataset.dims if _is_time(dataset, dim)}
        found = {n: v for n, v in found.items() if v.ndim == 2 and not times & set(v.dims)}
    else:
        found = {n: v for n, v in found.items() if v.ndim > 2}
    numbers = [str(n) for n, v in found.items() if v.dtype.kind in "iuf"]
    return numbers or list(map(str, found))


def _referenced(dataset):
    """The names of the variables that are named by others' attributes, and of bounds."""
    attributes = [dataset.attrs, *(v.attrs for v in dataset.variables.values())]
    named = set().union(*(_words(of, *REFERENCES) for of in attributes))
    return named | {
        name
        for name in map(str, dataset.data_vars)
        if name.endswith(BOUNDS) and name.rsplit("_", 1)[0] in dataset.variables
    }


def _words(attributes, *names):
    """The names of variables in some attributes, such as "lat lon" or "area: cell_area"."""
    text = " ".join(str(attributes[name]) for name in names if name in attributes)
    words = (word for word in text.split() if not word.endswith(":"))
    return {word.rsplit("/", 1)[-1] for word in words}


def _is_position(variable):
    """Whether attributes say that a variable holds positions in space or time."""
    from cf_xarray.criteria import coordinate_criteria

    return any(
        str(variable.attrs.get(attribute)) in values
        for role in ("latitude", "longitude", "time", "X", "Y", "T")
        for attribute, values in coordinate_criteria[role].items()
    )


def _is_time(dataset, dim):
    attributes = dataset.variables[dim].attrs if dim in dataset.variables else {}
    is_named = TIME.fullmatch(str(dim).lower()) or attributes.get("standard_name") == "time"
    return bool(is_named) or " since " in str(attributes.get("units"))


def own_part(dataset, variable):
    """A variable of an undecoded Dataset with what belongs to it: its coordinates, their bounds and
    the grid mapping; the coordinates are coordinates of the Dataset.
    """
    dims, variables = set(dataset[variable].dims), dataset.variables
    listed = _words(dataset.attrs, "coordinates").union(
        *(_words(v.attrs, "coordinates") for v in variables.values())
    )
    coordinates = [
        name
        for name, v in variables.items()
        if name != variable
        and set(v.dims) <= dims
        and (name in (*dims, *listed) or (v.ndim and _is_position(v)))
    ]
    besides = _words(variables[variable].attrs, "grid_mapping")
    besides |= set().union(*(_words(variables[n].attrs, *REFERENCES[1:3]) for n in coordinates))
    names = [variable, *coordinates, *(n for n in sorted(besides) if n in variables)]
    return dataset[list(dict.fromkeys(names))].set_coords(coordinates)


def single_values(dataset, variable):
    """The variables beside one that hold a single number, without dimensions, by name."""
    return {
        name: v.squeeze()
        for name, v in dataset.variables.items()
        if name != variable and v.size == 1 and v.dtype.kind in "iuf"
    }


def attribute_time(attributes, given, path):
    """The time that a file's attributes say, a datetime64, and which does; None if none does.

    Args:
        attributes: the attributes.
        given: the name of the one to take, or None.
        path: the file.

    Raises:
        InputError: they say several times.
    """
    texts = {n: str(attributes[n]) for n in (given, *TIME_ATTRIBUTES) if n in attributes}
    texts = {given: texts[given]} if given in texts else texts
    if "date" in texts and "time" in texts:
        texts["date"] += f" {texts.pop('time')}"
    times = {name: _iso_time(text) for name, text in texts.items()}
    times = {name: time for name, time in times.items() if time is not None}
    if len(set(times.values())) > 1:
        several = " and ".join(f"{name} {time}" for name, time in times.items())
        raise InputError(
            f"{path}: its attributes say several times of its frame, {several}",
            time="name one with --time",
        )
    return next(((time, name) for name, time in times.items()), None)


def _iso_time(text):
    """The UTC time of a text such as 2001-02-03T04:05:06Z or 20010203 0405, or None."""
    digits = re.fullmatch(r"(\d{8})[ T]?(\d{4}|\d{6})?(?:\.0*)?Z?", text)
    text = "T".join(filter(None, digits.groups())) if digits else text
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo:
        time = time.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return np.datetime64(time, "us")
