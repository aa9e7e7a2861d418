"""The configuration of a new run: flags, preset, the settings of another run, and what a dataset
decides.

A radar event has some dozens of windows, a few steps: an epoch of them would end with a validation,
pictures and checkpoints that take longer than its training. So where no flag says how long an epoch
of a dataset is, and how often it is validated, that follows from its size.
"""

import dataclasses
import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

from src import __version__
from src.config.fields import names
from src.config.presets import DEFAULT_PRESET, RECIPES, make_config, sequences_per_step
from src.config.schema import AUTO, Config, DataConfig, ModelConfig, TrainingConfig
from src.data import own_data
from src.data.agreement import convert_units, settings_of
from src.data.normalizer import check_value_range
from src.data.splits import check_dates
from src.errors import InputError

PATHS = names(TrainingConfig, DataConfig, is_path=True)
# Settings of records alone, and why whole sequences do not have them.
OF_RECORDS = {
    "window_stride": "which have no window_stride; leave --window_stride out",
    "validate_from": "which are split at random; leave --validate_from and --test_from out",
    "time_from_name": "and a file's name says the time of one frame; leave --time_from_name out",
}
# The fewest steps in an epoch, and the largest fraction of the work that is validation.
STEPS, VALIDATION = 200, 0.1
# A forecast takes a third of the work of a training step: that has a gradient too, twice the work.
FORWARD = 1 / 3


def read_config(path, flags):
    """The `Config` of a run's config.json.

    Raises:
        InputError: the file cannot be read or has an unknown setting, or --preset or --recipe is
            given too.
    """
    for name in ("preset", "recipe"):
        if flags[name]:
            raise InputError(
                f"--config is given with --{name}, which it contains: leave one of them out"
            )
    try:
        values = json.loads(Path(path).read_text())
        if isinstance(values, dict):
            # What scripts/pack_weights.py adds is no setting.
            values.pop("measured", None)
        return Config.from_json(json.dumps(values))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise InputError(f"{path}: cannot be read (config): {reason}") from None
    except InputError as error:
        raise InputError(f"{path}: {error} (config)") from None


def new_config(flags, target, pretrained=None, saved=None):
    """Makes the `Config` of a new run.

    Flags win. Settings without a flag come from a saved configuration, or from a pretrained
    checkpoint: its frames and data and, without --preset, its network. All others come from the
    preset, by default that of the device. What a dataset decides is read from it again.

    Args:
        flags: the flags by name.
        target: "Ascend" or "CPU".
        pretrained: the checkpoint whose weights the run starts with, or None.
        saved: the `Config` of another run, or None.

    Returns:
        The `Config`, and the run's own dataset, opened, or None.
    """
    preset, recipe, known = flags["preset"], flags["recipe"] or RECIPES[0], {}
    if saved:
        preset = saved.preset
        known = fields_of(saved.model, saved.training) | _inherited(saved, flags, all_data=True)
    elif pretrained:
        known = _inherited(pretrained.config, flags)
        if not preset:
            preset = pretrained.config.preset
            known |= fields_of(pretrained.config.model)
    preset = preset or DEFAULT_PRESET[target]
    settings, dataset = known | flags, None
    if settings.get("dataset") is None:
        _refuse_reading(flags)
    else:
        if "held_out" in flags and settings.get("validate_from") is not None:
            raise InputError(
                f"held_out is given, and validate_from {settings['validate_from']} says where the "
                "splits begin: leave --held_out out, or name the dataset anew without dates"
            )
        found = set(names(DataConfig, ModelConfig, found_in_dataset=True))
        lasting = {name: value for name, value in known.items() if name not in found}
        earlier = saved or (pretrained and pretrained.config)
        units = earlier.data.units if earlier and "value_range" not in flags else None
        settings, dataset = resolve_dataset(lasting | flags, units)
        if settings["dataset_crc"] == known.get("dataset_crc"):
            settings["epoch_size"] = flags.get("epoch_size", known["epoch_size"])
        else:
            per_step = sequences_per_step(preset, settings, recipe)
            settings |= _epochs(settings, flags, dataset, per_step)
    return make_config(preset, settings, recipe), dataset


def _epochs(settings, flags, file, per_step):
    """The settings of how long an epoch is and how often it is validated, those that nobody gave.

    Args:
        settings: the settings by name, with those of the dataset.
        flags: the flags by name.
        file: the dataset.
        per_step: sequences in a step.
    """
    data, found = _data_settings(settings), {}
    windows = size = settings["epoch_size"]
    if "epoch_size" not in flags:
        size = found["epoch_size"] = epoch_size(windows, per_step)
    if size > windows:
        print(f"epoch: {windows:,} training windows, {size // windows} times (--epoch_size)")
    if "eval_every" not in settings:
        held_out = data.eval_size or file.split_size(data, "validation")
        found["eval_every"] = eval_every(size, held_out)
        if found["eval_every"] > 1:
            print(
                f"validation: every {found['eval_every']} epochs, so that its {held_out:,} windows "
                "take a tenth of the work (--eval_every)"
            )
    return found


def epoch_size(windows, per_step):
    """All training windows of a dataset, repeated until they are enough for `STEPS` steps.

    Args:
        windows: their number.
        per_step: sequences in a step.
    """
    return windows * max(1, math.ceil(STEPS * per_step / windows))


def eval_every(epoch_size, eval_size):
    """The epochs between two validations so that these take at most `VALIDATION` of the work."""
    evaluation = FORWARD * eval_size
    return max(1, math.ceil(evaluation * (1 - VALIDATION) / (VALIDATION * epoch_size)))


def _data_settings(settings):
    """Settings by name with the defaults of `DataConfig`, as an object."""
    defaults = {f.name: f.default for f in dataclasses.fields(DataConfig)}
    return SimpleNamespace(**defaults | settings)


def _refuse_reading(flags):
    """Raises `InputError` for a flag that says how a dataset is read, where there is none."""
    for name in names(DataConfig, reads_file=True):
        if flags.get(name):
            raise InputError(f"{name} is {flags[name]}: it can be set only with --dataset")


def _inherited(config, flags, all_data=False):
    """The data settings that a new run takes over from an earlier run, by name.

    Args:
        config: the earlier run's `Config`.
        flags: the flags by name; if they name other data, settings of the earlier data are left
            out.
        all_data: take over all settings of the data, not only those that the weights depend on.
    """
    values = {}
    for f in dataclasses.fields(config.data):
        kind = f.metadata["inherited"]
        of_dataset = f.metadata["belongs_to"] or kind in ("with_dataset", "with_file")
        other_digits = "data_path" in flags and of_dataset
        other_dataset = "dataset" in flags and (f.name == "data_path" or kind == "with_file")
        if (kind or all_data) and not other_digits and not other_dataset:
            values[f.name] = getattr(config.data, f.name)
    if all_data and config.data.auto_range and "value_range" in values:
        values["value_range"] = AUTO
    return with_absolute_paths(values)


def resolve_dataset(settings, units=None):
    """Opens the dataset of a new run and adds the settings that it decides.

    Args:
        settings: the settings so far, by name.
        units: units of `value_range`, if it is that of an earlier run; default: the dataset's own.

    Returns:
        The settings, and the opened dataset.

    Raises:
        InputError: the dataset cannot be used, or a setting contradicts it.
    """
    data = _data_settings(settings | {"units": units})
    if data.value_range != AUTO:
        _check_pair(data.value_range)
        check_value_range(data.value_range, data.dataset, data.transform)
    check_dates(data.validate_from, data.test_from)
    file = own_data.open_file(data.dataset, data)
    _check_kind(file, data)
    channels, *size = file.frame_shape
    given = settings.get("image_size", size)
    if list(given) != size:
        raise InputError(
            f"{file.path}: has frames of {size[0]}x{size[1]}, and image_size is {given[0]} "
            f"{given[1]}; leave --image_size out"
        )
    file.check_length(data)
    if file.frequency:
        print(f"frequency: {file.frequency}")
    crc = file.fingerprint()
    convert_units(file, data)
    decided = settings_of(file) | {
        "image_size": tuple(size),
        "channels": channels,
        "dataset_crc": crc,
        "read_by": __version__,
        "window_stride": file.window_stride(data),
        "frequency": file.frequency,
        "auto_range": data.value_range == AUTO,
    }
    if data.value_range == AUTO or data.missing == "mask":
        decided |= _found_in_values(file, data)
    return {"epoch_size": file.split_size(data, "train")} | settings | decided, file


def _check_pair(value_range):
    """Raises `InputError` unless a value range is two numbers or None."""
    if value_range is not None and (len(value_range) != 2 or AUTO[0] in value_range):
        given = " ".join(map(str, value_range))
        raise InputError(f"value_range is {given}: it must be two numbers, or auto")


def _check_kind(file, data):
    """Raises `InputError` if a setting is given that this kind of file does not have."""
    if not file.is_record and data.value_range == AUTO:
        raise InputError(
            f"{file.path}: value_range auto is for one long record; whole sequences need "
            "--value_range LOW HIGH"
        )
    for name, reason in OF_RECORDS.items():
        if not file.is_record and getattr(data, name) is not None:
            raise InputError(f"{file.path}: holds whole sequences, {reason}")
    own_data.check_reading(file.path, vars(data))


def _found_in_values(file, data):
    """The settings that depend on the values of the training split: value range and fill value."""
    found, decided = file.training_statistics(data), {}
    if found.missing and data.missing != "mask":
        file.refuse_missing(found)
    if not found.values:
        raise InputError(f"{file.path}: all values of its training split are missing")
    if data.value_range == AUTO:
        low, high = found.lowest, found.highest
        if low == high:
            raise InputError(
                f"{file.path}: every value of its training split is {low:g}: give --value_range "
                "LOW HIGH"
            )
        check_value_range((low, high), file.path, data.transform)
        print(f"value range: {low:g} to {high:g}, the extremes of the training split")
        decided["value_range"] = (low, high)
    if data.missing == "mask":
        decided["fill"] = found.mean
        fraction = found.missing / (found.missing + found.values)
        print(
            f"missing: {fraction:.1%} of the training split; the network reads the mean of the "
            f"others, {found.mean:g}, in their place"
        )
    return decided


def fields_of(*parts):
    """The settings of parts of a `Config` by name, with absolute paths."""
    return with_absolute_paths(
        {f.name: getattr(part, f.name) for part in parts for f in dataclasses.fields(part)}
    )


def with_absolute_paths(settings):
    """Settings by name, with absolute paths."""
    found = {name: settings[name] for name in PATHS if settings.get(name) is not None}
    return settings | {name: os.path.abspath(path) for name, path in found.items()}
