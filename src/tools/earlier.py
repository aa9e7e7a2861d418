"""What an earlier training has left in a folder: which files are a run's."""

from src import checkpoint, run_folder
from src.config.schema import Config
from src.errors import InputError
from src.tools.recorder import COLUMNS

# Earlier versions had no column for the work.
HEADS = (COLUMNS, tuple(name for name in COLUMNS if name != "work"))


def is_of_a_run(path):
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
