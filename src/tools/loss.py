"""The loss of a batch: of the forecast, and of the encoder's predictions of the next frame."""

import numpy as np
from mindspore import Parameter, nn, ops

from src.data.normalizer import normalize

# Less than the count per batch of any number of batches with one valid pixel.
SMALLEST_COUNT = 1e-6


class ForecastLoss(nn.Cell):
    """The forecast's loss, plus the encoder's own next-frame loss if that has a weight.

    The encoder's loss applies the network's head to the encoder's states: after input frame t they
    should predict frame t + 1, and after the last one the first target.

    Args:
        network: an `EncoderForecaster`.
        loss: "mse", "mse+mae" or "bce", each a mean over pixels; "bce" works on logits, so it needs
            a network that ends with a sigmoid.
        encoder_loss_weight: weight of the encoder's loss, a number or a Parameter; 0 leaves it out
            of the graph.
        horizon: the `Horizon` to train on, the beginning of each sequence; None: all frames.
        pixel_weights: pairs (threshold, weight) that `in_unit_range` returned, with rising
            thresholds. The error of a pixel is multiplied by the weight of the highest threshold
            that its target reaches, below all thresholds by 1. Not with "bce". With weight 1 below
            2 mm/h, and 2, 5, 10 and 30 from 2, 5, 10 and 30 mm/h on, "mse+mae" is the sum of the
            B-MSE and B-MAE of Shi et al. 2017 (arXiv:1706.03458, HKO-7), as means over pixels: not
            divided by the sum of the weights.

    Inputs:
        - **inputs** - (B, T, C, H, W), float32 in [0, 1].
        - **targets** - (B, forecast_frames, C, H, W), float32 in [0, 1].
        - **mask** - (B, T + forecast_frames, C, H, W), float32, or None. Pixels where it is 0 do
          not count, in the loss and in its gradients.
        - **counts** - (2,), float32, or None: the numbers that the two sums over valid pixels are
          divided by if the batch is one of several; by default the `counts` of its own mask.

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
        lower = (1.0, *weights)
        self.rises = [(t, w - x) for t, w, x in zip(thresholds, weights, lower, strict=False)]

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
        """The parts of a mask for the forecast's loss and for the encoder's."""
        begin = self.input_frames if self.is_cut else mask.shape[1] - self.forecast_frames
        return mask[:, begin : begin + self.forecast_frames], mask[:, 1 : begin + 1]

    def counts(self, mask):
        """The numbers of valid pixels in the forecast's loss and in the encoder's, (2,)."""
        forecast, encoder = self.masks(mask)
        return ops.stack((forecast.sum(), encoder.sum()))

    def cut(self, inputs, targets):
        """The inputs and targets of the horizon."""
        begin, end = self.input_frames, self.input_frames + self.forecast_frames
        frames = ops.concat((inputs, targets), 1)
        return frames[:, :begin], frames[:, begin:end]

    def pixel_loss(self, logits, targets, mask=None, count=None):
        """The mean loss over the pixels of frames, given before their activation; see `mean`."""
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
    """The sum of the values whose mask is 1, divided by the count; without a mask their mean."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / ops.maximum(count, SMALLEST_COUNT)


def in_unit_range(loss_weights, normalizer):
    """Converts the thresholds of `loss_weights` from the data's units to the network's.

    They are rounded as the targets are, so that a target equal to a threshold reaches it.
    """
    if not loss_weights:
        return ()
    thresholds, weights = zip(*loss_weights, strict=True)
    scale = normalizer.value_range, normalizer.transform
    units = normalize(np.array(thresholds, np.float32), *scale)
    return tuple(zip(units.tolist(), map(float, weights), strict=True))
