"""A whole training: `mindspore.train.Model` with our step and callbacks."""

import time

from mindspore import ops
from mindspore.train import Model

from src.data.pipeline import make_dataset
from src.tools import callback, checkpoint, compile_cache, evaluation, run_folder, training
from src.tools.state import TrainingState


def train(
    config, network, train_source, validation_source, folder, resumed=None, cache_folder=None
):
    """Trains `network` and leaves checkpoints and metrics in `folder`.

    Args:
        config: the run's `Config`.
        network: an `EncoderForecaster` with its start weights.
        train_source, validation_source: sequences, of `src.data.sources`.
        folder: the run's folder.
        resumed: the checkpoint to go on from, whose weights `network` has.
        cache_folder: where compiled graphs are kept, of `compile_cache.open_folder`.

    Raises:
        StoppedError, NonFiniteError, DiskError: the training ended before its time.
    """
    announce(config, network, train_source, validation_source, folder)
    recipe = config.training
    scaler = training.make_scaler() if network.execution.float16 else None
    optimizer = training.make_optimizer(network, recipe, scaler)
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
    step = training.TrainStep(loss, optimizer, recipe.grad_clip, scaler)
    log.open()
    saving.listen()
    compile_graph(step, config, train_source.encoding.weighted, cache_folder)
    model = Model(step)
    try:
        while not state.is_complete(recipe):
            run_epochs(model, callbacks, config, train_source, state)
    finally:
        log.close()
    print(f"trained: {folder / run_folder.BEST} has validation MSE {state.best_mse:.4g}")


def compile_graph(step, config, weighted, cache_folder):
    """Compiles the training step before the first batch, and says how long it took."""
    print("compiling the training graph", flush=True)
    start, data = time.perf_counter(), config.data
    size, counts = (config.model.channels, *config.network_size), [data.input_frames]
    counts += [data.forecast_frames] + [data.input_frames + data.forecast_frames] * weighted
    batch = [ops.zeros((config.training.batch_size, frames, *size)) for frames in counts]
    step.set_train()
    found = compile_cache.compile_step(step, batch, config, cache_folder)
    seconds, origin = time.perf_counter() - start, ", from the cache" if found else ""
    print(f"compiled in {seconds:.1f} s{origin}", flush=True)


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
    if network.execution.float16:
        print("amp_level O2: convolutions in float16, dynamic loss scale")
    print(f"training data: {train_source.name}\nvalidation data: {validation_source.name}")
    print(f"run folder: {folder}", flush=True)
