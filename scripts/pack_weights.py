"""Makes weights for the box of a run: its best checkpoint without the optimizer's state.

python scripts/pack_weights.py runs/NAME weights/small.ckpt

The run's config.json and metrics.csv go beside it as small.json and small.csv.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import checkpoint, run_folder
from src.config import cli
from src.runtime.files import write_atomically


def main(args):
    """Writes the three files."""
    args.file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save_weights(args.file, checkpoint.load(args.run / run_folder.BEST))
    for name, suffix in ((run_folder.CONFIG, ".json"), (run_folder.METRICS, ".csv")):
        write_atomically(args.file.with_suffix(suffix), [(args.run / name).read_bytes()])
    print(f"{args.file}: {args.file.stat().st_size:,} bytes")


if __name__ == "__main__":
    parser = cli.Parser(__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("file", type=Path, help="the checkpoint to write")
    cli.run(main, parser.parse_args)
