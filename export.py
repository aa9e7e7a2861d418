"""Exports a checkpoint to MINDIR or ONNX, and checks that the file computes the same forecast.

python export.py                              # weights/small.ckpt to ./small.mindir
python export.py --pretrained_model runs/NAME/best.ckpt --file_name convlstm.mindir
python export.py --pretrained_model runs/NAME/best.ckpt --file_format ONNX --batch_size 0
python export.py --pretrained_model runs/NAME/best.ckpt --file_format AIR    # on an Ascend only
"""

from src import checkpoint
from src.config import cli
from src.data.sources import sample_inputs
from src.evaluation import summary
from src.export import exporter
from src.model import Execution
from src.runtime import device


def make_parser():
    """The parser of the command line."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--pretrained_model", help="the checkpoint to export (default: weights/small.ckpt)")
    add(
        "--batch_size",
        type=cli.whole_number(0),
        default=1,
        help="batch size of the exported network; 0: any (default: 1)",
    )
    add(
        "--file_format",
        choices=exporter.FORMATS,
        default="MINDIR",
        help="format of the exported file; AIR on an Ascend only (default: MINDIR)",
    )
    add(
        "--file_name",
        help="the file to write (default: the checkpoint's name, beside --pretrained_model or, "
        "without that, in the working folder)",
    )
    cli.add_summary_flag(parser)
    cli.add_device_flags(parser)
    return parser


def parse_args(argv=None):
    """The parsed arguments of the command line."""
    return make_parser().parse_args(argv)


def main(args):
    """Exports the checkpoint and prints what the file takes and returns."""
    target = device.setup_device(args)
    exporter.check_format(args.file_format, target, args.batch_size)
    loaded = checkpoint.load(checkpoint.checkpoint_path(args.pretrained_model))
    if args.summary:
        return summary.show(loaded.config, loaded.path.stat().st_size, loaded.path)
    data = loaded.config.data
    network = loaded.network(execution=Execution(device_target="Ascend"))

    path = exporter.output_path(args.file_name, args.pretrained_model, args.file_format)
    inputs = sample_inputs(loaded.config, args.batch_size or exporter.SAMPLES)
    difference = exporter.export(
        network, inputs, path, args.file_format, loaded.config, any_batch=args.batch_size == 0
    )

    shape = f"({args.batch_size or 'any'}, %d, {', '.join(map(str, inputs.shape[2:]))}) float32"
    print(
        f"{path}: {args.file_format}, {path.stat().st_size:,} bytes, preset {loaded.config.preset}"
    )
    print(f"inputs:  {shape % data.input_frames} in [0, 1], (B, T, C, H, W)")
    print(f"outputs: {shape % data.forecast_frames}")
    if difference is not None:
        print(f"checked against {loaded.path}: largest difference {difference:.3g}")


if __name__ == "__main__":
    cli.run(main, parse_args)
