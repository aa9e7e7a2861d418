"""One training step: loss, gradients, clipping, update."""

import mindspore as ms
from mindspore import Parameter, Tensor, amp, nn, ops

from src.model import Execution
from src.tools.loss import ForecastLoss

# Steps whose gradients overflow are skipped until the scale is small enough. A mean loss per pixel
# does not overflow at 2^16.
FIRST_LOSS_SCALE = 2.0**16
STEPS_PER_DOUBLING = 2000
NORM_ROW = 1024


def execution_of(training, target):
    """The `Execution` of a `TrainingConfig` on a device: how its networks compute."""
    float16 = training.amp_level == "O2" or (training.amp_level == "auto" and target == "Ascend")
    return Execution(target, training.recompute, float16)


def make_scaler():
    """The dynamic loss scale for convolutions in float16."""
    return amp.DynamicLossScaler(FIRST_LOSS_SCALE, 2, STEPS_PER_DOUBLING)


class TrainStep(nn.Cell):
    """One training step: loss, mean gradients, clipping by their global norm, update.

    With `accumulate_steps` the batch is split into that many parts, which are computed one after
    the other while their gradients are summed: the update of the whole batch with the memory of one
    part. With several `ranks` loss and gradients are averaged over the ranks before anything else,
    so that all ranks clip, skip and update alike.

    Args:
        loss: a Cell from a batch to its loss, a scalar: a mean over the batch. For batches with a
            mask it has a method `counts` of the mask, and takes counts as its last input.
        optimizer: the optimizer of the network's parameters.
        grad_clip: largest global norm of the gradients; 0: no limit.
        scaler: the loss scale that `make_scaler` returned, or None. With it a step whose gradients
            overflow is skipped.
        accumulate_steps: number of parts of a batch; it has to divide the batch size.
        ranks: number of processes that share a step, each with its own batch.

    Inputs:
        - **batch** - this rank's inputs of `loss`. With a mask, which is the third, a valid pixel
          weighs the same in each part and on each rank, as in one large batch.

    Outputs:
        The loss and the global norm of the gradients before clipping, scalars. A norm of 0 means
        that the step was skipped.
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
        finite = self.all_finite(gradients)
        norm = ops.zeros_like(loss)
        if finite:
            loss, norm = self.update(loss, gradients)
        loss = ops.depend(loss, self.scaler.adjust(finite))
        return loss, norm

    def all_finite(self, gradients):
        """Whether no rank has seen an overflow; the same answer on all ranks.

        The ranks' gradients are equal, but a device may answer from its overflow register, which
        only knows the overflows of that device.
        """
        finite = amp.all_finite(gradients)
        if self.ranks > 1:
            overflows = self.sum_of_ranks(1.0 - ops.cast(finite, ms.float32))
            finite = overflows == 0
        return finite

    def mean_of_parts(self, *batch):
        """The loss and its gradients, means over the parts of the batch."""
        counts = self.counts_per_part(batch)
        if self.accumulate_steps == 1:
            return self.value_and_grad(*batch, *counts)
        size = batch[0].shape[0] // self.accumulate_steps
        loss, gradients = self.value_and_grad(*[x[:size] for x in batch], *counts)
        for k in range(1, self.accumulate_steps):
            # Each part waits for the one before it; else all of them would be in memory at once.
            inputs = ops.depend(batch[0], gradients)
            part = [x[k * size : (k + 1) * size] for x in (inputs, *batch[1:])]
            part_loss, part_gradients = self.value_and_grad(*part, *counts)
            loss = loss + part_loss
            gradients = tuple([gradients[i] + part_gradients[i] for i in range(len(gradients))])
        fraction = 1.0 / self.accumulate_steps
        return loss * fraction, tuple([g * fraction for g in gradients])

    def counts_per_part(self, batch):
        """The mean number of valid pixels per part and rank, a tuple of one; () without a mask.

        Each part divides its sum by this, so that the mean over parts and ranks is the sum over
        all valid pixels divided by their number.
        """
        if len(batch) < 3:
            return ()
        counts = self.loss.counts(batch[2])
        if self.ranks > 1:
            counts = self.sum_of_ranks(counts)
        return (counts / (self.accumulate_steps * self.ranks),)

    def update(self, loss, gradients):
        """Updates the parameters; returns the loss and the gradients' norm."""
        norm = global_norm(gradients)
        if self.grad_clip:
            scale = ops.minimum(self.grad_clip / (norm + 1e-12), ops.ones_like(norm))
            gradients = tuple([gradient * scale for gradient in gradients])
        return ops.depend(loss, self.optimizer(gradients)), norm


def make_steps(config, network, optimizer, pixel_weights=(), scaler=None, ranks=1):
    """A list with a `TrainStep` for each horizon of a run; all share weights and optimizer."""
    training, weight = config.training, config.training.encoder_loss_weight
    if weight and training.encoder_loss_decay:
        weight = Parameter(Tensor(weight, ms.float32), "encoder_loss_weight", requires_grad=False)
    losses = [
        ForecastLoss(network, training.loss, weight, horizon, pixel_weights)
        for horizon in (*training.curriculum, None)
    ]
    return [
        TrainStep(loss, optimizer, training.grad_clip, scaler, training.accumulate_steps, ranks)
        for loss in losses
    ]


def global_norm(tensors):
    """The 2-norm of all elements of all tensors, in five operators.

    The elements are laid out in rows, because a CPU sums one long row in an order that depends on
    its number of threads.
    """
    flat = [ops.reshape(tensor, (-1,)) for tensor in tensors]
    elements = sum([tensor.size for tensor in tensors])
    padding = ops.zeros((NORM_ROW - elements % NORM_ROW,), tensors[0].dtype)
    rows = ops.reshape(ops.concat(flat + [padding]), (-1, NORM_ROW))
    return ops.sqrt(ops.square(rows).sum(1).sum())
