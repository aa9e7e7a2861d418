"""The optimizers, Adam, and Muon for the kernels of convolutions; and the schedules of their
learning rate, pure functions of the progress of a run.
"""

import math

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from src.model import EncoderForecaster

# Coefficients of the polynomial whose iteration brings singular values to about 1 (Jordan et al.
# 2024).
ORTHOGONALISING = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Schedules that end when the run does; the others have no end.
BY_PROGRESS = ("cosine", "one-cycle")
PLATEAU_PATIENCE = 4
PLATEAU_FACTOR = 0.5
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


class Adam(nn.Optimizer):
    """Adam by the framework's fused operator, with L2 or decoupled weight decay.

    Decoupled decay leaves biases and norms alone. `nn.Adam` cannot decouple the decay and uses
    deprecated operators; `nn.AdamWeightDecay` lacks Adam's bias correction.

    Source: Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1; Loshchilov & Hutter 2019
    (arXiv:1711.05101), algorithm 2.

    Args:
        params: the parameters to train.
        learning_rate: start value of the Parameter `learning_rate`.
        weight_decay: weight decay.
        decoupled: shrink the weights themselves, in place of adding L2 to the gradients.
        num_matrices: for each parameter, how many matrices it is to the `matrix_step` of a
            subclass, or 0 where the update is Adam's; default: all are Adam's.

    Inputs:
        - **gradients** - a tuple of the gradients of `params`.
    """

    def __init__(self, params, learning_rate, weight_decay=0.0, decoupled=False, num_matrices=None):
        super().__init__(learning_rate, params, 0.0 if decoupled else weight_decay)
        self.decoupled_decay = weight_decay if decoupled else 0.0
        self.beta1, self.beta2, self.eps = 0.9, 0.999, 1e-8
        self.beta1_power = Parameter(Tensor(1.0, ms.float32), name="beta1_power")
        self.beta2_power = Parameter(Tensor(1.0, ms.float32), name="beta2_power")
        self.num_matrices = num_matrices or [0] * len(self.parameters)
        self.moment1 = self.parameters.clone("moment1", "zeros")
        adams = [p for p, n in zip(self.parameters, self.num_matrices, strict=True) if not n]
        self.moment2 = ParameterTuple(adams).clone("moment2", "zeros")
        self.adam = ops.Adam()

    def matrix_step(self, parameter, moment, gradient, num_matrices):
        """Updates a parameter that consists of matrices, of which plain Adam has none."""
        raise NotImplementedError

    def construct(self, gradients):
        gradients = self.decay_weight(gradients)
        beta1_power = self.beta1_power * self.beta1
        beta2_power = self.beta2_power * self.beta2
        self.beta1_power = beta1_power
        self.beta2_power = beta2_power
        keep = 1.0 - self.learning_rate * self.decoupled_decay
        index = 0
        for k in range(len(gradients)):
            parameter, moment = self.parameters[k], self.moment1[k]
            if self.decoupled_decay and parameter.ndim > 1:
                ops.assign(parameter, parameter * keep)
            if self.num_matrices[k]:
                self.matrix_step(parameter, moment, gradients[k], self.num_matrices[k])
            else:
                self.adam(
                    parameter,
                    moment,
                    self.moment2[index],
                    beta1_power,
                    beta2_power,
                    self.learning_rate,
                    self.beta1,
                    self.beta2,
                    self.eps,
                    gradients[k],
                )
                index += 1
        return True


class Muon(Adam):
    """Muon for parameters that consist of matrices, Adam for the rest.

    A step of Muon moves a matrix along its momentum with all singular values made about 1, so that
    rare directions learn as fast as common ones. A kernel counts as a matrix, (out, in * k * k).
    The step's length is that of Adam's steps, so one learning rate serves both.

    Source: Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), with Nesterov momentum
    and its coefficients; the length by Liu et al. 2025 (arXiv:2502.16982), equation 4.

    Args:
        num_matrices: for each parameter, how many matrices are stacked along its first axis; 0
            where the update is Adam's.
        params, learning_rate, weight_decay, decoupled: as in `Adam`.
    """

    momentum, rms = 0.95, 0.2

    def __init__(self, params, num_matrices, learning_rate, weight_decay=0.0, decoupled=False):
        super().__init__(params, learning_rate, weight_decay, decoupled, num_matrices)

    def matrix_step(self, parameter, moment, gradient, num_matrices):
        momentum = moment * self.momentum + gradient * (1 - self.momentum)
        ops.assign(moment, momentum)
        direction = momentum * self.momentum + gradient * (1 - self.momentum)
        shape = parameter.shape
        direction = direction.reshape(num_matrices, shape[0] // num_matrices, -1)
        length = self.rms * math.sqrt(max(direction.shape[1:]))
        update = orthogonalise(direction).reshape(shape)
        ops.assign(parameter, parameter - update * (self.learning_rate * length))


def orthogonalise(matrices):
    """Brings the singular values of (N, rows, columns) to about 1: between 0.7 and 1.2."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices / (ops.sqrt(ops.square(matrices).sum(2).sum(1)).reshape(-1, 1, 1) + 1e-7)
    x = x.swapaxes(1, 2) if is_tall else x
    a, b, c = ORTHOGONALISING
    for _ in range(ITERATIONS):
        gram = ops.bmm(x, x.swapaxes(1, 2))
        x = a * x + ops.bmm(b * gram + c * ops.bmm(gram, gram), x)
    return x.swapaxes(1, 2) if is_tall else x


def state_bytes(config):
    """Bytes of the weights of a `Config`'s network with the state of its optimizer."""
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    return sum(p.nbytes for p in make_optimizer(network, config.training).get_parameters())


def make_optimizer(network, training, scaler=None):
    """The optimizer that a `TrainingConfig` asks for.

    Args:
        network: an `EncoderForecaster`; any Cell where the optimizer is not Muon.
        training: the `TrainingConfig`.
        scaler: the loss scaler, whose state enters checkpoints with the optimizer's; or None.
    """
    params, rate, decay = network.trainable_params(), training.learning_rate, training.weight_decay
    if training.optimizer == "muon":
        matrices = network.kernel_matrices()
        num_matrices = [matrices.get(p.name, 0) for p in params]
        optimizer = Muon(params, num_matrices, rate, decay, decoupled=True)
    else:
        optimizer = Adam(params, rate, decay, decoupled=training.optimizer == "adamw")
    if scaler:
        optimizer.scale_value, optimizer.scale_counter = scaler.scale_value, scaler.counter
    return optimizer


def learning_rate(training, step, progress, lr_reductions=0, extension=None):
    """The learning rate of the next step.

    Args:
        training: the `TrainingConfig`.
        step: number of steps done.
        progress: fraction of the run that is done, in [0, 1], as `TrainingState.progress` has it.
        lr_reductions: how often the plateau schedule has lowered the rate.
        extension: progress and rate at which a finished run was extended, or None. From there on a
            rate that depends on the progress falls to 0 along half a cosine.
    """
    peak = training.learning_rate
    if extension and training.lr_schedule in BY_PROGRESS:
        start, rate = extension
        return rate * _cosine(1.0, 0.0, (progress - start) / (1 - start))
    if training.lr_schedule == "plateau":
        return peak * PLATEAU_FACTOR**lr_reductions
    if training.lr_schedule == "cosine":
        warm = min(1.0, (step + 1) / training.warmup_steps) if training.warmup_steps else 1.0
        start = training.decay_start
        return peak * warm * _cosine(1.0, 0.0, (progress - start) / (1 - start))
    if training.lr_schedule == "one-cycle":
        if progress < ONE_CYCLE_RISE:
            return peak * _cosine(ONE_CYCLE_START, 1.0, progress / ONE_CYCLE_RISE)
        return peak * _cosine(
            1.0, ONE_CYCLE_END, (progress - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE)
        )
    return peak


def _cosine(start, end, fraction):
    """The value after a fraction of the way from `start` to `end` along half a cosine."""
    fraction = min(1.0, max(0.0, fraction))
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
