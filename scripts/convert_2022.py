"""Turns a checkpoint of the 2022 MindSpore version, lyqcom/convlstm, into one of this project.

python scripts/convert_2022.py lstm_3-95_172.ckpt 2022.ckpt
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config import cli  # noqa: E402
from src.convert import conversion, layout  # noqa: E402


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="the checkpoint to convert")
    parser.add_argument("target", type=Path, metavar="OUT", help="the checkpoint to write")
    return parser.parse_args(argv)


def main(args):
    """Reads, converts and writes the weights, and prints what was done."""
    conversion.check_output(args.source, args.target)
    weights, left_out = conversion.read_2022(args.source)
    print(conversion.to_checkpoint(layout.MINDSPORE_2022, weights, args.source, args.target))
    print(f"also left out: {len(left_out)} entries of optimizer and loss scale")


if __name__ == "__main__":
    cli.run(main, parse_args)
