"""What training adds to the network: losses and one training step."""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, amp, nn, ops

from src.data.scale import to_unit_range
from src.model import Execution

# Overflowing steps are left out until the scale fits; 2^16 fits a mean loss per pixel at once.
FIRST_LOSS_SCALE = 2.0**16
STEPS_PER_DOUBLING = 2000
NORM_ROW = 1024


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
        encoder_loss_weight: weight of the encoder's loss, a number or a Parameter; 0 leaves it out
            of the graph.
        clip: the beginning of the sequences to train on, a `Clip`; None for all frames.
        pixel_weights: pairs (threshold, weight) of rising thresholds, of `in_unit_range`: the
            squared or absolute error of a pixel whose target is at or above a threshold counts so
            much, below all of them 1. Not with "bce". With a weight of 1, 2, 5, 10 and 30 below and
            from 2, 5, 10 and 30 mm/h on, "mse+mae" is the sum of the B-MSE and B-MAE of Shi et al.
            2017 (arXiv:1706.03458, HKO-7), as means over pixels: not divided by the weights' sum.

    Inputs:
        - **inputs** - (B, T, C, H, W), float32 in [0, 1].
        - **targets** - (B, forecast_frames, C, H, W), float32 in [0, 1].
        - **weights** - (B, T + forecast_frames, C, H, W), float32, or None: what is 0 counts
          nothing, in the loss and its gradients.

    Outputs:
        The loss, a scalar.
    """

    def __init__(self, network, loss, encoder_loss_weight=0.0, clip=None, pixel_weights=()):
        super().__init__(auto_prefix=False)
        self.network = network
        self.is_cut = clip is not None
        self.input_frames = clip.input_frames if clip else 0
        self.forecast_frames = clip.forecast_frames if clip else network.forecast_frames
        self.loss = loss
        self.encoder_loss_weight = encoder_loss_weight
        self.has_encoder_loss = isinstance(encoder_loss_weight, Parameter) or (
            encoder_loss_weight > 0
        )
        thresholds, weights = zip(*pixel_weights, strict=True) if pixel_weights else ((), ())
        before = (1.0, *weights)
        self.rises = [(t, w - b) for t, w, b in zip(thresholds, weights, before, strict=False)]

    def construct(self, inputs, targets, weights=None):
        if self.is_cut:
            inputs, targets = self.cut(inputs, targets)
        outputs, states = self.network.encode(inputs)
        forecast = self.network.forecast(states, self.forecast_frames)
        begin = inputs.shape[1]
        counts = None if weights is None else weights[:, begin : begin + self.forecast_frames]
        loss = self.pixel_loss(self.network.head(forecast, inputs[:, -1:]), targets, counts)
        if self.has_encoder_loss:
            next_frames = ops.concat((inputs[:, 1:], targets[:, :1]), 1)
            counts = None if weights is None else weights[:, 1 : begin + 1]
            loss = loss + self.encoder_loss_weight * self.pixel_loss(
                self.network.head(outputs, inputs), next_frames, counts
            )
        return loss

    def cut(self, inputs, targets):
        """The clip's inputs and targets."""
        begin, end = self.input_frames, self.input_frames + self.forecast_frames
        frames = ops.concat((inputs, targets), 1)
        return frames[:, :begin], frames[:, begin:end]

    def pixel_loss(self, logits, targets, weights=None):
        """The loss of frames before their activation."""
        if self.loss == "bce":
            # -(y log s(z) + (1 - y) log(1 - s(z))) without overflow.
            return mean(
                ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits))), weights
            )
        error = self.network.activate(logits) - targets
        square = ops.square(error)
        loss = square + ops.abs(error) if self.loss == "mse+mae" else square
        if self.rises:
            loss = loss * self.weights_of(targets)
        return mean(loss, weights)

    def weights_of(self, targets):
        """The weight of each pixel's error."""
        weights = ops.ones_like(targets)
        for threshold, rise in self.rises:
            weights = weights + rise * ops.cast(targets >= threshold, targets.dtype)
        return weights


def mean(values, weights=None):
    """The mean of values where their weight is 1; 0 where there are none."""
    if weights is None:
        return values.mean()
    return (values * weights).sum() / ops.maximum(weights.sum(), 1.0)


def in_unit_range(loss_weights, encoding):
    """`loss_weights`, whose thresholds are in the data's units, with thresholds that are in those
    of the network: rounded as the targets are, so that a target at a threshold is at it.
    """
    if not loss_weights:
        return ()
    thresholds, weights = zip(*loss_weights, strict=True)
    scale = encoding.value_range, encoding.transform
    units = to_unit_range(np.array(thresholds, np.float32), *scale)
    return tuple(zip(units.tolist(), map(float, weights), strict=True))


def make_scaler():
    """The dynamic loss scale that convolutions in float16 need."""
    return amp.DynamicLossScaler(FIRST_LOSS_SCALE, 2, STEPS_PER_DOUBLING)


class TrainStep(nn.Cell):
    """One step: loss, mean gradients, clipping by their global norm, update.

    With `accumulate_steps` its batch is computed in as many parts, one after the other, and the
    gradients' sum is kept in their place: the memory of a part, the step of the whole. With
    `ranks` gradients and loss are the means over the ranks before anything is made of them, so
    that every rank clips, leaves out and updates alike.

    Args:
        loss: a Cell from a batch to a scalar.
        optimizer: updates the parameters that it was made with.
        grad_clip: largest global norm; 0 for no limit.
        scaler: of `make_scaler`, or None; a step whose gradients overflow is left out.
        accumulate_steps: parts of a batch; they have to be of one size.
        ranks: how many processes share a step, each with a batch of its own.

    Inputs:
        - **batch** - that of this rank, as of `loss`; where it has weights, each part and each rank
          is the mean of what counts in it.

    Outputs:
        The loss and the global norm of the gradients before clipping, scalars; a norm of 0 says
        that the step was left out.
    """

    def __init__(self, loss, optimizer, grad_clip=0.0, scaler=None, accumulate_steps=1, ranks=1):
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.optimizer = optimizer
        self.grad_clip = grad_clip
        self.scaler = scaler
        self.accumulate_steps = accumulate_steps
        self.ranks = ranks
        if ranks > 1:
            self.sum_of_ranks = ops.AllReduce()
            self.mean_of_ranks = nn.DistributedGradReducer(optimizer.parameters, True, ranks)
        self.value_and_grad = ms.value_and_grad(self.scaled_loss, None, optimizer.parameters)

    def scaled_loss(self, *batch):
        """The loss, times the loss scale if there is one."""
        loss = self.loss(*batch)
        return loss if self.scaler is None else self.scaler.scale(loss)

    def construct(self, *batch):
        loss, gradients = self.mean_of_parts(*batch)
        if self.ranks > 1:
            loss = self.sum_of_ranks(loss) / self.ranks
            gradients = self.mean_of_ranks(gradients)
        if self.scaler is None:
            return self.update(loss, gradients)
        loss, gradients = self.scaler.unscale(loss), self.scaler.unscale(gradients)
        finite = amp.all_finite(gradients)
        norm = ops.zeros_like(loss)
        if finite:
            loss, norm = self.update(loss, gradients)
        loss = ops.depend(loss, self.scaler.adjust(finite))
        return loss, norm

    def mean_of_parts(self, *batch):
        """The loss and its gradients, of one part of the batch after the other."""
        if self.accumulate_steps == 1:
            return self.value_and_grad(*batch)
        size = batch[0].shape[0] // self.accumulate_steps
        loss, gradients = self.value_and_grad(*[x[:size] for x in batch])
        for k in range(1, self.accumulate_steps):
            # A part waits for the one before it, or all of them would be in memory at a time.
            inputs = ops.depend(batch[0], gradients)
            part = [x[k * size : (k + 1) * size] for x in (inputs, *batch[1:])]
            more, others = self.value_and_grad(*part)
            loss = loss + more
            gradients = tuple([gradients[i] + others[i] for i in range(len(others))])
        share = 1.0 / self.accumulate_steps
        return loss * share, tuple([g * share for g in gradients])

    def update(self, loss, gradients):
        """Updates the parameters; returns the loss and the gradients' norm."""
        norm = global_norm(gradients)
        if self.grad_clip:
            scale = ops.minimum(self.grad_clip / (norm + 1e-12), ops.ones_like(norm))
            gradients = tuple([gradient * scale for gradient in gradients])
        return ops.depend(loss, self.optimizer(gradients)), norm


def make_steps(config, network, optimizer, pixel_weights=(), scaler=None, ranks=1):
    """A list of `TrainStep` for each of a run's `clips`; they share weights and optimizer."""
    recipe, weight = config.training, config.training.encoder_loss_weight
    if weight and recipe.encoder_loss_decay:
        weight = Parameter(Tensor(weight, ms.float32), "encoder_loss_weight", requires_grad=False)
    losses = [
        ForecastLoss(network, recipe.loss, weight, clip, pixel_weights)
        for clip in (*recipe.curriculum, None)
    ]
    return [
        TrainStep(loss, optimizer, recipe.grad_clip, scaler, recipe.accumulate_steps, ranks)
        for loss in losses
    ]


def global_norm(tensors):
    """The 2-norm of all elements of all tensors, in five operators.

    Laid out in rows, because a CPU adds up one long row in an order that depends on its threads.
    """
    flat = [ops.reshape(tensor, (-1,)) for tensor in tensors]
    elements = sum([tensor.size for tensor in tensors])
    padding = ops.zeros((NORM_ROW - elements % NORM_ROW,), tensors[0].dtype)
    rows = ops.reshape(ops.concat(flat + [padding]), (-1, NORM_ROW))
    return ops.sqrt(ops.square(rows).sum(1).sum())
