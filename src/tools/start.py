"""How a training starts: anew, from the weights or settings of another run, or by resuming a run.

The configuration of a run is resolved here, from its flags, its preset, the checkpoint or
config.json that it starts from, its dataset, and the device.
"""

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms

from src import __version__, run_folder
from src.checkpoint import Checkpoint, check_same_network, different_fields, load
from src.config.fields import names
from src.config.presets import DEFAULT_PRESET, RECIPES, make_config, sequences_per_step
from src.config.schema import AUTO, Config, DataConfig, ModelConfig, TrainingConfig
from src.data import own_data, sources
from src.data.agreement import convert_units, settings_of
from src.data.normalizer import check_value_range
from src.data.splits import check_dates
from src.errors import InputError
from src.formats.readers import would_read
from src.model import EncoderForecaster
from src.tools import epochs
from src.tools.earlier import Earlier
from src.tools.state import TrainingState
from src.tools.train_step import execution_of

# Settings that a resumed run may change: the network and its training sequences stay the same.
MAY_CHANGE = names(TrainingConfig, DataConfig, may_change=True)
PATHS = names(TrainingConfig, DataConfig, is_path=True)


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Args:
        config: the run's final `Config`.
        folder: the run's folder.
        dataset: the run's own dataset if it has been opened and checked already, else None.
        resumed: the checkpoint to resume, or None.
        pretrained: the checkpoint whose weights to start with, or None.
    """

    config: Config
    folder: Path
    dataset: object = None
    resumed: Checkpoint | None = None
    pretrained: Checkpoint | None = None

    @property
    def continues(self):
        """Whether the run is resumed in its own folder."""
        resumed = self.resumed
        return bool(resumed) and self.folder.resolve() == resumed.path.parent.resolve()

    def earlier(self):
        """The run in its folder, as `Earlier`."""
        return Earlier(self.resumed if self.continues else None)

    def sources(self):
        """The sources of the training and the validation sequences."""
        return sources.training_sources(self.config, self.dataset, is_new=not self.resumed)

    def network(self, target):
        """The `EncoderForecaster` with its initial weights, which the run's seed determines.

        Raises:
            InputError: the pretrained weights are those of another network.
        """
        ms.set_seed(self.config.training.seed)
        execution = execution_of(self.config.training, target)
        if self.pretrained:
            check_same_network(self.pretrained, self.config)
        frames, start = self.config.data.forecast_frames, self.resumed or self.pretrained
        if start:
            return start.network(frames, execution)
        return EncoderForecaster(self.config.model, frames, execution)

    def state(self, ranks):
        """The `TrainingState` to start with: a new one, or that of the checkpoint to resume.

        Raises:
            InputError: an epoch has fewer sequences than a step, or the checkpoint cannot be
                resumed on this number of ranks.
        """
        steps_per_epoch = self.config.steps_per_epoch(ranks.size)
        if not self.resumed:
            return TrainingState(steps_per_epoch, ranks.size, self.config.horizons[-1].frames)
        state = TrainingState.from_checkpoint(self.resumed)
        state.own_mse = state.own_csi = None
        state.change_limits(self.resumed.config.training, self.config.training)
        state.continue_on(ranks.size, steps_per_epoch, self.resumed.path)
        return state


def resolve_start(flags, target):
    """The `Start` of a training with some flags of train.py on a device.

    Args:
        flags: the flags by name, as `given_flags` returns them.
        target: "Ascend" or "CPU".

    Raises:
        InputError: a checkpoint or a dataset cannot be used, or flags contradict it or each other.
    """
    folder = flags["train_path"]
    if flags["resume"]:
        if flags["config"]:
            raise InputError(
                "--config is given with --resume: a resumed run has its own settings; leave "
                "--config out"
            )
        resumed = find_resumable(flags["resume"], folder)
        config = resolve_sink_size(resumed_config(resumed, flags), target)
        folder = Path(folder or resumed.path.parent)
        check_apart(folder, config.data.dataset)
        return Start(config, folder, resumed=resumed)
    saved = read_config(flags["config"], flags) if flags["config"] else None
    file = flags.get("pretrained_model", saved and saved.training.pretrained_model)
    pretrained = load(file) if file else None
    config, dataset = new_config(flags, target, pretrained, saved)
    config = resolve_sink_size(config, target)
    folder = Path(folder or run_folder.default_path(config.preset))
    check_apart(folder, config.data.dataset, file)
    return Start(config, folder, dataset, pretrained=pretrained)


def check_apart(folder, dataset, pretrained_model=None):
    """Raises `InputError` where a run's files would be read as its input, or take its place.

    Args:
        folder: the run's folder.
        dataset, pretrained_model: what it reads, or None.
    """
    written = [folder / name for name in (*run_folder.NAMES, run_folder.epoch_file(1))]
    there = run_folder.run_files(folder)
    for name, source, paths in (
        ("dataset", dataset, written),
        ("pretrained_model", pretrained_model, there),
    ):
        if source is not None and any(would_read(source, path) for path in paths):
            raise InputError(
                f"{folder}: is where {name} is read from, and the run's files would meet it "
                "(train_path): name another folder"
            )


def given_flags(args):
    """The parsed flags by name, with lists as tuples and with absolute paths, because a checkpoint
    has to find them from any folder.
    """
    return _with_absolute_paths(
        {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in vars(args).items()
        }
    )


def _with_absolute_paths(settings):
    """Settings by name, with absolute paths."""
    found = {name: settings[name] for name in PATHS if settings.get(name) is not None}
    return settings | {name: os.path.abspath(path) for name, path in found.items()}


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
        known = _fields_of(saved.model, saved.training) | _inherited(saved, flags, all_data=True)
    elif pretrained:
        known = _inherited(pretrained.config, flags)
        if not preset:
            preset = pretrained.config.preset
            known |= _fields_of(pretrained.config.model)
    preset = preset or DEFAULT_PRESET[target]
    settings, dataset = known | flags, None
    if settings.get("dataset") is None:
        _refuse_reading(flags)
    if settings.get("dataset") is not None:
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
        size = found["epoch_size"] = epochs.epoch_size(windows, per_step)
    if size > windows:
        print(f"epoch: {windows:,} training windows, {size // windows} times (--epoch_size)")
    if "eval_every" not in settings:
        held_out = data.eval_size or file.split_size(data, "validation")
        found["eval_every"] = epochs.eval_every(size, held_out)
        if found["eval_every"] > 1:
            print(
                f"validation: every {found['eval_every']} epochs, so that its {held_out:,} windows "
                "take a tenth of the work (--eval_every)"
            )
    return found


def _data_settings(settings):
    """Settings by name with the defaults of `DataConfig`, as an object."""
    defaults = {f.name: f.default for f in dataclasses.fields(DataConfig)}
    return SimpleNamespace(**defaults | settings)


def _refuse_reading(flags):
    """Raises `InputError` for a flag that says how a dataset is read, where there is none."""
    for name in names(DataConfig, reads_file=True):
        if flags.get(name):
            raise InputError(f"{name} is {flags[name]}: it can be set only with --dataset")


def _fields_of(*parts):
    return _with_absolute_paths(
        {f.name: getattr(part, f.name) for part in parts for f in dataclasses.fields(part)}
    )


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
    return _with_absolute_paths(values)


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
    if not file.is_record and data.window_stride is not None:
        raise InputError(
            f"{file.path}: holds whole sequences, which have no window_stride; leave "
            "--window_stride out"
        )
    if not file.is_record and data.validate_from is not None:
        raise InputError(
            f"{file.path}: holds whole sequences, which are split at random; leave --validate_from "
            "and --test_from out"
        )
    if not file.is_record and data.time_from_name is not None:
        raise InputError(
            f"{file.path}: holds whole sequences, and a file's name says the time of one frame; "
            "leave --time_from_name out"
        )
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


def resolve_sink_size(config, target):
    """The `Config` with `sink_size` 1 unless on an Ascend; prints a line if that is a change."""
    training = config.training
    if target == "Ascend" or training.sink_size == 1:
        return config
    print(
        f"sink_size {training.sink_size} is not used: MindSpore has no sink mode on a {target}; "
        "steps run one by one"
    )
    return dataclasses.replace(config, training=dataclasses.replace(training, sink_size=1))


def find_resumable(resume, train_path):
    """Loads the checkpoint to resume; prints a line to stderr for each damaged newer one.

    Args:
        resume: a checkpoint file, or True for the newest intact checkpoint in `train_path`.
        train_path: the run's folder.

    Raises:
        InputError: there is no intact checkpoint.
    """
    if resume is not True:
        return load(resume)
    if train_path is None:
        raise InputError("--resume needs a checkpoint file, or the run's folder as --train_path")
    folder, problems = Path(train_path), []
    for path in run_folder.resumable_checkpoints(folder):
        try:
            found = load(path)
        except InputError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            print(f"warning: {problem}; resuming from {path.name}", file=sys.stderr)
        return found
    if problems:
        raise InputError(f"{folder}: no intact checkpoint to resume: {'; '.join(problems)}")
    way = "leave --resume out to start a run"
    if run_folder.manifest(folder).exists():
        way = "its run stopped before the first; start over with --overwrite in place of --resume"
    raise InputError(f"{folder}: has no checkpoint to resume; {way}")


def resumed_config(found, flags):
    """The configuration of a resumed run: the checkpoint's, with the changes that are allowed.

    Args:
        found: the checkpoint.
        flags: the flags that were given, by name.

    Raises:
        InputError: a flag changes a setting that has to stay, or the checkpoint has no training
            state.
    """
    if not found.state:
        raise InputError(
            f"{found.path}: holds weights only, no training state to resume: start from it with "
            "--pretrained_model"
        )
    known = found.config
    if known.data.auto_range and flags.get("value_range") == AUTO:
        flags = flags | {"value_range": known.data.value_range}
    if flags.get("pretrained_model"):
        print("pretrained_model is not read: the run goes on with its own weights")
    if flags.get("recipe"):
        raise InputError("--recipe is given: a resumed run keeps its own; leave --recipe out")
    parts = (known.model, known.data, known.training)
    own = _fields_of(*parts)
    config = make_config(flags.get("preset") or known.preset, own | flags)
    differences = []
    if config.preset != known.preset:
        differences.append(f"preset is {known.preset} in the checkpoint, not {config.preset}")
    for saved, current in zip(parts, (config.model, config.data, config.training), strict=True):
        differences += different_fields(saved, current, (*MAY_CHANGE, "pretrained_model"))
    if differences:
        raise InputError(
            f"{found.path}: was trained with other settings: {'; '.join(differences[:3])}; "
            f"a resumed run may change {', '.join(MAY_CHANGE)} only"
        )
    return config
