"""Dataclass fields with help texts and limits, which are checked whenever an object is made."""

import dataclasses
import math
import types
import typing
from dataclasses import field

from src.errors import InputError


def option(
    default,
    help,
    *,
    choices=None,
    at_least=None,
    above=None,
    at_most=None,
    length=None,
    may_be_empty=False,
    flag=True,
    parse=None,
    belongs_to=None,
    inherited=None,
    found_in_dataset=False,
    may_change=False,
    in_graph=True,
    is_path=False,
    reads_file=False,
):
    """A dataclass field with its help text, limits and properties.

    Args:
        default: the field's default.
        help: the help text of its flag.
        choices, at_least, above, at_most: limits of the value, or of each item of a tuple.
        length, may_be_empty: the number of items of a tuple, and whether it may be empty.
        flag: whether the command line has a flag for it.
        parse: function that parses one value from text; default: the field's type.
        belongs_to: "dataset" if it applies only to runs with a dataset.
        inherited: when a new run takes the value from the run whose weights it starts with:
            "always"; "with_dataset": unless it switches to digits; "with_file": only if it keeps
            that run's dataset.
        found_in_dataset: whether the dataset, if there is one, determines the value.
        may_change: whether a resumed run may change it.
        in_graph: whether compiled graphs depend on it.
        is_path: whether it names a file or folder, which is kept as an absolute path: a checkpoint
            has to find it from any folder.
        reads_file: whether it says how the dataset's files are read: every script that reads such a
            file has its flag.
    """
    metadata = dict(locals())
    return field(default=metadata.pop("default"), metadata=metadata)


def names(*classes, **properties):
    """The names of the fields with these properties in all `classes`, a tuple."""
    return tuple(
        f.name
        for cls in classes
        for f in dataclasses.fields(cls)
        if all(f.metadata.get(key) == value for key, value in properties.items())
    )


class Checked:
    """Base of dataclasses that check the types and limits of their values."""

    def __post_init__(self):
        """Raises `InputError` for the first value of a wrong type or out of its limits."""
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if not _has_type(value, hints[f.name]):
                raise InputError(f"{f.name} is {value!r}: it must be {describe(hints[f.name])}")
            for item in value if isinstance(value, tuple) else (value,):
                _check_limits(f.name, item, f.metadata)
            if not isinstance(value, tuple) or (not value and f.metadata.get("may_be_empty")):
                continue
            length = f.metadata.get("length")
            if not value or length not in (None, len(value)):
                raise InputError(
                    f"{f.name} is {value!r}: it must hold {length or 'one or more'} values"
                )


def _check_limits(name, value, limits):
    """Raises `InputError` if a value, or one item of a tuple, breaks a limit of its field."""
    choices = limits.get("choices")
    if choices and value is not None and value not in choices:
        raise InputError(f"{name} is {value!r}: it must be one of {', '.join(map(str, choices))}")
    if not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        raise InputError(f"{name} is {value}: it must be finite")
    at_least, above, at_most = (limits.get(key) for key in ("at_least", "above", "at_most"))
    if at_least is not None and value < at_least:
        raise InputError(f"{name} is {value}: it must be at least {at_least}")
    if above is not None and value <= above:
        raise InputError(f"{name} is {value}: it must be greater than {above}")
    if at_most is not None and value > at_most:
        raise InputError(f"{name} is {value}: it must be at most {at_most}")


def _has_type(value, hint):
    if isinstance(hint, types.UnionType):
        return any(_has_type(value, h) for h in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(
            _has_type(v, typing.get_args(hint)[0]) for v in value
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def describe(hint):
    """The type of a field in words."""
    if isinstance(hint, types.UnionType):
        return " or ".join(describe(h) for h in typing.get_args(hint) if h is not type(None))
    if typing.get_origin(hint) is tuple:
        return f"a list of {typing.get_args(hint)[0].__name__}"
    return {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}.get(
        hint, hint.__name__
    )


def from_dict(cls, values, complete=False):
    """Builds a dataclass from plain JSON values.

    Args:
        cls: the dataclass.
        values: a dict of JSON values by field name.
        complete: refuse missing fields even if they have a default; otherwise they take it,
            because a file may be older than a field.

    Raises:
        InputError: a field is unknown or missing, or a value has a wrong type or is out of limits.
    """
    if not isinstance(values, dict):
        raise InputError(f"{cls.__name__} is {type(values).__name__}: it must be a JSON object")
    hints = typing.get_type_hints(cls)
    missing = set(hints) - set(values)
    if not complete:
        missing &= {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
    wrong = sorted((set(values) - set(hints)) | missing)
    if wrong:
        state = "unknown" if wrong[0] in values else "missing"
        raise InputError(f"{cls.__name__}: {wrong[0]} is {state}")
    return cls(**{name: _from_json_value(hints[name], value) for name, value in values.items()})


def _from_json_value(hint, value):
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_from_json_value(typing.get_args(hint)[0], item) for item in value)
    return value
