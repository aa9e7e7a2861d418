"""Where a training starts: anew, from the weights of another one, or where one stopped."""

from dataclasses import dataclass
from pathlib import Path

from src import checkpoint, run_folder
from src.config import cli
from src.config.schema import Config
from src.model import EncoderForecaster
from src.tools import resume, train_step


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
        resumed = resume.find(args.resume, args.train_path)
        config = resume.config_of(resumed, cli.options_of(args))
        return Start(config, Path(args.train_path or resumed.path.parent), resumed)
    file = getattr(args, "pretrained_model", None)
    pretrained = checkpoint.load(file) if file else None
    config = cli.config_from(args, target, pretrained)
    folder = Path(args.train_path or run_folder.default_path(config.preset))
    return Start(config, folder, pretrained=pretrained)
