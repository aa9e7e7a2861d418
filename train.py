"""Trains a ConvLSTM encoder-forecaster.

python train.py                                            # small on a CPU, multiscale on an Ascend
python train.py --preset multiscale --data_path DIR        # DIR holds train-images-idx3-ubyte.gz
python train.py --dataset FILE --value_range LOW HIGH      # own sequences, .npy or .npz
python train.py --dataset FILE_OR_FOLDER --value_range auto    # one long record, NetCDF for example
python train.py --max_minutes 5 --train_path runs/short    # stop after five minutes of training
python train.py --resume --train_path runs/short           # continue that run
python train.py --data_url URL --train_url URL             # a job on OpenI or ModelArts
"""

from src import run_folder
from src.cloud import job as cloud
from src.config import cli
from src.evaluation import summary
from src.runtime import compile_cache, device, distributed
from src.tools import optimizers, profiling, recorder
from src.tools.start import given_flags, resolve_start
from src.tools.trainer import Trainer


def make_parser():
    """The parser of the command line."""
    parser = cli.Parser(__doc__)
    cli.add_run_flags(parser)
    cli.add_summary_flag(parser)
    cli.add_distribute_flag(parser)
    cli.add_device_flags(parser)
    cloud.add_flags(parser)
    cli.add_config_flags(parser)
    return parser


def parse_args(argv=None):
    """The parsed arguments of the command line."""
    return cloud.parse(make_parser(), argv)


def main(args, job):
    """Sets up device, data and network, and trains."""
    target = device.setup_device(args)
    ranks = distributed.init_distributed(args.distribute)
    cache_folder = compile_cache.open_folder(args.compile_cache)
    start = resolve_start(given_flags(args) | job.settings, target)
    config = start.config
    if args.summary:
        return summary.show(config, optimizers.state_bytes(config))
    profile_folder = profiling.open_folder(args.profile) if args.profile else None
    sources = start.sources()
    ranks.check_same(
        config.to_json() + repr(start.state(ranks)), "other settings, or another state to resume,"
    )
    if config.training.tensorboard:
        recorder.check_tensorboard()

    network = start.network(target)
    ranks.on_main(run_folder.open_run_folder, start.folder, config, args.overwrite, start.earlier())
    print(device.describe(target))
    trainer = Trainer(start, network, sources, ranks)
    trainer.train(cache_folder, job.upload, profile_folder)


if __name__ == "__main__":
    cli.run(cloud.with_cloud_job(main), parse_args)
