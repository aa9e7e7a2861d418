"""The loss of a batch: per pixel, and of the encoder's own next frames."""

import numpy as np
from mindspore import Parameter, nn, ops

from src.data.normalizer import normalize

# Below the mean count of any number of batches, one value of which counts.
SMALLEST_COUNT = 1e-6


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
        horizon: the beginning of the sequences to train on, a `Horizon`; None for all frames.
        pixel_weights: pairs (threshold, weight) of rising thresholds, of `in_unit_range`: the
            squared or absolute error of a pixel whose target is at or above a threshold counts so
            much, below all of them 1. Not with "bce". With a weight of 1, 2, 5, 10 and 30 below and
            from 2, 5, 10 and 30 mm/h on, "mse+mae" is the sum of the B-MSE and B-MAE of Shi et al.
            2017 (arXiv:1706.03458, HKO-7), as means over pixels: not divided by the weights' sum.

    Inputs:
        - **inputs** - (B, T, C, H, W), float32 in [0, 1].
        - **targets** - (B, forecast_frames, C, H, W), float32 in [0, 1].
        - **mask** - (B, T + forecast_frames, C, H, W), float32, or None: what is 0 counts
          nothing, in the loss and its gradients.
        - **counts** - (2,), float32, or None: what the two sums over the mask's values are divided
          by, where a batch is one of several; by default `counts` of its own mask.

    Outputs:
        The loss, a scalar.
    """

    def __init__(self, network, loss, encoder_loss_weight=0.0, horizon=None, pixel_weights=()):
        super().__init__(auto_prefix=False)
        self.network = network
        self.is_cut = horizon is not None
        self.input_frames = horizon.input_frames if horizon else 0
        self.forecast_frames = horizon.forecast_frames if horizon else network.forecast_frames
        self.loss = loss
        self.encoder_loss_weight = encoder_loss_weight
        self.has_encoder_loss = isinstance(encoder_loss_weight, Parameter) or (
            encoder_loss_weight > 0
        )
        thresholds, weights = zip(*pixel_weights, strict=True) if pixel_weights else ((), ())
        before = (1.0, *weights)
        self.rises = [(t, w - b) for t, w, b in zip(thresholds, weights, before, strict=False)]

    def construct(self, inputs, targets, mask=None, counts=None):
        masks = (None, None) if mask is None else self.masks(mask)
        if counts is None:
            counts = (None, None) if mask is None else self.counts(mask)
        if self.is_cut:
            inputs, targets = self.cut(inputs, targets)
        outputs, states = self.network.encode(inputs)
        forecast = self.network.forecast(states, self.forecast_frames)
        logits = self.network.head(forecast, inputs[:, -1:])
        loss = self.pixel_loss(logits, targets, masks[0], counts[0])
        if self.has_encoder_loss:
            next_frames = ops.concat((inputs[:, 1:], targets[:, :1]), 1)
            logits = self.network.head(outputs, inputs)
            loss = loss + self.encoder_loss_weight * self.pixel_loss(
                logits, next_frames, masks[1], counts[1]
            )
        return loss

    def masks(self, mask):
        """The part of a mask for the forecast's loss, and the one for the encoder's."""
        begin = self.input_frames if self.is_cut else mask.shape[1] - self.forecast_frames
        return mask[:, begin : begin + self.forecast_frames], mask[:, 1 : begin + 1]

    def counts(self, mask):
        """How many values count in the forecast's loss and in the encoder's, (2,)."""
        forecast, encoder = self.masks(mask)
        return ops.stack((forecast.sum(), encoder.sum()))

    def cut(self, inputs, targets):
        """The horizon's inputs and targets."""
        begin, end = self.input_frames, self.input_frames + self.forecast_frames
        frames = ops.concat((inputs, targets), 1)
        return frames[:, :begin], frames[:, begin:end]

    def pixel_loss(self, logits, targets, mask=None, count=None):
        """The loss of frames before their activation; see `mean` for mask and count."""
        if self.loss == "bce":
            # -(y log s(z) + (1 - y) log(1 - s(z))) without overflow.
            loss = ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
            return mean(loss, mask, count)
        error = self.network.activate(logits) - targets
        square = ops.square(error)
        loss = square + ops.abs(error) if self.loss == "mse+mae" else square
        if self.rises:
            loss = loss * self.weights_of(targets)
        return mean(loss, mask, count)

    def weights_of(self, targets):
        """The weight of each pixel's error."""
        weights = ops.ones_like(targets)
        for threshold, rise in self.rises:
            weights = weights + rise * ops.cast(targets >= threshold, targets.dtype)
        return weights


def mean(values, mask=None, count=None):
    """The mean of values where their mask is 1: their sum, divided by the count; 0 where there are
    none.
    """
    if mask is None:
        return values.mean()
    return (values * mask).sum() / ops.maximum(count, SMALLEST_COUNT)


def in_unit_range(loss_weights, normalizer):
    """`loss_weights`, whose thresholds are in the data's units, with thresholds that are in those
    of the network: rounded as the targets are, so that a target at a threshold is at it.
    """
    if not loss_weights:
        return ()
    thresholds, weights = zip(*loss_weights, strict=True)
    scale = normalizer.value_range, normalizer.transform
    units = normalize(np.array(thresholds, np.float32), *scale)
    return tuple(zip(units.tolist(), map(float, weights), strict=True))
