"""Measures a checkpoint: MSE, SSIM, MAE and PSNR of each forecast frame.

python test.py                                                         # weights/small.ckpt
python test.py --pretrained_model runs/NAME/best.ckpt --workroot DIR   # mnist_test_seq.npy in DIR
python test.py --pretrained_model runs/NAME/best.ckpt --dataset FILE --thresholds 1 5 10   # of rain
python test.py --limit 500 --baselines --json result.json --plot frames.png
"""

from src import checkpoint
from src.config import cli
from src.data.sources import evaluation_source, mean_image_source
from src.evaluation import evaluate as evaluation
from src.evaluation import report, summary, verification
from src.evaluation.evaluate import batch_shape, warn_if_slow
from src.model import timed_network
from src.runtime import device, distributed


def make_parser():
    """The command line."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--pretrained_model", help="the checkpoint to measure (default: weights/small.ckpt)")
    add("--workroot", help="folder with mnist_test_seq.npy (default: generated sequences)")
    add("--dataset", metavar="FILE", help="own sequences: all of them; of the file that the "
        "checkpoint was trained on its test part, which is its default")  # fmt: skip
    cli.add_value_range_flag(parser, "--dataset")
    add("--num_digits", type=cli.whole_number(1), nargs="+", default=[2],
        help="digits in the generated sequences (default: 2)")  # fmt: skip
    add("--batch_size", type=cli.whole_number(1), default=32,
        help="sequences at a time; any number, all are counted (default: 32)")  # fmt: skip
    add("--limit", type=cli.whole_number(1), help="use the first so many sequences only")
    add("--baselines", action="store_true", help="measure the trivial forecasts too")
    cli.add_score_flags(parser)
    add("--json", metavar="FILE", help="write the result there too")
    add("--plot", metavar="FILE", help="draw scores over lead time: *.png, *.svg or *.pdf")
    cli.add_summary_flag(parser)
    cli.add_distribute_flag(parser)
    cli.add_device_flags(parser)
    return parser


def parse_args(argv=None):
    """The command line's arguments."""
    return make_parser().parse_args(argv)


def main(args):
    """Device, checkpoint, data, evaluation, report."""
    target = device.setup_device(args)
    ranks = distributed.init_distributed(args.distribute)
    loaded = checkpoint.load(checkpoint.checkpoint_path(args.pretrained_model))
    config, frames = loaded.config, loaded.config.data.forecast_frames
    if args.summary:
        return summary.show(config, loaded.path.stat().st_size, loaded.path)
    source = evaluation_source(
        config, args.workroot, args.num_digits, args.limit, args.dataset, args.value_range
    )
    report.check_outputs(args.json, args.plot)
    training = mean_image_source(config, args.workroot, args.num_digits, args.dataset)
    scores = verification.make_verification(args, config, source, training)
    print(f"{device.describe(target)}\npreset: {config.preset}\ntest data: {source.name}")
    warn_if_slow(config.preset, target, len(source))

    shape = batch_shape(source, args.batch_size, config.data.input_frames)
    forecasters = {"model": timed_network.TimedNetwork(loaded.network(), shape)}
    if args.baselines:
        forecasters |= verification.baselines(
            frames, training and verification.mean_image(training)
        )
    metrics = evaluation.evaluate(forecasters, source, *shape[:2], ranks=ranks, verification=scores)
    result = report.make(metrics, source, forecasters["model"].timing(), scores)
    if ranks.is_main:
        report.write(result, metrics, args.json, args.plot)
    report.show(result)


if __name__ == "__main__":
    cli.run(main, parse_args)
