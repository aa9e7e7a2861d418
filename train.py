"""Trains a ConvLSTM encoder-forecaster.

python train.py                                            # small on a CPU, multiscale on an Ascend
python train.py --preset multiscale --data_path DIR        # DIR holds train-images-idx3-ubyte.gz
python train.py --max_minutes 5 --train_path runs/short    # as far as five minutes go
"""

import mindspore as ms

from src.data.sources import training_sources
from src.model import EncoderForecaster
from src.tools import arguments, checkpoint, device, run_folder, trainer


def parse_args(argv=None):
    """The command line's arguments."""
    parser = arguments.Parser(__doc__)
    parser.add_argument(
        "--train_path", help="folder for checkpoints and metrics (default: runs/<time>-<preset>)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="remove the run that --train_path holds and start over",
    )
    arguments.add_device_flags(parser)
    arguments.add_config_flags(parser)
    return parser.parse_args(argv)


def main(args):
    """Device, data, network, training."""
    target = device.set_up(args.device_target, args.device_id)
    pretrained_path = getattr(args, "pretrained_model", None)
    pretrained = checkpoint.load(pretrained_path) if pretrained_path else None
    config = arguments.config_from(args, target, pretrained)
    train_source, validation_source = training_sources(config)

    ms.set_seed(config.training.seed)
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    if pretrained:
        checkpoint.check_same_network(pretrained, config)
        checkpoint.load_weights(network, pretrained)
    path = args.train_path or run_folder.default_path(config.preset)
    folder = run_folder.open_run_folder(path, config, args.overwrite)
    print(device.describe(target))
    trainer.train(config, network, train_source, validation_source, folder)


if __name__ == "__main__":
    arguments.run(main, parse_args())
