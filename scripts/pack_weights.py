"""Packs a run's weights for publication: its best checkpoint without the optimizer's state.

python scripts/pack_weights.py runs/NAME weights/small.ckpt

The run's config.json and metrics.csv are copied beside it as small.json and small.csv. The former
gets one more entry, "measured": the MSE of the first sequences of the generated test set, or of the
test split of the run's dataset. A test checks that the weights still give it.
"""

import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src import checkpoint, run_folder  # noqa: E402
from src.config import cli  # noqa: E402
from src.config.fields import names  # noqa: E402
from src.data.sources import evaluation_source  # noqa: E402
from src.errors import InputError  # noqa: E402
from src.evaluation.evaluate import evaluate_network  # noqa: E402
from src.runtime import device  # noqa: E402
from src.runtime.files import write_atomically  # noqa: E402

SEQUENCES = 20


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("file", type=Path, help="the checkpoint to write")
    return parser.parse_args(argv)


def main(args):
    """Writes the three files."""
    device.set_up("CPU")
    if args.file.resolve().parent == args.run.resolve():
        raise InputError(
            f"{args.file}: is in the run's folder, whose files stay: name another (file)"
        )
    loaded = checkpoint.load(args.run / run_folder.BEST)
    measured = measure(loaded)
    loaded.config = without_folders(loaded.config)
    args.file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save_weights(args.file, loaded)
    settings = json.loads(loaded.config.to_json()) | {"measured": measured}
    text = json.dumps(settings, indent=2) + "\n"
    write_atomically(args.file.with_suffix(".json"), [text.encode()])
    metrics = (args.run / run_folder.METRICS).read_bytes()
    write_atomically(args.file.with_suffix(".csv"), [metrics])
    print(f"{args.file}: {args.file.stat().st_size:,} bytes, measured: {settings['measured']}")


def without_folders(config):
    """A `Config` whose paths are names only: the folders are of the machine that trained."""

    def named(part):
        paths = {name: getattr(part, name) for name in names(type(part), is_path=True)}
        return dataclasses.replace(part, **{k: v and Path(v).name for k, v in paths.items()})

    return dataclasses.replace(config, data=named(config.data), training=named(config.training))


def measure(loaded):
    """The number of sequences and their MSE, of a `Checkpoint`."""
    source = evaluation_source(loaded.config, limit=SEQUENCES)
    metrics = evaluate_network(loaded.network(), source, loaded.config, "measure", names=("mse",))
    return {"sequences": SEQUENCES, "mse": metrics.means()["mse"]}


if __name__ == "__main__":
    cli.run(main, parse_args)
