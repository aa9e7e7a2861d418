"""Where a training starts: anew, from the weights of another one, or where one stopped."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from src import checkpoint, run_folder
from src.config import cli
from src.config.presets import make_config
from src.config.schema import Config
from src.data import own_data
from src.errors import InputError
from src.model import EncoderForecaster
from src.tools import start, train_step

# What may change without changing what is trained on which sequence.
MAY_CHANGE = (
    "learning_rate", "epochs", "max_minutes", "max_work", "num_parallel_workers", "data_path",
    "dataset", "save_every", "save_steps", "keep", "log_every", "recompute", "pictures",
    "tensorboard", "sink_size",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Args:
        config: its `Config`.
        folder: the folder of its files.
        resumed: the checkpoint that it goes on from, or None.
        pretrained: the checkpoint whose weights it starts with, or None.
    """

    config: Config
    folder: Path
    resumed: checkpoint.Checkpoint | None = None
    pretrained: checkpoint.Checkpoint | None = None

    @property
    def continues(self):
        """Whether it goes on in the folder of the run that it resumes."""
        resumed = self.resumed
        return bool(resumed) and self.folder.resolve() == resumed.path.parent.resolve()

    def make_network(self, config, target):
        """The `EncoderForecaster` of `config` with its start weights.

        Raises:
            InputError: the pretrained weights are another network's.
        """
        execution = train_step.execution_of(config.training, target)
        network = EncoderForecaster(config.model, config.data.forecast_frames, execution)
        if self.pretrained:
            checkpoint.check_same_network(self.pretrained, config)
        if self.resumed or self.pretrained:
            checkpoint.load_weights(network, self.resumed or self.pretrained)
        return network


def start_of(args, target):
    """The `Start` that the parsed flags of train.py ask for.

    Raises:
        InputError: a checkpoint cannot be used, or flags contradict it or each other.
    """
    if args.resume:
        resumed = start.find(args.resume, args.train_path)
        config = start.config_of(resumed, cli.options_of(args))
        return Start(config, Path(args.train_path or resumed.path.parent), resumed)
    file = getattr(args, "pretrained_model", None)
    pretrained = checkpoint.load(file) if file else None
    config = cli.config_from(args, target, pretrained)
    folder = Path(args.train_path or run_folder.default_path(config.preset))
    return Start(config, folder, pretrained=pretrained)


def find(resume, train_path):
    """The checkpoint to go on from.

    Args:
        resume: a checkpoint file, or True for the newest good state in `train_path`.
        train_path: the run's folder.

    Raises:
        InputError: there is no good state; a damaged newer one is reported in a line on stderr.
    """
    if resume is not True:
        return checkpoint.load(resume)
    if train_path is None:
        raise InputError("resume needs --train_path, the run's folder, or a checkpoint file")
    folder, problems = Path(train_path), []
    for path in run_folder.states(folder):
        try:
            found = checkpoint.load(path)
        except InputError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            print(f"warning: {problem}; going on from {path.name}", file=sys.stderr)
        return found
    if problems:
        raise InputError(f"{folder}: no good state to resume: {'; '.join(problems)}")
    raise InputError(f"{folder}: holds no state to resume; leave --resume out to start a run")


def config_of(found, options):
    """The configuration of a resumed run: the checkpoint's, with the changes that are allowed.

    Args:
        found: the checkpoint.
        options: the flags that were given, by name.

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
    if known.data.auto_range and options.get("value_range") == own_data.AUTO:
        options = options | {"value_range": known.data.value_range}
    parts = (known.model, known.data, known.training)
    own = {f.name: getattr(part, f.name) for part in parts for f in dataclasses.fields(part)}
    if options.get("recipe"):
        raise InputError("recipe: a resumed run keeps its own; leave --recipe out")
    config = make_config(options.get("preset") or known.preset, own | options)
    differences = [] if config.preset == known.preset else [f"preset {known.preset} there"]
    for theirs, ours in zip(parts, (config.model, config.data, config.training), strict=True):
        differences += checkpoint.different_fields(theirs, ours, besides=MAY_CHANGE)
    if differences:
        raise InputError(
            f"{found.path}: was trained with other settings: {'; '.join(differences[:3])}; "
            f"a resumed run may change {', '.join(MAY_CHANGE)} only"
        )
    return config
