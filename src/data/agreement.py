"""What the files of a record, and a new file and a checkpoint, have to agree in.

The variable, its standard name, its levels, and whether it is a minimum or a maximum of an interval
have to be the same; so have the coordinates of files of one record. Units may differ: the values
are converted where UDUNITS knows how.
"""

import sys
from pathlib import Path

from src.errors import InputError
from src.formats.cf.grid import Identity
from src.formats.cf.units import RAIN_RATE, UnitsError, conversion, is_known


def check_alike(first, other):
    """Raises `InputError` unless two readers have frames of the same thing on the same grid."""
    if first.shape[1:] != other.shape[1:]:
        difference = f"frames (C, H, W) of {other.shape[1:]}, not {first.shape[1:]}"
    else:
        difference = first.grid.difference(other.grid)
    if difference:
        raise InputError(
            f"{other.path}: differs from {Path(first.path).name}: {difference}; all files of a "
            "record must hold the same on the same grid"
        )


def conversions_to_first(readers, path, step):
    """The `Conversion` to the units of the first file, by the number of each file that needs one;
    prints a line if there are any.

    Args:
        readers: the readers of a record's files.
        path: the record, for messages.
        step: seconds of the record's step, or None.

    Raises:
        InputError: units cannot be converted.
    """
    found, first = {}, readers[0]
    for number, reader in enumerate(readers):
        units, wanted = reader.grid.units, first.grid.units
        if units == wanted:
            continue
        try:
            if not (is_known(units) and is_known(wanted)):
                raise UnitsError("one of the two is unknown", known=False)
            found[number] = conversion(units, wanted, step, first.grid.is_water)
        except UnitsError as error:
            raise InputError(
                f"{reader.path}: differs from {Path(first.path).name}: units {units}, not {wanted} "
                f"({error}); all files of a record must hold the same"
            ) from None
    found = {number: each for number, each in found.items() if each}
    for number, each in list(found.items())[:1]:
        name = Path(readers[number].path).name
        print(
            f"units: {path}: in {len(found)} of {len(readers)} files, of which {name} is the "
            f"first, {each.describe()}"
        )
    return found


def convert_units(file, data, value_range=None, known=False, quiet=False):
    """Converts a file's values to the units that its network was or will be trained in; prints a
    line for what is converted or assumed.

    Args:
        file: the `SequencesFile` or `RecordFile`.
        data: the network's `DataConfig`, or what will become one.
        value_range: the range of the file's own values, which then stay as they are.
        known: whether it is the file that the network was trained on.
        quiet: whether to print nothing.

    Raises:
        InputError: the units are of something else, or not known where they have to be.
    """
    wanted = RAIN_RATE if data.transform == "dbz" and not data.units else data.units
    if not is_known(wanted):
        if is_known(file.units) and data.dataset_crc and not known:
            print(f"units: {file.path}: {file.units!r}; in which the network was trained, its "
                  "checkpoint does not say, so nothing is converted")  # fmt: skip
        return
    if not is_known(file.units):
        _assume_units(file, data, wanted, known)
        return
    own_range = value_range is not None and data.transform == "none"
    try:
        found = conversion(
            file.units,
            wanted,
            file.record.step,
            file.record.grid.is_water or data.transform == "dbz",
        )
    except UnitsError as error:
        if own_range and not error.known:
            return
        needs = f"the network reads {wanted!r}"
        if data.transform == "dbz":
            needs = f"transform dbz needs rain in mm/h, as {wanted!r}"
        raise InputError(
            f"{file.path}: has the units {file.units!r}, and {needs}: {error}; convert the values "
            "and set the variable's attribute units"
        ) from None
    if found and own_range:
        print(f"units: {file.path}: {found.source!r}, as is its value_range; not converted to "
              f"{wanted!r}")  # fmt: skip
    elif found:
        if not quiet:
            print(f"units: {file.path}: {found.describe()}; value_range and thresholds are in it")
        file.record.convert(found)


def _assume_units(file, data, wanted, known):
    """Says in which units values without any are taken; refuses records without for dBZ."""
    if file.has_names and data.transform == "dbz":
        raise InputError(
            f"{file.path}: has no units, and transform dbz needs rain in mm/h: set the variable's "
            "attribute units = 'mm/h'"
        )
    if data.units and not known:
        print(f"units: {file.path} says none; its values are taken as {wanted!r}")


def check_identity(file, data):
    """Raises `InputError` if a new file is known to hold another thing than what a network was
    trained on; warns on stderr of another grid spacing, and says if it is not known.

    Args:
        file: the `SequencesFile` or `RecordFile`.
        data: the network's `DataConfig`.
    """
    if not file.has_names or data.dataset_crc is None:
        return
    trained, found = identity_of(data), file.record.grid.identity()
    if trained.variable is None:
        print(
            f"variable: {file.path}: {found.variable}; which one the network was trained on, its "
            "checkpoint does not say"
        )
    different = trained.difference(found)
    if different:
        raise InputError(
            f"{file.path}: holds {different}, on which the network was trained; if it is the same "
            "thing under another name, rename it in the file"
        )
    spacing = trained.other_spacing(found)
    if spacing:
        print(
            f"warning: {file.path}: has another grid than the network was trained on: {spacing}",
            file=sys.stderr,
        )


def identity_of(data):
    """The `Identity` of what a network was trained on."""
    return Identity(
        data.found_variable, data.standard_name, data.levels, data.spacing, data.cell_method
    )


def settings_of(file):
    """The settings that say what a dataset holds, by name."""
    settings = {"units": file.units, "dataset_size": len(file)}
    if not file.has_names:
        return settings
    found = file.record.grid.identity()
    return settings | {
        "found_variable": found.variable,
        "standard_name": found.standard_name,
        "cell_method": found.cell_method,
        "levels": found.levels,
        "spacing": found.spacing,
    }
