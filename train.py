"""Trains a ConvLSTM encoder-forecaster.

python train.py                                            # small on a CPU, multiscale on an Ascend
python train.py --preset multiscale --data_path DIR        # DIR holds train-images-idx3-ubyte.gz
python train.py --dataset FILE --value_range LOW HIGH      # own sequences, .npy or .npz
python train.py --dataset FILE_OR_FOLDER --value_range auto    # one long record, NetCDF for example
python train.py --max_minutes 5 --train_path runs/short    # as far as five minutes go
python train.py --resume --train_path runs/short           # go on where it stopped
"""

from pathlib import Path

import mindspore as ms

from src.data.sources import training_sources
from src.model import EncoderForecaster
from src.tools import (
    arguments,
    checkpoint,
    compile_cache,
    device,
    resume,
    run_folder,
    summary,
    trainer,
    training,
)


def parse_args(argv=None):
    """The command line's arguments."""
    parser = arguments.Parser(__doc__)
    add = parser.add_argument
    add("--train_path", help="folder for checkpoints and metrics (default: runs/<time>-<preset>)")
    add("--overwrite", action="store_true", help="remove the run in --train_path and start over")
    add("--resume", nargs="?", const=True, metavar="FILE",
        help="go on from a checkpoint (default: the newest good one in --train_path)")  # fmt: skip
    add("--compile_cache", metavar="FOLDER",
        help="where compiled graphs are kept for the next start; off: nowhere "
        "(default: ~/.cache/convlstm-mindspore)")  # fmt: skip
    arguments.add_summary_flag(parser)
    arguments.add_device_flags(parser)
    arguments.add_config_flags(parser)
    return parser.parse_args(argv)


def main(args):
    """Device, data, network, training."""
    target = device.set_up(args.device_target, args.device_id)
    cache_folder = compile_cache.open_folder(args.compile_cache)
    resumed = pretrained = None
    if args.resume:
        resumed = resume.find(args.resume, args.train_path)
        config = resume.config_of(resumed, arguments.options_of(args))
        path = Path(args.train_path or resumed.path.parent)
    else:
        file = getattr(args, "pretrained_model", None)
        pretrained = checkpoint.load(file) if file else None
        config = arguments.config_from(args, target, pretrained)
        path = Path(args.train_path or run_folder.default_path(config.preset))
    if args.summary:
        return summary.show(config)
    train_source, validation_source = training_sources(config)

    ms.set_seed(config.training.seed)
    execution = training.execution_of(config.training, target)
    network = EncoderForecaster(config.model, config.data.forecast_frames, execution)
    if pretrained:
        checkpoint.check_same_network(pretrained, config)
    if resumed or pretrained:
        checkpoint.load_weights(network, resumed or pretrained)
    continues = resumed is not None and path.resolve() == resumed.path.parent.resolve()
    folder = run_folder.open_run_folder(path, config, args.overwrite, continues)
    print(device.describe(target))
    trainer.train(config, network, train_source, validation_source, folder, resumed, cache_folder)


if __name__ == "__main__":
    arguments.run(main, parse_args())
