"""Draws the learning curves of one run or several: loss, validation scores, learning rate.

python scripts/plot_metrics.py runs/NAME                       # writes runs/NAME/curves.png
python scripts/plot_metrics.py runs/ONE runs/TWO --output both.svg --against minutes
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config import cli
from src.errors import InputError  # noqa: E402
from src.plots import curves  # noqa: E402


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="a run's folder, or its metrics.csv")
    add(
        "--output",
        metavar="FILE",
        help="the picture, .png, .svg or .pdf (default: curves.png in the RUN's folder)",
    )
    add(
        "--against",
        choices=("sequences", "minutes"),
        default="sequences",
        help="the horizontal axis (default: sequences)",
    )
    return parser.parse_args(argv)


def main(args):
    """Reads the runs, draws one figure and writes it."""
    if args.output is None and len(args.runs) > 1:
        raise InputError("--output is missing: several runs need it")
    runs = {name: curves.read_metrics(run) for name, run in named(args.runs).items()}
    first = Path(args.runs[0])
    output = args.output or (first if first.is_dir() else first.parent) / "curves.png"
    curves.check_output(output, "output")
    curves.write(curves.learning_figure(runs, args.against), output)
    print(output)


def named(runs):
    """The runs by name: the names of their folders if they are unique, else their paths."""
    folders = [Path(run) if Path(run).is_dir() else Path(run).parent for run in runs]
    names = [folder.resolve().name for folder in folders]
    unique = len(set(names)) == len(names)
    return dict(zip(names if unique else runs, runs, strict=True))


if __name__ == "__main__":
    cli.run(main, parse_args)
