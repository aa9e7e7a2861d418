"""One training step: loss, gradients, clipping, update."""

import mindspore as ms
from mindspore import Parameter, Tensor, amp, nn, ops

from src.model import Execution
from src.tools.loss import ForecastLoss

# Overflowing steps are left out until the scale fits; 2^16 fits a mean loss per pixel at once.
FIRST_LOSS_SCALE = 2.0**16
STEPS_PER_DOUBLING = 2000
NORM_ROW = 1024


def execution_of(training, target):
    """How the networks of a `TrainingConfig` compute on a device."""
    float16 = training.amp_level == "O2" or (training.amp_level == "auto" and target == "Ascend")
    return Execution(target, training.recompute, float16)


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
        loss: a Cell from a batch to a scalar, a mean over the batch. Where a batch has a mask, it
            has `counts` of that, and takes them as its last input: what it divides by.
        optimizer: updates the parameters that it was made with.
        grad_clip: largest global norm; 0 for no limit.
        scaler: of `make_scaler`, or None; a step whose gradients overflow is left out.
        accumulate_steps: parts of a batch; they have to be of one size.
        ranks: how many processes share a step, each with a batch of its own.

    Inputs:
        - **batch** - that of this rank, as of `loss`. Where it has a mask, its third, the step is
          that of one batch of all parts and ranks: what counts weighs the same in each of them.

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
        finite = self.all_finite(gradients)
        norm = ops.zeros_like(loss)
        if finite:
            loss, norm = self.update(loss, gradients)
        loss = ops.depend(loss, self.scaler.adjust(finite))
        return loss, norm

    def all_finite(self, gradients):
        """Whether no rank has seen an overflow; the same on all of them.

        Equal gradients are not enough for that: a device may answer from its overflow register,
        which knows of its own overflows alone.
        """
        finite = amp.all_finite(gradients)
        if self.ranks > 1:
            overflows = self.sum_of_ranks(1.0 - ops.cast(finite, ms.float32))
            finite = overflows == 0
        return finite

    def mean_of_parts(self, *batch):
        """The loss and its gradients, of one part of the batch after the other."""
        counts = self.counts_of_a_part(batch)
        if self.accumulate_steps == 1:
            return self.value_and_grad(*batch, *counts)
        size = batch[0].shape[0] // self.accumulate_steps
        loss, gradients = self.value_and_grad(*[x[:size] for x in batch], *counts)
        for k in range(1, self.accumulate_steps):
            # A part waits for the one before it, or all of them would be in memory at a time.
            inputs = ops.depend(batch[0], gradients)
            part = [x[k * size : (k + 1) * size] for x in (inputs, *batch[1:])]
            more, others = self.value_and_grad(*part, *counts)
            loss = loss + more
            gradients = tuple([gradients[i] + others[i] for i in range(len(others))])
        share = 1.0 / self.accumulate_steps
        return loss * share, tuple([g * share for g in gradients])

    def counts_of_a_part(self, batch):
        """What a part on a rank has to count on average, a tuple of one; () without a mask.

        The mean over parts and ranks of sums that are divided by it is the sum of all, divided by
        the count of all.
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
    """A list of `TrainStep` for each of a run's `horizons`; they share weights and optimizer."""
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

    Laid out in rows, because a CPU adds up one long row in an order that depends on its threads.
    """
    flat = [ops.reshape(tensor, (-1,)) for tensor in tensors]
    elements = sum([tensor.size for tensor in tensors])
    padding = ops.zeros((NORM_ROW - elements % NORM_ROW,), tensors[0].dtype)
    rows = ops.reshape(ops.concat(flat + [padding]), (-1, NORM_ROW))
    return ops.sqrt(ops.square(rows).sum(1).sum())
