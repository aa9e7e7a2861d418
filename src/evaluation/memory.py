"""The memory that a process on a CPU will need, estimated before it compiles, beside what is free.

Fitted to the peaks of the resident set of processes on two cores: `multiscale`, `paper` and
`small`, frames of 64x64 to 512x512, batches of 1 to 4; it is from 3 % too low to 30 % too high. It
is the sum of

- Python, MindSpore and the libraries: `START`;
- compiling: `GRAPH`, for each graph `STEP` for each step of each of its recurrent layers, 1.7 times
  that with `recompute`, and `PER_PARAMETER` numbers for each parameter, its optimizer's included;
- tensors of a batch: for each pixel a step of a ConvLSTM of h channels keeps 7 h numbers for its
  gradient, 11 h with GroupNorm, 2 h with `recompute`, and the layer at work needs 12 h more for all
  of its steps; 4 for each output of another convolution; 12 for each pixel of a frame in the loss;
- buffers: for each pixel two times the inputs and the area of each kernel whose gradient is
  computed, in each graph, whatever the batch;
- batches that wait in the pipeline, and the arrays of the scores.

Without a gradient there are one graph, the tensors of the layer at work, and the last item.
"""

import math
import sys

from src.data.pipeline import waiting_bytes
from src.errors import InputError
from src.evaluation.summary import layers_of
from src.model.convlstm import GATES
from src.runtime.device import available_memory

FLOAT, MB, GB = 4, 10**6, 10**9
START = 460 * MB
GRAPH, STEP, RECOMPUTED_STEP, PER_PARAMETER = 270 * MB, 7 * MB, 12 * MB, 24
FORECAST_GRAPH = 240 * MB
GATES_KEPT, NORM_KEPT, STATES_KEPT, AT_WORK = 5, 4, 2, 12
CONVOLUTION_KEPT, LOSS_KEPT, BUFFERS = 4, 12, 2
# Numbers for each pixel of a batch while it is scored.
SCORES = 16
# More than this many times what is free is refused.
REFUSED = 1.5


def forecast_bytes(network, shape):
    """Bytes of a process that forecasts and scores batches; their inputs are (B, T, C, H, W)."""
    return START + FORECAST_GRAPH + _batch_of_forecasts(network, shape)


def training_bytes(network, config, batch_size):
    """Bytes of a process that trains a `Config`'s network, and validates it, in some batch size."""
    data, channels, horizons = config.data, config.model.channels, config.horizons
    layers = layers_of(network, data.input_frames, config.training_size)
    recurrent = sum(is_recurrent(layer) for layer in layers) // 2
    recompute = config.training.recompute
    steps = recurrent * sum(horizon.frames for horizon in horizons)
    parameters = sum(layer.parameters for layer in layers)
    compiled = GRAPH + steps * (RECOMPUTED_STEP if recompute else STEP)
    compiled += PER_PARAMETER * FLOAT * parameters
    buffers = BUFFERS * FLOAT * len(horizons) * sum(map(_inputs_of_kernel, layers))
    batch = (batch_size, data.input_frames, channels, *config.training_size)
    kept = sum(_kept(layer, config.model.group_norm, recompute) for layer in layers)
    pixels = math.prod(batch) // data.input_frames * (data.input_frames + data.forecast_frames)
    tensors = FLOAT * (batch_size * kept + LOSS_KEPT * pixels) + _at_work(layers, batch_size)
    frames = FLOAT * pixels * config.training.accumulate_steps
    training = tensors + frames + waiting_bytes(frames)
    whole = (config.eval_batch_size, data.input_frames, channels, *config.network_size)
    if not data.tile:
        whole = (batch_size, *whole[1:])
    validation = FORECAST_GRAPH + _batch_of_forecasts(network, whole)
    return START + compiled + buffers + max(training, validation)


def is_recurrent(layer):
    """Whether a `Layer` is a ConvLSTM."""
    return " ConvLSTM " in layer.name


def _batch_of_forecasts(network, shape):
    """Bytes for a batch of inputs of a shape, its forecasts and their scores."""
    batch_size, frames, channels, *size = shape
    layers = layers_of(network, frames, size)
    pixels = batch_size * network.forecast_frames * channels * math.prod(size)
    sequences = FLOAT * math.prod(shape) + FLOAT * pixels
    scores = SCORES * FLOAT * pixels
    return _at_work(layers, batch_size) + sequences + waiting_bytes(sequences) + scores


def _at_work(layers, batch_size):
    """Bytes that the largest recurrent layer needs at work."""
    largest = max(math.prod(layer.output) for layer in layers if is_recurrent(layer))
    return AT_WORK * FLOAT * batch_size * largest


def _kept(layer, has_norm, recompute):
    """The numbers that a layer keeps of a sequence for its gradient."""
    if not is_recurrent(layer):
        return CONVOLUTION_KEPT * math.prod(layer.output)
    gates = 0 if recompute else GATES_KEPT + NORM_KEPT * has_norm
    return (STATES_KEPT + gates) * math.prod(layer.output)


def _inputs_of_kernel(layer):
    """The inputs of a layer's kernels times their areas, for all pixels of a frame."""
    frames, channels, *_ = layer.output
    outputs = channels * (GATES if is_recurrent(layer) else 1)
    return layer.macs // (frames * outputs)


def check_training(network, config, target, processes=1):
    """Prints what a training needs; warns if that is more than is free.

    Args:
        network: the `EncoderForecaster`.
        config: the run's `Config`.
        target: "Ascend" or "CPU"; nothing is known of the memory of an Ascend.
        processes: how many train on this machine.

    Raises:
        InputError: it is more than 1.5 times what is free.
    """
    if target != "CPU":
        return
    batch_size, available = config.training.batch_size, available_memory()
    needed = processes * training_bytes(network, config, batch_size)
    height, width = config.training_size
    print(
        f"memory: about {_gb(needed)} for {height}x{width} in batches of {batch_size}"
        + (f", on {processes} ranks" if processes > 1 else "")
        + (f"; {_gb(available)} are free" if available else "")
    )
    if not available or needed <= available:
        return
    sizes = range(batch_size - 1, 0, -1)
    fitting = (n for n in sizes if processes * training_bytes(network, config, n) <= available)
    fits = next(fitting, None)
    advice = f"--batch_size {fits} would fit" if fits else "no batch would fit"
    problem = (
        f"batch_size is {batch_size}: training on {height}x{width} needs about {_gb(needed)} of "
        f"memory, and {_gb(available)} are free: {advice}"
    )
    if config.data.dataset:
        problem += f"; so may a {'smaller ' * bool(config.data.tile)}--tile"
    if needed > REFUSED * available:
        raise InputError(problem)
    print(f"warning: {problem}", file=sys.stderr)


def warn_of_forecast(network, shape, target):
    """Warns if forecasts of inputs of a shape, (B, T, C, H, W), need more memory than is free."""
    available = available_memory() if target == "CPU" else None
    needed = forecast_bytes(network, shape)
    if available and needed > available:
        print(
            f"warning: batches of {shape[0]} need about {_gb(needed)} of memory, and "
            f"{_gb(available)} are free: give a smaller --batch_size",
            file=sys.stderr,
        )


def _gb(size):
    return f"{size / GB:.2g} GB" if size < 10 * GB else f"{size / GB:.0f} GB"
