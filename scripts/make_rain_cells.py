"""Makes synthetic rain to forecast: cells that move, grow and decay, in mm/h, every 6 minutes.

python scripts/make_rain_cells.py rain.npy                   # 1,500 sequences of 20 frames, 492 MB
python scripts/make_rain_cells.py rain.npy --record 7200     # one record of 30 days, (T, H, W)
python scripts/make_rain_cells.py rain.nc --record 7200      # with times and units (needs xarray)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config import cli
from src.data import rain_cells  # noqa: E402
from src.errors import InputError  # noqa: E402
from src.runtime.files import check_writable  # noqa: E402


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("file", help="the file to write: .npy, or with --record .nc too")
    add(
        "--sequences",
        type=cli.whole_number(1),
        default=1500,
        help="independent sequences to make (default: 1500)",
    )
    add(
        "--frames",
        type=cli.whole_number(1),
        default=20,
        help="frames in a sequence (default: 20)",
    )
    add(
        "--record",
        type=cli.whole_number(1),
        metavar="FRAMES",
        help="make one record of this many frames instead of sequences",
    )
    add("--seed", type=cli.whole_number(0), default=1, help="seed of the rain (default: 1)")
    add(
        "--image_size",
        type=cli.whole_number(1),
        nargs=2,
        default=[64, 64],
        help="height and width in pixels of 2 km (default: 64 64)",
    )
    add("--overwrite", action="store_true", help="replace an existing file")
    return parser.parse_args(argv)


def main(args):
    """Checks the arguments, then writes the file."""
    path, kind = Path(args.file), Path(args.file).suffix
    if kind not in rain_cells.KINDS or (kind == ".nc" and not args.record):
        raise InputError(f"{path}: must end in .npy, or with --record in .npy or .nc")
    if path.exists() and not args.overwrite:
        raise InputError(f"{path}: exists already: use --overwrite or another name")
    check_writable(path, "file")
    rain = rain_cells.RainCells(args.seed, args.image_size)
    if kind == ".nc":
        rain_cells.write_netcdf(path, rain, args.record)
    elif args.record:
        rain_cells.write_record(path, rain, args.record)
    else:
        rain_cells.write_sequences(path, rain, args.sequences, args.frames)
    print(f"{path}: {path.stat().st_size:,} bytes, mm/h, seed {args.seed}")


if __name__ == "__main__":
    cli.run(main, parse_args)
