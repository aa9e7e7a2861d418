"""Trains a ConvLSTM encoder-forecaster.

python train.py                                            # small on a CPU, multiscale on an Ascend
python train.py --preset multiscale --data_path DIR        # DIR holds train-images-idx3-ubyte.gz
python train.py --dataset FILE --value_range LOW HIGH      # own sequences, .npy or .npz
python train.py --dataset FILE_OR_FOLDER --value_range auto    # one long record, NetCDF for example
python train.py --max_minutes 5 --train_path runs/short    # as far as five minutes go
python train.py --resume --train_path runs/short           # go on where it stopped
python train.py --data_url URL --train_url URL             # a job on OpenI or ModelArts
"""

from pathlib import Path

import mindspore as ms

from src.data.sources import training_sources
from src.model import EncoderForecaster
from src.tools import (
    arguments,
    checkpoint,
    cloud,
    compile_cache,
    device,
    profiling,
    ranks,
    resume,
    run_folder,
    sink,
    summary,
    trainer,
    training,
    watch,
)


def parse_args(argv=None):
    """The command line's arguments."""
    parser = arguments.Parser(__doc__)
    arguments.add_run_flags(parser)
    arguments.add_summary_flag(parser)
    arguments.add_distribute_flag(parser)
    arguments.add_device_flags(parser)
    cloud.add_flags(parser)
    arguments.add_config_flags(parser)
    return cloud.parse(parser, argv)


def main(args, upload):
    """Device, data, network, training."""
    device_id = None if args.distribute else args.device_id
    target = device.set_up(args.device_target, device_id, args.jit_level)
    team = ranks.join(args.distribute)
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
    config = sink.settle(config, target)
    profile_folder = profiling.open_folder(args.profile) if args.profile else None
    sources, state = training_sources(config), trainer.start_state(config, team, resumed)
    team.check_same(config.to_json() + repr(state), "other settings, or another state to resume,")
    if config.training.tensorboard:
        watch.check_tensorboard()

    ms.set_seed(config.training.seed)
    execution = training.execution_of(config.training, target)
    network = EncoderForecaster(config.model, config.data.forecast_frames, execution)
    if pretrained:
        checkpoint.check_same_network(pretrained, config)
    if resumed or pretrained:
        checkpoint.load_weights(network, resumed or pretrained)
    continues = resumed is not None and path.resolve() == resumed.path.parent.resolve()
    if team.is_first:
        run_folder.open_run_folder(path, config, args.overwrite, continues)
    print(device.describe(target))
    trainer.train(
        config, network, sources, path, state, team, resumed, cache_folder, upload, profile_folder
    )


if __name__ == "__main__":
    arguments.run(cloud.as_job(main), parse_args())
