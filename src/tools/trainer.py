"""The training loop: `mindspore.train.Model` with this project's step and callbacks.

An Ascend trains in sink mode: several steps, a sink, run without the host in between. `Model` then
treats each sink as an epoch, so its events come once a sink. On a CPU MindSpore has no sink mode
and trains step by step.
"""

import sys
import time

import mindspore as ms
from mindspore import ops
from mindspore.train import Model

from src import checkpoint, run_folder
from src.data.pipeline import make_dataset
from src.evaluation import evaluate
from src.evaluation.verification import Verification
from src.runtime import compile_cache
from src.tools import best_by, callback, loss, optimizers, profiling, recorder, train_step

EPOCHS_AT_ONCE = 1000


class Trainer:
    """Runs a training to its end, and writes checkpoints and metrics to its folder.

    Args:
        start: the `Start`.
        network: an `EncoderForecaster` with its initial weights.
        sources: the sources of the training and the validation sequences.
        ranks: the `Ranks` that train together; only rank 0 writes.

    Raises:
        InputError: the checkpoint to resume has the state of another optimizer.
    """

    def __init__(self, start, network, sources, ranks):
        self.config, self.folder, self.ranks = start.config, start.folder, ranks
        self.network = network
        self.train_source, self.validation_source = sources
        self.state = start.state(ranks)
        self.log_summary()
        training = self.config.training
        scaler = train_step.make_scaler() if network.execution.float16 else None
        self.optimizer = optimizers.make_optimizer(network, training, scaler)
        if start.resumed:
            checkpoint.load_optimizer(network, self.optimizer, start.resumed)
            state = self.state
            print(f"resuming from {start.resumed.path}: epoch {state.epoch}, step {state.step}")
            if state.extension and not state.is_complete(training):
                print(f"extending a finished run: {describe_extension(training, state)}")
        weights = loss.in_unit_range(training.loss_weights, self.train_source.normalizer)
        self.steps = train_step.make_steps(
            self.config, network, self.optimizer, weights, scaler, ranks.size
        )

    def train(self, cache_folder=None, on_saved=None, profile_folder=None):
        """Trains to the end of the run.

        Args:
            cache_folder: the folder of compiled graphs that `compile_cache.open_folder` returned.
            on_saved: called without arguments after checkpoints have been written.
            profile_folder: the folder of a profile that `profiling.open_folder` returned.

        Raises:
            StoppedError, NonFiniteError, DiskError: the training ended early.
        """
        state, training = self.state, self.config.training
        if state.is_complete(training):
            print(
                "nothing is left to train; continue with more --epochs, --max_minutes or --max_work"
            )
            return
        self.ranks.broadcast(list(self.optimizer.get_parameters()))
        signals = callback.StopSignals(self.ranks)
        callbacks = self.make_callbacks(signals, on_saved, profile_folder)
        recorders = [each for each in callbacks if isinstance(each, recorder.Recorder)]
        for each in recorders:
            each.open()
        signals.listen()
        self.compile(cache_folder)
        try:
            while not state.is_complete(training):
                model = Model(self.steps[state.phase(training)])
                run_epochs(model, callbacks, self.config, self.train_source, state, self.ranks)
        finally:
            for each in recorders:
                each.close()
        if self.ranks.is_main:
            print(self.describe_best())

    def describe_best(self):
        """One line about the best.ckpt of the folder, by what stands in it."""
        path, by = self.folder / run_folder.BEST, best_by.BestBy.of(self.config.training)
        saved, best = by.saved(path), by.best(self.state)
        if saved is None:
            return f"trained: {self.folder / run_folder.LAST} has the last state"
        line = f"trained: {path} has validation {by.label} {saved:.4g}"
        if best is None or not by.sign * best < by.sign * saved:
            return line
        return f"{line}; the run had {best:.4g} before, in another folder or set aside"

    def make_callbacks(self, signals, on_saved, profile_folder):
        """The callbacks, in the order in which they are called.

        `Clock` counts first; then come those that steer the training, then those that record and
        save it, on rank 0 only; then the clock goes on; the last one ends the training after a
        requested stop.
        """
        clock = callback.Clock(self.state, self.config, self.ranks)
        state, config, training = self.state, self.config, self.config.training
        validation = callback.Validation(state, training, self.validate)
        callbacks = [
            clock,
            callback.LearningRate(state, training, self.optimizer),
        ]
        if training.encoder_loss_weight and training.encoder_loss_decay:
            weight = self.steps[0].loss.encoder_loss_weight
            callbacks.append(callback.EncoderLossWeight(state, training, weight))
        callbacks += [callback.StopOnNonFinite(state), validation, signals]
        if self.ranks.is_main:
            callbacks += recorder.make_recorders(
                state, config, self.network, self.validation_source, validation, self.folder
            )
            callbacks.append(
                callback.SaveCheckpoints(
                    state,
                    config,
                    validation,
                    signals,
                    self.network,
                    self.optimizer,
                    self.folder,
                    on_saved,
                )
            )
        if profile_folder:
            callbacks.append(profiling.Profiling(profile_folder, state))
        callbacks.append(callback.ClockGoesOn(clock))
        return [*callbacks, callback.StopOnRequest(state, training, signals, self.folder)]

    def validate(self, names):
        """The means over the validation sequences of the metrics in `names`, a dict; with the mean
        CSI as "csi" if that decides which state is the best.
        """
        config, source, scores = self.config, self.validation_source, None
        threshold = config.training.csi_threshold
        if threshold is not None:
            scores = Verification(source, config.data.input_frames, thresholds=[threshold])
        means = evaluate.evaluate_network(
            self.network, source, config, "validate", self.ranks, names, scores
        ).means()
        if scores is None:
            return means
        if self.ranks.is_main and not any(scores.scores.observed[threshold]):
            print(
                f"warning: no validation frame has a value at or above {threshold:g}, so best_by "
                "has nothing to choose by",
                file=sys.stderr,
            )
        return means | {"csi": best_by.mean_csi(scores)}

    def compile(self, cache_folder):
        """Compiles the steps of the remaining horizons, and the network as validation runs it, and
        prints how long that took.

        In sink mode each step is compiled with its first batch instead, and with several ranks the
        network with its first validation.
        """
        if has_sink_mode():
            print("each training graph is compiled with its first steps", flush=True)
            return
        config, data = self.config, self.config.data
        steps = self.steps[self.state.phase(config.training) :]
        number = f"{len(steps)} training graphs" if len(steps) > 1 else "the training graph"
        print(f"compiling {number}", flush=True)
        begin = time.perf_counter()
        counts = [data.input_frames, data.forecast_frames]
        if self.train_source.normalizer.has_mask:
            counts.append(sum(counts))
        size = config.model.channels, *config.training_size
        sequences = config.training.sequences_per_step(1)
        batch = [ops.zeros((sequences, frames, *size)) for frames in counts]
        graphs, settings = [(step, batch) for step in steps], config.graph_settings(len(steps))
        if self.ranks.size == 1:
            source, size = self.validation_source, config.eval_batch_size
            shape = evaluate.batch_shape(source, size, data.input_frames)
            graphs.append((self.network, [ops.zeros(shape)]))
            settings["validation"] = shape
        else:
            cache_folder = None
        found = compile_cache.compile_graphs(graphs, settings, cache_folder)
        origin = ", from the cache" if found else ""
        print(f"compiled in {time.perf_counter() - begin:.1f} s{origin}", flush=True)

    def log_summary(self):
        """Prints the network, the recipe, the data and the folder of the run."""
        training, ranks = self.config.training, self.ranks.size
        parameters = sum(p.size for p in self.network.trainable_params())
        print(f"preset: {self.config.preset}, {parameters:,} parameters")
        print(
            f"recipe: {training.optimizer}, learning rate {training.learning_rate:g} "
            f"({training.lr_schedule}), batches of {training.batch_size}, loss {training.loss}, "
            f"seed {training.seed}"
        )
        if training.sequences_per_step(ranks) > training.batch_size:
            print(
                f"a step: {ranks} rank(s) with {training.accumulate_steps} batch(es) each, "
                f"{training.sequences_per_step(ranks)} sequences in all"
            )
        if training.curriculum:
            print(f"curriculum: {' '.join(map(str, training.curriculum))}, then whole sequences")
        if self.network.execution.float16:
            print("amp_level O2: convolutions in float16, dynamic loss scale")
        print(f"training data: {self.train_source.name}")
        whole = f", whole frames in batches of {self.config.eval_batch_size}"
        name = self.validation_source.name + (whole if self.config.data.tile else "")
        print(f"validation data: {name}")
        print(f"run folder: {self.folder}", flush=True)


def run_epochs(model, callbacks, config, train_source, state, ranks):
    """Trains to the end of the epoch if it has begun, else to the end of the run, or for
    `EPOCHS_AT_ONCE` epochs if their number has no limit; a change of the horizon ends either. For
    `Model` that is one epoch, or one for each sink.
    """
    epoch, batch = divmod(state.step, state.steps_per_epoch)
    end = epoch + 1 if batch else config.training.epochs or epoch + EPOCHS_AT_ONCE
    steps = range(state.step, end * state.steps_per_epoch)
    dataset = make_dataset(
        train_source,
        config.training.sequences_per_step(1),
        config.data.input_frames,
        steps=steps,
        num_shards=ranks.size,
        shard_id=ranks.rank,
        num_parallel_workers=config.data.num_parallel_workers,
    )
    callbacks = callback.ByEpochs(state, config.training, callbacks)
    if has_sink_mode():
        size = steps_at_once(config.training.sink_size, state.steps_per_epoch - batch)
        print(describe_sinks(size), flush=True)
        sinks = len(steps) // size
        model.train(sinks, dataset, callbacks, dataset_sink_mode=True, sink_size=size)
    else:
        model.train(1, dataset, callbacks, dataset_sink_mode=False)


def describe_extension(training, state):
    """How an extended run goes on, for the log."""
    rate, name = state.extended_rate, training.lr_schedule
    if name in optimizers.BY_PROGRESS:
        return (
            f"in its last phase; the learning rate falls from {rate:.3g} to 0 along half a cosine "
            "over what was added; --learning_rate sets another to fall from"
        )
    return f"in its last phase; the learning rate stays as it was ({name})"


def has_sink_mode():
    """Whether the current device has sink mode."""
    return ms.get_context("device_target") == "Ascend"


def steps_at_once(sink_size, steps):
    """The largest divisor of `steps`, the steps left in an epoch, up to `sink_size`."""
    return max(size for size in range(1, sink_size + 1) if steps % size == 0)


def describe_sinks(size):
    """A line for the log about sinks of some size."""
    if size == 1:
        return "sink mode: 1 step at a time"
    return (
        f"sink mode: {size} steps at a time; saves, stop signals, --max_minutes, checks for NaN, "
        f"learning rate and rows of metrics.csv act at multiples of {size}"
    )
