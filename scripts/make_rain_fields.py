"""Makes synthetic rain of many kinds to learn motion from: random fields that move and change.

python scripts/make_rain_fields.py fields.npy    # 1,600 sequences of 10 frames of 104x104, 346 MB
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config import cli
from src.errors import InputError  # noqa: E402
from src.radar.rain_fields import RainFields, write_sequences  # noqa: E402
from src.runtime.files import check_writable  # noqa: E402


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    add, whole = parser.add_argument, cli.whole_number(1)
    add("file", help="the file to write, .npy")
    add("--sequences", type=whole, default=1600, help="sequences to make (default: 1600)")
    add("--frames", type=whole, default=10, help="frames in a sequence (default: 10)")
    add("--seed", type=cli.whole_number(0), default=1, help="seed of the rain (default: 1)")
    add(
        "--image_size",
        type=whole,
        nargs=2,
        default=[104, 104],
        help="height and width in pixels (default: 104 104)",
    )
    add("--overwrite", action=cli.Switch, help="replace an existing file")
    return parser.parse_args(argv)


def main(args):
    """Checks the arguments, then writes the file."""
    path = Path(args.file)
    if path.suffix != ".npy":
        raise InputError(f"{path}: must end in .npy")
    if path.exists() and not args.overwrite:
        raise InputError(f"{path}: exists already: use --overwrite or another name")
    check_writable(path, "file")
    write_sequences(path, RainFields(args.seed, args.frames, args.image_size), args.sequences)
    print(f"{path}: {path.stat().st_size:,} bytes, mm/h, seed {args.seed}")


if __name__ == "__main__":
    cli.run(main, parse_args)
