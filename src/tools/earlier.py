"""What an earlier training has left in the folder of a run."""

from src import checkpoint, run_folder
from src.config.schema import Config
from src.errors import InputError
from src.tools.recorder import COLUMNS, CSI_COLUMN, pictures_after
from src.tools.state import TrainingState

# Earlier versions had no column for the work.
HEADS = (COLUMNS, (*COLUMNS, CSI_COLUMN), tuple(name for name in COLUMNS if name != "work"))


class Earlier:
    """The run that a folder holds, and the state of it that a training goes on from.

    Args:
        resumed: the `Checkpoint` in the folder that the training goes on from; None where it
            starts anew.
    """

    def __init__(self, resumed=None):
        self.resumed = resumed
        self.state = resumed and TrainingState.from_checkpoint(resumed)

    @property
    def epochs_done(self):
        """The whole epochs that the state has behind it."""
        return self.state.step // self.state.steps_per_epoch if self.resumed else 0

    def is_ours(self, path):
        """Whether a file of a run's names is one, by its content."""
        if path.suffix == ".ckpt":
            return checkpoint.has_our_config(path)
        try:
            with path.open(errors="replace") as file:
                if path.name == run_folder.METRICS:
                    return tuple(file.readline().rstrip("\r\n").split(",")) in HEADS
                Config.from_json(file.read())
                return path.name == run_folder.CONFIG
        except (OSError, InputError):
            return False

    def later(self, manifest):
        """The run's files from after the state: pictures, then checkpoints, newest first; nothing
        where no checkpoint is later.
        """
        if not self.resumed:
            return []
        own = set(manifest.owned())
        found = [path for path in run_folder.resumable_checkpoints(manifest.folder) if path in own]
        found = list(filter(self.is_later, found))
        return found and [*pictures_after(self.state.epoch, manifest), *found]

    def is_later(self, path):
        """Whether a checkpoint is of a later state, whatever number of ranks counted its steps."""
        try:
            other = TrainingState.from_checkpoint(checkpoint.load(path))
        except InputError:
            return False
        state = self.state
        return other.step * state.steps_per_epoch > state.step * other.steps_per_epoch
