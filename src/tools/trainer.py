"""A whole training: `mindspore.train.Model` with our step and callbacks."""

from mindspore.train import Model

from src.data.pipeline import make_dataset
from src.tools import callback, checkpoint, evaluation, run_folder, training
from src.tools.state import TrainingState


def train(config, network, train_source, validation_source, folder, resumed=None):
    """Trains `network` and leaves checkpoints and metrics in `folder`.

    Args:
        config: the run's `Config`.
        network: an `EncoderForecaster` with its start weights.
        train_source, validation_source: sequences, of `src.data.sources`.
        folder: the run's folder.
        resumed: the checkpoint to go on from, whose weights `network` has.

    Raises:
        StoppedError, NonFiniteError, DiskError: the training ended before its time.
    """
    announce(config, network, train_source, validation_source, folder)
    recipe = config.training
    optimizer = training.make_optimizer(network, recipe)
    state = TrainingState(len(train_source) // recipe.batch_size)
    if resumed:
        state = TrainingState.from_checkpoint(resumed)
        checkpoint.load_optimizer(network, optimizer, resumed)
        print(f"going on from {resumed.path}: epoch {state.epoch}, step {state.step}")
    if state.is_complete(recipe):
        print("nothing is left to train; more --epochs or --max_minutes would go on")
        return
    validation = callback.Validation(
        state,
        recipe,
        lambda: evaluation.evaluate_network(network, validation_source, config, "validate"),
    )
    log = callback.LossLog(state, config, validation, folder)
    saving = callback.SaveCheckpoints(state, config, validation, network, optimizer, folder)
    callbacks = [
        callback.Clock(state, recipe),
        callback.LearningRate(state, recipe, optimizer),
        callback.StopOnNonFinite(state),
        validation,
        log,
        saving,
    ]
    loss = training.ForecastLoss(network, recipe.loss, recipe.encoder_loss_weight)
    model = Model(training.TrainStep(loss, optimizer, recipe.grad_clip))
    log.open()
    saving.listen()
    print("compiling the training graph, then training", flush=True)
    try:
        while not state.is_complete(recipe):
            run_epochs(model, callbacks, config, train_source, state)
    finally:
        log.close()
    print(f"trained: {folder / run_folder.BEST} has validation MSE {state.best_mse:.4g}")


def run_epochs(model, callbacks, config, source, state):
    """Trains to the end of an epoch that has begun, or from a whole epoch to the end of the run."""
    epoch, batch = divmod(state.step, state.steps_per_epoch)
    dataset = make_dataset(
        source,
        config.training.batch_size,
        config.data.input_frames,
        first_epoch=epoch,
        first_batch=batch,
        num_parallel_workers=config.data.num_parallel_workers,
    )
    model.train(
        epoch + 1 if batch else config.training.epochs,
        dataset,
        callbacks=callbacks,
        dataset_sink_mode=False,
        initial_epoch=epoch,
    )


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
