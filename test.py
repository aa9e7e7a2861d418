"""Measures a checkpoint: MSE, SSIM, MAE and PSNR of each forecast frame.

python test.py                                                         # weights/small.ckpt
python test.py --pretrained_model runs/NAME/best.ckpt                  # on the generated test set
python test.py --pretrained_model runs/NAME/best.ckpt --workroot DIR   # of mnist_test_seq.npy
python test.py --pretrained_model runs/NAME/best.ckpt --limit 500 --baselines --json result.json
"""

from src.data.sources import embedded_training_source, evaluation_source
from src.model import EncoderForecaster
from src.tools import arguments, checkpoint, device, evaluation, files, report


def parse_args(argv=None):
    """The command line's arguments."""
    parser = arguments.Parser(__doc__)
    add = parser.add_argument
    add("--pretrained_model", help="the checkpoint to measure (default: weights/small.ckpt)")
    add("--workroot", help="folder with mnist_test_seq.npy (default: generated sequences)")
    add("--num_digits", type=arguments.whole_number(1), nargs="+", default=[2],
        help="digits in the generated sequences (default: 2)")  # fmt: skip
    add("--batch_size", type=arguments.whole_number(1), default=32,
        help="sequences at a time; any number, all are counted (default: 32)")  # fmt: skip
    add("--limit", type=arguments.whole_number(1), help="use the first so many sequences only")
    add("--baselines", action="store_true", help="measure the trivial forecasts too")
    add("--json", metavar="FILE", help="write the result there too")
    arguments.add_device_flags(parser)
    return parser.parse_args(argv)


def main(args):
    """Device, checkpoint, data, evaluation, report."""
    target = device.set_up(args.device_target, args.device_id)
    loaded = checkpoint.load(checkpoint.given_or_ours(args.pretrained_model))
    config = loaded.config
    source = evaluation_source(config, args.workroot, args.num_digits, args.limit)
    if args.json:
        files.check_writable(args.json, "json")
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    checkpoint.load_weights(network, loaded)
    print(
        f"{device.describe(target)}\npreset: {config.preset}\ntest data: {source.name}", flush=True
    )
    if target == "CPU" and config.preset == "multiscale" and len(source) > 1000:
        print(
            f"{len(source):,} sequences of multiscale take hours on a CPU; --limit 500 measures "
            "the first 500"
        )

    forecasters = {"model": evaluation.forecaster_of(network)}
    if args.baselines:
        image = evaluation.mean_image(embedded_training_source(config, args.num_digits))
        forecasters |= evaluation.baselines(config.data.forecast_frames, image)
    metrics = evaluation.evaluate(forecasters, source, args.batch_size, config.data.input_frames)
    result = report.make(metrics, source.name)
    report.show(result)
    if args.json:
        report.write_json(result, args.json)


if __name__ == "__main__":
    arguments.run(main, parse_args())
