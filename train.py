"""Trains a ConvLSTM encoder-forecaster.

python train.py                                            # small on a CPU, multiscale on an Ascend
python train.py --preset multiscale --data_path DIR        # DIR holds train-images-idx3-ubyte.gz
python train.py --max_minutes 5 --train_path runs/short    # as far as five minutes go
"""

import mindspore as ms
from mindspore.train import Model

from src.data.pipeline import make_dataset
from src.data.sources import training_sources
from src.model import EncoderForecaster
from src.tools import arguments, callback, checkpoint, device, evaluation, run_folder, training


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
    parameters = sum(p.size for p in network.trainable_params())
    print(f"{device.describe(target)}\npreset: {config.preset}, {parameters:,} parameters")
    print(f"training data: {train_source.name}\nvalidation data: {validation_source.name}")
    print(f"run folder: {folder}", flush=True)
    train(config, network, train_source, validation_source, folder)


def train(config, network, train_source, validation_source, folder):
    """Trains `network` and leaves checkpoints and metrics in `folder`."""
    recipe, data = config.training, config.data
    optimizer = training.make_optimizer(network, recipe)
    loss = training.ForecastLoss(network, recipe.loss, recipe.encoder_loss_weight)
    dataset = make_dataset(
        train_source,
        recipe.batch_size,
        data.input_frames,
        num_parallel_workers=data.num_parallel_workers,
    )
    state = callback.TrainingState()
    validation = callback.Validation(
        state,
        recipe,
        lambda: evaluation.evaluate_network(network, validation_source, config, "validate"),
    )
    Model(training.TrainStep(loss, optimizer, recipe.grad_clip)).train(
        recipe.epochs,
        dataset,
        callbacks=[
            callback.Clock(state, recipe.epochs * dataset.get_dataset_size(), recipe.max_minutes),
            callback.LearningRate(state, recipe, optimizer),
            callback.StopOnNonFinite(state, network),
            validation,
            callback.LossLog(state, config, validation, folder),
            callback.SaveCheckpoints(state, config, validation, network, optimizer, folder),
        ],
        dataset_sink_mode=False,
    )
    print(f"trained: {folder / run_folder.BEST} has validation MSE {state.best_mse:.4g}")


if __name__ == "__main__":
    arguments.run(main, parse_args())
