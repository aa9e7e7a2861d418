"""A whole training: `mindspore.train.Model` with our step and callbacks."""

import time

from mindspore import ops
from mindspore.train import Model

from src import checkpoint, run_folder
from src.data.pipeline import make_dataset
from src.evaluation import evaluate
from src.runtime import compile_cache
from src.tools import callback, optimizers, profiling, recorder, sink, train_step
from src.tools.state import TrainingState


def start_state(config, ranks, resumed=None):
    """Where the training stands before it starts: at its beginning, or where a checkpoint is.

    Raises:
        InputError: an epoch is smaller than a step, or so many ranks cannot go on from there.
    """
    steps_per_epoch = config.steps_per_epoch(ranks.size)
    if not resumed:
        return TrainingState(steps_per_epoch, ranks.size, config.clips[-1].frames)
    state = TrainingState.from_checkpoint(resumed)
    state.continue_on(ranks.size, steps_per_epoch, resumed.path)
    return state


def train(
    config, network, sources, folder, state, ranks, resumed=None, cache_folder=None, on_saved=None,
    profile_folder=None,
):  # fmt: skip
    """Trains `network` and leaves checkpoints and metrics in `folder`.

    Args:
        config: the run's `Config`.
        network: an `EncoderForecaster` with its start weights.
        sources: the training and the validation sequences, of `src.data.sources`.
        folder: the run's folder, in which rank 0 alone writes.
        state: of `start_state`.
        ranks: the `Ranks` that train together.
        resumed: the checkpoint to go on from, whose weights `network` has.
        cache_folder: where compiled graphs are kept, of `compile_cache.open_folder`.
        on_saved: called without arguments when checkpoints have been written.
        profile_folder: where a profile of a few steps goes, of `profiling.open_folder`.

    Raises:
        StoppedError, NonFiniteError, DiskError: the training ended before its time.
    """
    announce(config, network, sources, folder, ranks)
    recipe = config.training
    scaler = train_step.make_scaler() if network.execution.float16 else None
    optimizer = optimizers.make_optimizer(network, recipe, scaler)
    if resumed:
        checkpoint.load_optimizer(network, optimizer, resumed)
        print(f"going on from {resumed.path}: epoch {state.epoch}, step {state.step}")
    if state.is_complete(recipe):
        print("nothing is left to train; more --epochs or --max_minutes would go on")
        return
    ranks.broadcast(list(optimizer.get_parameters()))
    signals = callback.StopSignals(ranks)
    weights = train_step.in_unit_range(recipe.loss_weights, sources[0].encoding)
    steps = train_step.make_steps(config, network, optimizer, weights, scaler, ranks.size)
    callbacks, log = make_callbacks(
        config, network, optimizer, sources[1], folder, state, signals, on_saved
    )
    callbacks += falling_weight(state, recipe, steps[0].loss.encoder_loss_weight)
    if profile_folder:
        callbacks.append(profiling.Profiling(profile_folder, state))
    signals.listen()
    if sink.is_used():
        print("each training graph is compiled with its first steps", flush=True)
    else:
        left = steps[state.stage(recipe) :]
        weighted = sources[0].encoding.weighted
        compile_graphs(left, config, weighted, None if ranks.size > 1 else cache_folder)
    try:
        while not state.is_complete(recipe):
            model = Model(steps[state.stage(recipe)])
            run_epochs(model, callbacks, config, sources[0], state, ranks)
    finally:
        log.close()
        if profile_folder:
            callbacks[-1].close()
    print(f"trained: {folder / run_folder.BEST} has validation MSE {state.best_mse:.4g}")


def make_callbacks(config, network, optimizer, source, folder, state, signals, on_saved):
    """The callbacks in the order in which they act, and the log among them; the files of those that
    write, which are rank 0's alone, are open.
    """
    recipe, ranks = config.training, signals.ranks
    validation = callback.Validation(
        state,
        recipe,
        lambda names: evaluate.evaluate_network(network, source, config, "validate", ranks, names),
    )
    log, writing = callback.LossLog(state, config, validation, folder), []
    if ranks.is_first:
        watchers = make_watchers(state, config, network, source, validation, log, folder)
        saving = callback.SaveCheckpoints(
            state, config, validation, signals, network, optimizer, folder, on_saved
        )
        writing = [log, *watchers, saving]
        for each in (log, *watchers):
            each.open()
    deciding = [
        callback.Clock(state, config, ranks),
        callback.LearningRate(state, recipe, optimizer),
        callback.StopOnNonFinite(state),
        validation,
        signals,
    ]
    return [*deciding, *writing, callback.StopWhenTold(state, recipe, signals, folder)], log


def make_watchers(state, config, network, source, validation, log, folder):
    """The callbacks that draw pictures and write for TensorBoard, as far as they are wanted."""
    recipe, watchers, pictures = config.training, [], None
    if recipe.pictures:
        batches = recorder.first_batches(
            source, recipe.pictures, recipe.batch_size, config.data.input_frames
        )
        forecaster = evaluate.forecaster_of(network)
        pictures = recorder.Pictures(state, validation, forecaster, source, batches, folder)
        watchers.append(pictures)
    if recipe.tensorboard:
        watchers.append(recorder.TensorBoard(state, log, pictures, folder))
    return watchers


def falling_weight(state, recipe, weight):
    """The callback that lets the encoder's loss fade, where the recipe says so."""
    if recipe.encoder_loss_weight and recipe.encoder_loss_decay:
        yield callback.EncoderLossWeight(state, recipe, weight)


def compile_graphs(steps, config, weighted, cache_folder):
    """Compiles the training steps before the first batch, and says how long it took."""
    number = f"{len(steps)} training graphs" if len(steps) > 1 else "the training graph"
    print(f"compiling {number}", flush=True)
    start, data = time.perf_counter(), config.data
    size, counts = (config.model.channels, *config.network_size), [data.input_frames]
    counts += [data.forecast_frames] + [data.input_frames + data.forecast_frames] * weighted
    batch = [ops.zeros((config.training.sequences_per_step(1), frames, *size)) for frames in counts]
    found = compile_cache.compile_steps(steps, batch, config, cache_folder)
    seconds, origin = time.perf_counter() - start, ", from the cache" if found else ""
    print(f"compiled in {seconds:.1f} s{origin}", flush=True)


def run_epochs(model, callbacks, config, source, state, ranks):
    """Trains to the end of an epoch that has begun, or from a whole epoch to the end of the run;
    to where another clip is due, if that comes first.
    """
    epoch, batch = divmod(state.step, state.steps_per_epoch)
    dataset = make_dataset(
        source,
        config.training.sequences_per_step(1),
        config.data.input_frames,
        first_epoch=epoch,
        first_batch=batch,
        num_shards=ranks.size,
        shard_id=ranks.rank,
        num_parallel_workers=config.data.num_parallel_workers,
    )
    last = epoch + 1 if batch else config.training.epochs
    callbacks = callback.ByEpochs(state, config.training, callbacks)
    if sink.is_used():
        steps = state.steps_per_epoch - batch
        size = sink.steps_at_once(config.training.sink_size, steps)
        print(sink.describe(size), flush=True)
        sinks = (last - epoch) * steps // size
        model.train(sinks, dataset, callbacks, dataset_sink_mode=True, sink_size=size)
    else:
        model.train(last, dataset, callbacks, dataset_sink_mode=False, initial_epoch=epoch)


def announce(config, network, sources, folder, ranks):
    """Says what is about to be trained, on what, and where it goes."""
    train_source, validation_source = sources
    recipe, parameters = config.training, sum(p.size for p in network.trainable_params())
    print(f"preset: {config.preset}, {parameters:,} parameters")
    print(
        f"recipe: {recipe.optimizer}, learning rate {recipe.learning_rate:g} "
        f"({recipe.lr_schedule}), batches of {recipe.batch_size}, loss {recipe.loss}, "
        f"seed {recipe.seed}"
    )
    if recipe.sequences_per_step(ranks.size) > recipe.batch_size:
        print(
            f"a step: {ranks.size} rank(s), {recipe.accumulate_steps} batch(es) of each, "
            f"{recipe.sequences_per_step(ranks.size)} sequences"
        )
    if recipe.curriculum:
        print(f"curriculum: {' '.join(map(str, recipe.curriculum))}, then whole sequences")
    if network.execution.float16:
        print("amp_level O2: convolutions in float16, dynamic loss scale")
    print(f"training data: {train_source.name}\nvalidation data: {validation_source.name}")
    print(f"run folder: {folder}", flush=True)
