"""Where a training starts: anew, from another one's weights or settings, or where one stopped.

All that decides a run's configuration comes together here: flags, presets, a checkpoint or a
config.json that it starts from, its dataset, and the device.
"""

import dataclasses
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms

from src import run_folder
from src.checkpoint import Checkpoint, check_same_network, different_fields, load
from src.config.fields import names
from src.config.presets import DEFAULT_PRESET, RECIPES, make_config
from src.config.schema import AUTO, Config, DataConfig, ModelConfig, TrainingConfig
from src.data import own_data, sources
from src.data.normalizer import check_value_range
from src.errors import InputError
from src.formats.readers import AxisNames
from src.model import EncoderForecaster
from src.tools.state import TrainingState
from src.tools.train_step import execution_of

# What a resumed run may change without changing what is trained on which sequence.
MAY_CHANGE = names(TrainingConfig, DataConfig, may_change=True)


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Args:
        config: its `Config`, final.
        folder: the folder of its files.
        dataset: its own dataset, open, where it is checked already; or None.
        resumed: the checkpoint that it goes on from, or None.
        pretrained: the checkpoint whose weights it starts with, or None.
    """

    config: Config
    folder: Path
    dataset: object = None
    resumed: Checkpoint | None = None
    pretrained: Checkpoint | None = None

    @property
    def continues(self):
        """Whether it goes on in the folder of the run that it resumes."""
        resumed = self.resumed
        return bool(resumed) and self.folder.resolve() == resumed.path.parent.resolve()

    def sources(self):
        """The training and the validation sequences."""
        return sources.training_sources(self.config, self.dataset)

    def network(self, target):
        """The `EncoderForecaster` with its start weights, drawn by the run's seed, to be trained on
        a device.

        Raises:
            InputError: the pretrained weights are another network's.
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
        """The `TrainingState`: of the beginning, or of the checkpoint that it goes on from.

        Raises:
            InputError: an epoch is smaller than a step, or so many ranks cannot go on from there.
        """
        steps_per_epoch = self.config.steps_per_epoch(ranks.size)
        if not self.resumed:
            return TrainingState(steps_per_epoch, ranks.size, self.config.horizons[-1].frames)
        state = TrainingState.from_checkpoint(self.resumed)
        state.continue_on(ranks.size, steps_per_epoch, self.resumed.path)
        return state


def resolve_start(flags, target):
    """The `Start` that the flags of train.py ask for on a device.

    Args:
        flags: the flags by name, of `given_flags`.
        target: "Ascend" or "CPU".

    Raises:
        InputError: a checkpoint or a dataset cannot be used, or flags contradict it or each other.
    """
    folder = flags["train_path"]
    if flags["resume"]:
        if flags["config"]:
            raise InputError("config is given with resume, which has the settings of its run")
        resumed = find_resumable(flags["resume"], folder)
        config = resolve_sink_size(resumed_config(resumed, flags), target)
        return Start(config, Path(folder or resumed.path.parent), resumed=resumed)
    saved = read_config(flags["config"], flags) if flags["config"] else None
    file = flags.get("pretrained_model", saved and saved.training.pretrained_model)
    pretrained = load(file) if file else None
    config, dataset = new_config(flags, target, pretrained, saved)
    config = resolve_sink_size(config, target)
    folder = Path(folder or run_folder.default_path(config.preset))
    return Start(config, folder, dataset, pretrained=pretrained)


def given_flags(args):
    """The parsed flags by name, lists as tuples; a dataset's path from the root, because a
    checkpoint has to find it from any folder.
    """
    flags = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(args).items()
    }
    if "dataset" in flags:
        flags["dataset"] = os.path.abspath(flags["dataset"])
    return flags


def read_config(path, flags):
    """The `Config` of a run's config.json.

    Raises:
        InputError: it cannot be read, has an unknown setting, or a flag contradicts it.
    """
    for name in ("preset", "recipe"):
        if flags[name]:
            raise InputError(f"config is given with {name}, which it has: leave one of them out")
    try:
        return Config.from_json(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"{path}: cannot be read (config): {reason}") from None
    except InputError as error:
        raise InputError(f"{path}: {error} (config)") from None


def new_config(flags, target, pretrained=None, saved=None):
    """The `Config` of a new run, and its dataset, open, or None.

    Where no flag says otherwise, all holds that a saved configuration says, or what a pretrained
    checkpoint knows of frames and data and, without --preset, of its network. Without them the
    preset is the device's default. What a dataset decides is found anew.

    Args:
        flags: the flags by name.
        target: "Ascend" or "CPU".
        pretrained: the checkpoint that the run starts from, or None.
        saved: the `Config` of another run, or None.
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
    settings, dataset = known | flags, None
    if settings.get("dataset") is not None:
        found = set(names(DataConfig, ModelConfig, found_in_dataset=True))
        anew = {name: value for name, value in known.items() if name not in found}
        settings, dataset = resolve_dataset(anew | flags)
        if settings["dataset_crc"] == known.get("dataset_crc"):
            settings["epoch_size"] = flags.get("epoch_size", known["epoch_size"])
    return make_config(preset or DEFAULT_PRESET[target], settings, recipe), dataset


def _fields_of(*parts):
    return {f.name: getattr(part, f.name) for part in parts for f in dataclasses.fields(part)}


def _inherited(config, flags, all_data=False):
    """What a new run takes over of an earlier run's data, by name.

    Args:
        config: the earlier run's `Config`.
        flags: the flags by name; other data than that run's is read in its own way.
        all_data: take over all settings of the data, not only those that weights depend on.
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
    return values


def resolve_dataset(settings):
    """The settings of a new run with what its dataset decides of them, and the dataset, open.

    Args:
        settings: what is set so far, by name.

    Raises:
        InputError: the dataset cannot be used, or a setting contradicts it.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(DataConfig)}
    data = SimpleNamespace(**defaults | settings)
    if data.value_range != AUTO:
        _check_pair(data.value_range)
        check_value_range(data.value_range, data.dataset, data.transform)
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
    own_data.check_units(file, data.transform)
    decided = {
        "image_size": tuple(size),
        "channels": channels,
        "dataset_crc": file.fingerprint(),
        "window_stride": file.window_stride(data),
        "units": file.units,
        "auto_range": data.value_range == AUTO,
    }
    if data.value_range == AUTO or data.missing == "mask":
        decided |= _found_in_values(file, data)
    return {"epoch_size": file.training_size(data)} | settings | decided, file


def _check_pair(value_range):
    """Raises `InputError` for a number of values that is no range."""
    if value_range is not None and (len(value_range) != 2 or AUTO[0] in value_range):
        given = " ".join(map(str, value_range))
        raise InputError(f"value_range is {given}: it must be two numbers, or auto")


def _check_kind(file, data):
    """Raises `InputError` where a setting is given that a file of this kind cannot have."""
    if not file.is_record and data.value_range == AUTO:
        raise InputError(
            f"{file.path}: value_range auto is for one long record; whole sequences need "
            "--value_range LOW HIGH"
        )
    if not file.is_record and data.window_stride is not None:
        raise InputError(f"{file.path}: holds whole sequences, which have no window_stride")
    for f in dataclasses.fields(AxisNames):
        if getattr(data, f.name) is not None and not file.has_names:
            raise InputError(
                f"{file.path}: is no NetCDF or Zarr and has no names, and {f.name} is given"
            )


def _found_in_values(file, data):
    """What only the values of the training split can tell: the scale, and what fills gaps."""
    found, decided = file.training_statistics(data), {}
    if found.missing and data.missing != "mask":
        file.refuse_missing(found)
    if not found.values:
        raise InputError(f"{file.path}: its training split holds no value at all")
    if data.value_range == AUTO:
        low, high = found.lowest, found.highest
        if low == high:
            raise InputError(f"{file.path}: every value of its training split is {low:g}")
        check_value_range((low, high), file.path, data.transform)
        print(f"value range: {low:g} to {high:g}, the extremes of the training split")
        decided["value_range"] = (low, high)
    if data.missing == "mask":
        decided["fill"] = found.mean
        share = found.missing / (found.missing + found.values)
        print(
            f"missing: {share:.1%} of the training split; the network reads their mean, "
            f"{found.mean:g}, in their place"
        )
    return decided


def resolve_sink_size(config, target):
    """The `Config` as it will be used: without an Ascend its `sink_size` is 1, which it says."""
    training = config.training
    if target == "Ascend" or training.sink_size == 1:
        return config
    print(
        f"sink_size {training.sink_size} is not used: MindSpore has no sink mode on a {target}; "
        "steps run one by one"
    )
    return dataclasses.replace(config, training=dataclasses.replace(training, sink_size=1))


def find_resumable(resume, train_path):
    """The checkpoint to go on from.

    Args:
        resume: a checkpoint file, or True for the newest good state in `train_path`.
        train_path: the run's folder.

    Raises:
        InputError: there is no good state; a damaged newer one is reported in a line on stderr.
    """
    if resume is not True:
        return load(resume)
    if train_path is None:
        raise InputError("resume needs --train_path, the run's folder, or a checkpoint file")
    folder, problems = Path(train_path), []
    for path in run_folder.resumable_checkpoints(folder):
        try:
            found = load(path)
        except InputError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            print(f"warning: {problem}; going on from {path.name}", file=sys.stderr)
        return found
    if problems:
        raise InputError(f"{folder}: no good state to resume: {'; '.join(problems)}")
    raise InputError(f"{folder}: holds no state to resume; leave --resume out to start a run")


def resumed_config(found, flags):
    """The configuration of a resumed run: the checkpoint's, with the changes that are allowed.

    Args:
        found: the checkpoint.
        flags: the flags that were given, by name.

    Raises:
        InputError: a flag asks for something else than the run was started with, or the checkpoint
            is of no run.
    """
    if not found.state:
        raise InputError(
            f"{found.path}: holds weights only, and no training to go on with: start from it with "
            "--pretrained_model"
        )
    known = found.config
    if known.data.auto_range and flags.get("value_range") == AUTO:
        flags = flags | {"value_range": known.data.value_range}
    if flags.get("recipe"):
        raise InputError("recipe: a resumed run keeps its own; leave --recipe out")
    parts = (known.model, known.data, known.training)
    own = _fields_of(*parts)
    config = make_config(flags.get("preset") or known.preset, own | flags)
    differences = [] if config.preset == known.preset else [f"preset {known.preset} there"]
    for saved, current in zip(parts, (config.model, config.data, config.training), strict=True):
        differences += different_fields(saved, current, MAY_CHANGE)
    if differences:
        raise InputError(
            f"{found.path}: was trained with other settings: {'; '.join(differences[:3])}; "
            f"a resumed run may change {', '.join(MAY_CHANGE)} only"
        )
    return config
