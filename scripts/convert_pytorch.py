"""Turns weights of the PyTorch network jhhuang96/ConvLSTM-PyTorch into a checkpoint, and back.

python scripts/convert_pytorch.py checkpoint_99_0.000731.pth.tar pytorch.ckpt
python scripts/convert_pytorch.py --to_pytorch runs/NAME/best.ckpt convlstm.pth.tar

The PyTorch file is a state dict, or a checkpoint that holds one under "state_dict": .pth or
.pth.tar, which need torch, or .safetensors, which needs safetensors.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config import cli  # noqa: E402
from src.convert import conversion, layout, pytorch  # noqa: E402


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="the file to convert")
    parser.add_argument("target", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument(
        "--to_pytorch",
        action="store_true",
        help="IN is a checkpoint of train.py and OUT a PyTorch file",
    )
    return parser.parse_args(argv)


def main(args):
    """Reads, converts and writes the weights, and prints what was done."""
    conversion.check_output(args.source, args.target)
    if args.to_pytorch:
        print(conversion.to_pytorch(args.source, args.target))
        return
    weights = pytorch.read(args.source)
    print(conversion.to_checkpoint(layout.PYTORCH, weights, args.source, args.target))


if __name__ == "__main__":
    cli.run(main, parse_args)
