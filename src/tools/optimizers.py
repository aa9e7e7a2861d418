"""The optimizers: Adam, and Muon for the weights of convolutions."""

import math

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from src.model import EncoderForecaster

# The quintic polynomial whose iteration brings singular values to about 1 (Jordan et al. 2024).
ORTHOGONALISING = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Adam(nn.Optimizer):
    """Adam by the framework's fused operator, with L2 or decoupled weight decay.

    Decoupled decay spares biases and norms. `nn.Adam` cannot decouple and builds operators that are
    deprecated; `nn.AdamWeightDecay` lacks Adam's bias correction.

    Source: Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1; Loshchilov & Hutter 2019
    (arXiv:1711.05101), algorithm 2.

    Args:
        params: the parameters to train.
        learning_rate: start value of the Parameter `learning_rate`.
        weight_decay: weight decay.
        decoupled: decay the weights themselves, not by way of the gradients.

    Inputs:
        - **gradients** - a tuple of the gradients of `params`.
    """

    def __init__(self, params, learning_rate, weight_decay=0.0, decoupled=False):
        super().__init__(learning_rate, params, 0.0 if decoupled else weight_decay)
        self.decoupled_decay = weight_decay if decoupled else 0.0
        self.beta1, self.beta2, self.eps = 0.9, 0.999, 1e-8
        self.beta1_power = Parameter(Tensor(1.0, ms.float32), name="beta1_power")
        self.beta2_power = Parameter(Tensor(1.0, ms.float32), name="beta2_power")
        self.matrices = [self.matrices_in(p) for p in self.parameters]
        self.moment1 = self.parameters.clone("moment1", "zeros")
        squares = [p for p, n in zip(self.parameters, self.matrices, strict=True) if not n]
        self.moment2 = ParameterTuple(squares).clone("moment2", "zeros")
        self.adam = ops.Adam()

    def matrices_in(self, parameter):
        """How many matrices a parameter is to `matrix_step`; 0 where it is Adam's."""
        return 0

    def matrix_step(self, parameter, moment, gradient, matrices):
        """Updates a parameter that is not Adam's."""
        raise NotImplementedError

    def construct(self, gradients):
        gradients = self.decay_weight(gradients)
        beta1_power = self.beta1_power * self.beta1
        beta2_power = self.beta2_power * self.beta2
        self.beta1_power = beta1_power
        self.beta2_power = beta2_power
        keep = 1.0 - self.learning_rate * self.decoupled_decay
        square = 0
        for k in range(len(gradients)):
            parameter, moment = self.parameters[k], self.moment1[k]
            if self.decoupled_decay and parameter.ndim > 1:
                ops.assign(parameter, parameter * keep)
            if self.matrices[k]:
                self.matrix_step(parameter, moment, gradients[k], self.matrices[k])
            else:
                self.adam(
                    parameter, moment, self.moment2[square], beta1_power, beta2_power,
                    self.learning_rate, self.beta1, self.beta2, self.eps, gradients[k],
                )  # fmt: skip
                square += 1
        return True


class Muon(Adam):
    """Muon for the weights of convolutions, Adam for the rest: biases, norms, output convolution.

    A step of Muon moves a weight along its momentum with all singular values made about 1, so that
    rare directions learn as fast as common ones. Each gate's kernels are a matrix of their own,
    (h, in * k * k). The step's length is that of Adam's steps, so one learning rate serves both.

    Source: Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), with Nesterov momentum
    and its coefficients; the length by Liu et al. 2025 (arXiv:2502.16982), equation 4.

    Args:
        params, learning_rate, weight_decay, decoupled: as of `Adam`.
    """

    momentum, rms = 0.95, 0.2

    def matrices_in(self, parameter):
        """Each gate's kernels are one, as are those of a convolution that is not the output's."""
        name = parameter.name
        if parameter.ndim != 4 or not name.endswith(".weight") or name.startswith("output_conv"):
            return 0
        return 4 if "_layers." in name else 1

    def matrix_step(self, parameter, moment, gradient, matrices):
        momentum = moment * self.momentum + gradient * (1 - self.momentum)
        ops.assign(moment, momentum)
        direction = momentum * self.momentum + gradient * (1 - self.momentum)
        shape = parameter.shape
        direction = direction.reshape(matrices, shape[0] // matrices, -1)
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
        square = ops.bmm(x, x.swapaxes(1, 2))
        x = a * x + ops.bmm(b * square + c * ops.bmm(square, square), x)
    return x.swapaxes(1, 2) if is_tall else x


def state_bytes(config):
    """Bytes of the weights of a `Config`'s network with the state of its optimizer."""
    network = EncoderForecaster(config.model, config.data.forecast_frames)
    return sum(p.nbytes for p in make_optimizer(network, config.training).get_parameters())


def make_optimizer(network, training, scaler=None):
    """The optimizer of a `TrainingConfig`; the scaler's state enters checkpoints with it."""
    kind = Muon if training.optimizer == "muon" else Adam
    optimizer = kind(
        network.trainable_params(),
        training.learning_rate,
        training.weight_decay,
        decoupled=training.optimizer != "adam",
    )
    if scaler:
        optimizer.scale_value, optimizer.scale_counter = scaler.scale_value, scaler.counter
    return optimizer
