"""Measures a checkpoint: MSE, SSIM, MAE and PSNR of each forecast frame.

python test.py                                                         # weights/small.ckpt
python test.py --pretrained_model runs/NAME/best.ckpt --workroot DIR   # mnist_test_seq.npy in DIR
python test.py --pretrained_model runs/NAME/best.ckpt --dataset FILE --thresholds 1 5 10   # events
python test.py --pretrained_model runs/NAME/best.ckpt --thresholds 1 5 --extrapolation     # pysteps
python test.py --limit 500 --baselines --json result.json --plot frames.png
"""

from src import checkpoint
from src.cloud import job as cloud
from src.config import cli
from src.data.sources import evaluation_source, mean_image_source
from src.evaluation import evaluate as evaluation
from src.evaluation import memory, report, summary, verification
from src.evaluation.evaluate import batch_shape, warn_if_slow
from src.model import timed_network
from src.runtime import device, distributed


def make_parser():
    """The parser of the command line."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--pretrained_model", help="the checkpoint to measure (default: weights/small.ckpt)")
    add("--workroot", help="folder with mnist_test_seq.npy (default: generated sequences)")
    add(
        "--dataset",
        metavar="FILE",
        help="own sequences; if the checkpoint was trained on this dataset, only its test split is "
        "measured (default: the checkpoint's dataset, if it has one)",
    )
    cli.add_value_range_flag(parser, "--dataset")
    cli.add_reading_flags(parser, "--dataset")
    add(
        "--num_digits",
        type=cli.whole_number(1),
        nargs="+",
        default=[2],
        help="digits in the generated sequences (default: 2)",
    )
    add(
        "--batch_size",
        type=cli.whole_number(1),
        default=32,
        help="sequences in a batch; for any size all sequences are measured (default: 32)",
    )
    add("--limit", type=cli.whole_number(1), help="measure only the first LIMIT sequences")
    add(
        "--baselines",
        action=cli.Switch,
        help="also measure trivial forecasts: zeros, the last frame, the mean image",
    )
    cli.add_score_flags(parser)
    add(
        "--climatology",
        action=cli.Switch,
        default=True,
        help="compare with climatology, the mean of the training split; pixels without any value "
        "there are then left out of all scores (default: true)",
    )
    add(
        "--extrapolation",
        action=cli.Switch,
        help="compare with extrapolation of rain by optical flow, which needs pysteps; pixels that "
        "move in from outside are then left out of all scores",
    )
    add("--json", metavar="FILE", help="also write the result to this file")
    add(
        "--plot",
        metavar="FILE",
        help="draw the scores over lead time to this file: *.png, *.svg or *.pdf",
    )
    cli.add_summary_flag(parser)
    cli.add_distribute_flag(parser)
    cli.add_device_flags(parser)
    cloud.add_flags(parser)
    return parser


def parse_args(argv=None):
    """The parsed arguments of the command line."""
    return cloud.parse(make_parser(), argv)


def main(args):
    """Evaluates the checkpoint and reports the result."""
    target = device.setup_device(args)
    ranks = distributed.init_distributed(args.distribute)
    cli.check_reading_flags(args, "--dataset")
    loaded = checkpoint.load(checkpoint.checkpoint_path(args.pretrained_model))
    config, frames = loaded.config.reading(vars(args)), loaded.config.data.forecast_frames
    if args.summary:
        return summary.show(config, loaded.path.stat().st_size, loaded.path)
    source = evaluation_source(
        config, args.workroot, args.num_digits, args.limit, args.dataset, args.value_range
    )
    ranks.on_main(report.check_outputs, args.json, args.plot)
    train_source = mean_image_source(config, args.workroot, args.num_digits, args.dataset)
    scores = verification.make_verification(args, config, source, train_source)
    print(f"{device.describe(target)}\npreset: {config.preset}\ntest data: {source.name}")
    warn_if_slow(config.preset, target, len(source))

    shape = batch_shape(source, args.batch_size, config.data.input_frames)
    network = loaded.network()
    memory.warn_of_forecast(network, shape, target)
    forecasters = {"model": timed_network.TimedNetwork(network, shape)}
    if args.baselines:
        forecasters |= verification.baselines(
            frames, train_source and verification.mean_image(train_source)
        )
    metrics = evaluation.evaluate(forecasters, source, *shape[:2], ranks=ranks, verification=scores)
    if ranks.is_main:
        result = report.make(metrics, source, forecasters["model"].timing(), scores)
        report.write(result, metrics, args.json, args.plot)
        report.show(result)


if __name__ == "__main__":
    cli.run(cloud.with_evaluation_job(main), parse_args)
