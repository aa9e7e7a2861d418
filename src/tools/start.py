"""How a training starts: anew, from the weights or settings of another, or by resuming a run."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms

from src import run_folder
from src.checkpoint import Checkpoint, check_same_network, different_fields, load
from src.config.fields import names
from src.config.presets import make_config
from src.config.schema import AUTO, Config, DataConfig, TrainingConfig
from src.data import sources
from src.errors import InputError
from src.formats.readers import would_read
from src.model import EncoderForecaster
from src.tools.earlier import Earlier
from src.tools.new_run import fields_of, new_config, read_config, with_absolute_paths
from src.tools.state import TrainingState
from src.tools.train_step import execution_of

# Settings that a resumed run may change: the network and its training sequences stay the same.
MAY_CHANGE = names(TrainingConfig, DataConfig, may_change=True)


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
    return with_absolute_paths(
        {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in vars(args).items()
        }
    )


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
    own = fields_of(*parts)
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
