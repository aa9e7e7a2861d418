"""Forecasts the next frames of sequences, and writes forecast.npy and pictures.

python predict.py --pretrained_model runs/NAME/best.ckpt --input FILE --output DIR
python predict.py --output DIR --limit 20   # the test set, with weights/small.ckpt
python predict.py --mindir convlstm.mindir --input FILE --output DIR
"""

from src import checkpoint
from src.config import cli
from src.data.dataset import First
from src.evaluation import memory, summary
from src.evaluation.evaluate import batch_shape, warn_if_slow
from src.forecast import prediction, predictor
from src.model import timed_network
from src.runtime import device


def make_parser():
    """The parser of the command line."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--pretrained_model", help="the checkpoint to forecast with (default: weights/small.ckpt)"
    )
    model.add_argument("--mindir", metavar="FILE", help="an exported network to forecast with")
    add(
        "--input",
        metavar="FILE",
        help="sequences, .npy or .npz of (N, T, H, W) or (N, T, C, H, W), a GIF, a folder of PNG "
        "frames, or a long record (default: the test set)",
    )
    add("--output", metavar="DIR", help="folder for forecast.npy and pictures")
    cli.add_value_range_flag(parser, "--input")
    cli.add_reading_flags(parser, "--input")
    add(
        "--truth",
        action=cli.Switch,
        help="take the last forecast_frames of --input as the truth: the network does not read "
        "them, and pictures show them beside the forecast",
    )
    add("--workroot", help="folder with mnist_test_seq.npy, the test set; not with --input")
    add(
        "--forecast_frames",
        type=cli.whole_number(1),
        help="frames to forecast; a checkpoint can forecast more than it was trained for "
        "(default: as trained)",
    )
    add(
        "--batch_size",
        type=cli.whole_number(1),
        default=32,
        help="sequences in a batch; a MINDIR may have a fixed batch size (default: 32)",
    )
    add("--limit", type=cli.whole_number(1), help="forecast only the first LIMIT sequences")
    add(
        "--pictures",
        type=cli.whole_number(0),
        default=4,
        metavar="COUNT",
        help="draw the first COUNT sequences (default: 4)",
    )
    add("--overwrite", action=cli.Switch, help="replace an earlier forecast in --output")
    cli.add_summary_flag(parser)
    cli.add_device_flags(parser)
    return parser


def parse_args(argv=None):
    """The parsed arguments of the command line."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.summary and args.mindir:
        parser.error("argument --summary: not allowed with argument --mindir")
    if not args.summary and args.output is None:
        parser.error("the following arguments are required: --output")
    if args.input is None and (args.value_range or args.truth):
        parser.error("arguments --value_range and --truth: need --input")
    if args.input and args.workroot:
        parser.error("argument --workroot: not allowed with argument --input")
    return args


def main(args):
    """Forecasts the sequences and writes the results."""
    target = device.setup_device(args)
    cli.check_reading_flags(args, "--input")
    if args.summary:
        loaded = checkpoint.load(checkpoint.checkpoint_path(args.pretrained_model))
        return summary.show(loaded.config, loaded.path.stat().st_size, loaded.path)
    if args.mindir:
        model = predictor.from_mindir(args.mindir, args.forecast_frames)
    else:
        path = checkpoint.checkpoint_path(args.pretrained_model)
        model = predictor.from_checkpoint(path, args.forecast_frames)
    model.set_reading(vars(args))
    if args.input:
        axes = getattr(args, "axes", None)
        source = prediction.sequences_of_input(
            model, args.input, args.value_range, args.truth, axes
        )
    else:
        source = prediction.sequences_of_test_set(model, args.workroot)
    source = First(source, args.limit) if args.limit else source
    read = args.input or model.test_config.data.dataset
    folder = prediction.open_output(args.output, args.overwrite, read)
    print(f"{device.describe(target)}\nnetwork: {model.name}\nsequences: {source.name}")
    low, high = source.value_range
    print(f"value range: {low:g} becomes 0 for the network, {high:g} becomes 1", flush=True)
    if model.config:
        warn_if_slow(model.config.preset, target, len(source))
    if not args.mindir:
        shape = batch_shape(source, args.batch_size, model.inputs[1])
        memory.warn_of_forecast(model.network, shape, target)
    forecaster = prediction.predict(model, source, folder, args.batch_size, args.pictures)
    print(timed_network.describe(forecaster.timing()))
    print(f"{folder / prediction.FORECAST}: {len(source):,} forecasts")


if __name__ == "__main__":
    cli.run(main, parse_args)
