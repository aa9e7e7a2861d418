"""What training adds to the network: losses, the optimizers and one training step."""

import mindspore as ms
from mindspore import Parameter, Tensor, amp, nn, ops

from src.model import Execution

# Overflowing steps are left out until the scale fits; 2^16 fits a mean loss per pixel at once.
FIRST_LOSS_SCALE = 2.0**16
STEPS_PER_DOUBLING = 2000


def execution_of(training, target):
    """How the networks of a `TrainingConfig` compute on a device."""
    float16 = training.amp_level == "O2" or (training.amp_level == "auto" and target == "Ascend")
    return Execution(target, training.recompute, float16)


class ForecastLoss(nn.Cell):
    """The loss of a batch: the forecast's, and the encoder's own next-frame loss if it has a
    weight.

    The encoder's loss applies the network's head to the encoder's states: after input frame t it
    should know frame t + 1, and after the last one the first target.

    Args:
        network: an `EncoderForecaster`.
        loss: "mse", "mse+mae" or "bce", each a mean per pixel; "bce" works on logits, so it needs a
            network that ends with a sigmoid.
        encoder_loss_weight: weight of the encoder's loss; 0 leaves it out of the graph.

    Inputs:
        - **inputs** - (B, T, C, H, W), float32 in [0, 1].
        - **targets** - (B, forecast_frames, C, H, W), float32 in [0, 1].
        - **weights** - (B, T + forecast_frames, C, H, W), float32, or None: what is 0 counts
          nothing, in the loss and its gradients.

    Outputs:
        The loss, a scalar.
    """

    def __init__(self, network, loss, encoder_loss_weight=0.0):
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss = loss
        self.encoder_loss_weight = encoder_loss_weight

    def construct(self, inputs, targets, weights=None):
        outputs, states = self.network.encode(inputs)
        steps = inputs.shape[1]
        counts = None if weights is None else weights[:, steps:]
        loss = self.pixel_loss(self.network.head(self.network.forecast(states)), targets, counts)
        if self.encoder_loss_weight:
            next_frames = ops.concat((inputs[:, 1:], targets[:, :1]), 1)
            counts = None if weights is None else weights[:, 1 : steps + 1]
            loss = loss + self.encoder_loss_weight * self.pixel_loss(
                self.network.head(outputs), next_frames, counts
            )
        return loss

    def pixel_loss(self, logits, targets, weights=None):
        """The loss of frames before their activation."""
        if self.loss == "bce":
            # -(y log s(z) + (1 - y) log(1 - s(z))) without overflow.
            return mean(
                ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits))), weights
            )
        error = self.network.activate(logits) - targets
        loss = mean(ops.square(error), weights)
        return loss + mean(ops.abs(error), weights) if self.loss == "mse+mae" else loss


def mean(values, weights=None):
    """The mean of values where their weight is 1; 0 where there are none."""
    if weights is None:
        return values.mean()
    return (values * weights).sum() / ops.maximum(weights.sum(), 1.0)


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
        self.moment1 = self.parameters.clone("moment1", "zeros")
        self.moment2 = self.parameters.clone("moment2", "zeros")
        self.adam = ops.Adam()

    def construct(self, gradients):
        gradients = self.decay_weight(gradients)
        beta1_power = self.beta1_power * self.beta1
        beta2_power = self.beta2_power * self.beta2
        self.beta1_power = beta1_power
        self.beta2_power = beta2_power
        keep = 1.0 - self.learning_rate * self.decoupled_decay
        for k in range(len(gradients)):
            parameter = self.parameters[k]
            if self.decoupled_decay and parameter.ndim > 1:
                ops.assign(parameter, parameter * keep)
            self.adam(
                parameter, self.moment1[k], self.moment2[k], beta1_power, beta2_power,
                self.learning_rate, self.beta1, self.beta2, self.eps, gradients[k],
            )  # fmt: skip
        return True


def make_optimizer(network, training, scaler=None):
    """The optimizer of a `TrainingConfig`; the scaler's state enters checkpoints with it."""
    decoupled = training.optimizer == "adamw"
    optimizer = Adam(
        network.trainable_params(), training.learning_rate, training.weight_decay, decoupled
    )
    if scaler:
        optimizer.scale_value, optimizer.scale_counter = scaler.scale_value, scaler.counter
    return optimizer


def make_scaler():
    """The dynamic loss scale that convolutions in float16 need."""
    return amp.DynamicLossScaler(FIRST_LOSS_SCALE, 2, STEPS_PER_DOUBLING)


class TrainStep(nn.Cell):
    """One step: loss, gradients, clipping by their global norm, update.

    Args:
        loss: a Cell from a batch to a scalar.
        optimizer: updates the parameters that it was made with.
        grad_clip: largest global norm; 0 for no limit.
        scaler: of `make_scaler`, or None; a step whose gradients overflow is left out.

    Outputs:
        The loss and the global norm of the gradients before clipping, scalars; a norm of 0 says
        that the step was left out.
    """

    def __init__(self, loss, optimizer, grad_clip=0.0, scaler=None):
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.optimizer = optimizer
        self.grad_clip = grad_clip
        self.scaler = scaler
        self.value_and_grad = ms.value_and_grad(self.scaled_loss, None, optimizer.parameters)

    def scaled_loss(self, *batch):
        """The loss, times the loss scale if there is one."""
        loss = self.loss(*batch)
        return loss if self.scaler is None else self.scaler.scale(loss)

    def construct(self, *batch):
        loss, gradients = self.value_and_grad(*batch)
        if self.scaler is None:
            return self.update(loss, gradients)
        loss, gradients = self.scaler.unscale(loss), self.scaler.unscale(gradients)
        finite = amp.all_finite(gradients)
        norm = ops.zeros_like(loss)
        if finite:
            loss, norm = self.update(loss, gradients)
        loss = ops.depend(loss, self.scaler.adjust(finite))
        return loss, norm

    def update(self, loss, gradients):
        """Updates the parameters; returns the loss and the gradients' norm."""
        norm = global_norm(gradients)
        if self.grad_clip:
            scale = ops.minimum(self.grad_clip / (norm + 1e-12), ops.ones_like(norm))
            gradients = tuple([gradient * scale for gradient in gradients])
        return ops.depend(loss, self.optimizer(gradients)), norm


def global_norm(tensors):
    """The 2-norm of all elements of all tensors."""
    total = ops.square(tensors[0]).sum()
    for tensor in tensors[1:]:
        total = total + ops.square(tensor).sum()
    return ops.sqrt(total)
