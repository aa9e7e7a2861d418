"""Trains a ConvLSTM encoder-forecaster.

python train.py                                            # small on a CPU, multiscale on an Ascend
python train.py --preset multiscale --data_path DIR        # DIR holds train-images-idx3-ubyte.gz
python train.py --dataset FILE --value_range LOW HIGH      # own sequences, .npy or .npz
python train.py --dataset FILE_OR_FOLDER --value_range auto    # one long record, NetCDF for example
python train.py --max_minutes 5 --train_path runs/short    # as far as five minutes go
python train.py --resume --train_path runs/short           # go on where it stopped
python train.py --data_url URL --train_url URL             # a job on OpenI or ModelArts
"""

import mindspore as ms

from src import run_folder
from src.cloud import job
from src.config import cli
from src.data.sources import training_sources
from src.evaluation import summary
from src.runtime import compile_cache, device, distributed
from src.tools import profiling, recorder, start, trainer


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    cli.add_run_flags(parser)
    cli.add_summary_flag(parser)
    cli.add_distribute_flag(parser)
    cli.add_device_flags(parser)
    job.add_flags(parser)
    cli.add_config_flags(parser)
    return job.parse(parser, argv)


def main(args, upload):
    """Device, data, network, training."""
    target = device.of_flags(args)
    team = distributed.join(args.distribute)
    cache_folder = compile_cache.open_folder(args.compile_cache)
    begin = start.start_of(args, target)
    if args.summary:
        return summary.show(begin.config)
    config = trainer.settle(begin.config, target)
    profile_folder = profiling.open_folder(args.profile) if args.profile else None
    sources, state = training_sources(config), trainer.start_state(config, team, begin.resumed)
    team.check_same(config.to_json() + repr(state), "other settings, or another state to resume,")
    if config.training.tensorboard:
        recorder.check_tensorboard()

    ms.set_seed(config.training.seed)
    network = begin.make_network(config, target)
    if team.is_first:
        run_folder.open_run_folder(begin.folder, config, args.overwrite, begin.continues)
    print(device.describe(target))
    trainer.train(
        config, network, sources, begin.folder, state, team,
        begin.resumed, cache_folder, upload, profile_folder,
    )  # fmt: skip


if __name__ == "__main__":
    cli.run(job.as_job(main), parse_args())
