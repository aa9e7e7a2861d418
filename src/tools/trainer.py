"""A whole training: `mindspore.train.Model` with our step and callbacks."""

from mindspore.train import Model

from src.data.pipeline import make_dataset
from src.tools import callback, evaluation, run_folder, training


def train(config, network, train_source, validation_source, folder):
    """Trains `network` and leaves checkpoints and metrics in `folder`.

    Args:
        config: the run's `Config`.
        network: an `EncoderForecaster` with its start weights.
        train_source, validation_source: sequences, of `src.data.sources`.
        folder: the run's folder.
    """
    announce(config, network, train_source, validation_source, folder)
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


def announce(config, network, train_source, validation_source, folder):
    """Says what is about to be trained, on what, and where it goes."""
    recipe, parameters = config.training, sum(p.size for p in network.trainable_params())
    print(f"preset: {config.preset}, {parameters:,} parameters")
    print(
        f"recipe: {recipe.optimizer}, learning rate {recipe.learning_rate:g} "
        f"({recipe.lr_schedule}), batches of {recipe.batch_size}, loss {recipe.loss}, "
        f"seed {recipe.seed}"
    )
    print(f"training data: {train_source.name}\nvalidation data: {validation_source.name}")
    print(f"run folder: {folder}", flush=True)
