"""The metrics against hand-computed frames, scikit-image's PSNR and the trivial forecasts."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from skimage.metrics import peak_signal_noise_ratio

from src.config.presets import make_config
from src.data.normalizer import normalize
from src.data.sources import evaluation_source, training_sources
from src.evaluation.evaluate import evaluate, evaluate_network
from src.evaluation.metrics import NAMES, FrameMetrics, frame_scores, ssim
from src.evaluation.verification import baselines, mean_image
from src.runtime.distributed import Ranks

C1, C2 = 0.01**2, 0.03**2
# Of 49 pixels one is 1 and the others are 0: mean and sample variance are 1/49. Beside a black
# window, whose variance and covariance with it are 0, both factors of the SSIM keep a constant.
ONE_BRIGHT_PIXEL = C1 * C2 / ((1 / 49**2 + C1) * (1 / 49 + C2))


def ssims(scores, *index):
    """The three SSIMs of a frame."""
    return [scores[name][index] for name in ("ssim", "ssim_uint8", "ssim_range2")]


@pytest.mark.parametrize("shape", [(7, 7), (9, 11), (64, 64)])
def test_ssim_of_constant_frames(shape):
    """Without variances (2 a b + C1) / (a^2 + b^2 + C1) is left; as uint8 0.25 and 0.75 are 63 and
    191.
    """
    forecast, target = (np.full((1, 1, 1, *shape), v, np.float32) for v in (0.25, 0.75))
    scores = frame_scores(forecast, target)
    expected = [0.3751 / 0.6251, (24066 + 2.55**2) / (40450 + 2.55**2), 0.3754 / 0.6254]
    assert ssims(scores, 0, 0) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        # Means 1/49 and 0, variances 1/49 and 0, covariance 0.
        (((0, 0, 1.0), (0, 0, 0.0)), ONE_BRIGHT_PIXEL),
        # Half as bright: mean 1/98, variance 1/196, covariance 1/98.
        (
            ((3, 3, 1.0), (3, 3, 0.5)),
            (1 / 2401 + C1) * (2 / 98 + C2) / ((1.25 / 2401 + C1) * (1.25 / 49 + C2)),
        ),
        # Elsewhere: equal means, so that the first factor is 1; covariance -1/49^2 * 49/48.
        (((0, 0, 1.0), (6, 6, 1.0)), (C2 - 2 / 2352) / (C2 + 2 / 49)),
    ],
)
def test_ssim_of_a_single_window(pixels, expected):
    """Frames of 7x7, black but for a pixel each: (row, column, value)."""
    frames = np.zeros((2, 1, 1, 1, 7, 7), np.float32)
    for frame, (row, column, value) in zip(frames, pixels, strict=True):
        frame[..., row, column] = value
    assert ssim(*frames, 1.0).item() == pytest.approx(expected, abs=1e-12)
    # Range and frames scaled alike: the same number.
    assert ssim(*(frames * 2), 2.0).item() == pytest.approx(expected, abs=1e-12)


def corner_pair():
    """Black frames of 9x11, 3 x 5 windows, but for a pixel of the forecast in the first of them."""
    forecast, target = np.zeros((2, 1, 1, 1, 9, 11), np.float32)
    forecast[..., 0, 0] = 1
    return forecast, target


def test_no_window_crosses_the_border():
    """A pixel in the corner is in one window of 15; one in the middle, at (4, 5), is in all."""
    forecast, target = corner_pair()
    scores = frame_scores(forecast, target)
    expected = (14 + ONE_BRIGHT_PIXEL) / 15
    assert scores["ssim"].item() == pytest.approx(expected, abs=1e-12)
    assert scores["ssim_uint8"].item() == pytest.approx(expected, abs=1e-12)
    forecast[..., 0, 0], forecast[..., 4, 5] = 0, 1
    assert ssim(forecast, target, 1.0).item() == pytest.approx(ONE_BRIGHT_PIXEL, abs=1e-12)


def test_ssim_is_the_mean_over_channels():
    """A black channel, one with the bright corner and one of constants: as far apart as they go."""
    corner, black = corner_pair()
    forecast = np.concatenate([black, corner, black + 0.25], 2)
    target = np.concatenate([black, black, black + 0.75], 2)
    channels = [1, (14 + ONE_BRIGHT_PIXEL) / 15, 0.3751 / 0.6251]
    assert ssim(forecast, target, 1.0).item() == pytest.approx(np.mean(channels), abs=1e-12)


@pytest.mark.parametrize("shape", [(9, 11), (256, 257)])
def test_each_frame_has_its_own_ssim(shape):
    """2 sequences of 3 frames, told apart by their constants; large ones are shared by threads."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1, 1) / 8
    frames = np.broadcast_to(values, (2, 3, 1, *shape))
    there = np.ones(frames.shape, bool)
    there[1, 1] = there[1, 2, 0, 0, 0] = False
    expected = C1 / (np.arange(6).reshape(2, 3) ** 2 / 64 + C1)
    black = np.zeros_like(frames)
    np.testing.assert_allclose(ssim(frames, black, 1.0), expected, rtol=1e-9)
    expected[1, 1] = np.nan
    np.testing.assert_allclose(ssim(frames, black, 1.0, there), expected, rtol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_of_equal_frames_is_one(channels, rng):
    frames = rng.random((2, 3, channels, 9, 11), np.float32)
    scores = frame_scores(frames, frames)
    for name in ("ssim", "ssim_uint8", "ssim_range2"):
        np.testing.assert_allclose(scores[name], 1, atol=1e-12)


def ssim_by_definition(x, y, data_range):
    """The SSIM of each window of two frames, (C, H - 6, W - 6), as Wang et al. 2004 write it."""
    x, y = (sliding_window_view(np.float64(image), (7, 7), (-2, -1)) for image in (x, y))
    axes, (c1, c2) = (-2, -1), ((k * data_range) ** 2 for k in (0.01, 0.03))
    x_mean, y_mean = (windows.mean(axes, keepdims=True) for windows in (x, y))
    covariance = ((x - x_mean) * (y - y_mean)).sum(axes) / 48
    variances = x.var(axes, ddof=1) + y.var(axes, ddof=1)
    x_mean, y_mean = x_mean[..., 0, 0], y_mean[..., 0, 0]
    means = (2 * x_mean * y_mean + c1) / (x_mean**2 + y_mean**2 + c1)
    return means * (2 * covariance + c2) / (variances + c2)


KINDS = ("digits", "noise", "white and nearly white", "steps")


def pairs_of(kind, shape, rng, digits):
    """Pairs that are hard on a variance taken as a difference, (2, 3, C, H, W), in [0, 1]."""
    noise = rng.normal(0, 1e-3, (2, *shape))
    canvas = np.zeros((2, *shape))
    canvas[0, ..., 3:31, 2:30] = canvas[1, ..., 3:31, 3:31] = digits[7] / 255
    x, y = {
        "digits": canvas,
        "noise": rng.random((2, *shape)),
        "white and nearly white": 1 - np.abs(noise) * [[[[[[0]]]]], [[[[[1]]]]]],
        "steps": np.floor(np.linspace(0, 2.999, shape[-1])) / 3.1 + 0.01 + np.abs(noise),
    }[kind]
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
@pytest.mark.parametrize("shape", [(2, 3, 1, 33, 47), (1, 4, 3, 32, 31)])
@pytest.mark.parametrize("kind", KINDS)
def test_ssim_is_the_mean_of_its_definition(kind, shape, data_range, rng, digits):
    """Several frames and channels, whole and with missing pixels; uint8 where the range is 255."""
    x, y = pairs_of(kind, shape, rng, digits)
    if data_range == 255:
        x, y = np.uint8(x * 255), np.uint8(y * 255)
    there = rng.random(shape) > 0.01
    got, masked = ssim(x, y, data_range), ssim(x, y, data_range, there)
    assert got.shape == masked.shape == shape[:2]
    for b, t in np.ndindex(shape[:2]):
        windows = ssim_by_definition(x[b, t], y[b, t], data_range)
        assert got[b, t] == pytest.approx(windows.mean(), abs=1e-9)
        whole = sliding_window_view(there[b, t], (7, 7), (1, 2)).all((-2, -1))
        channels = [channel[w].mean() for channel, w in zip(windows, whole, strict=True)]
        assert masked[b, t] == pytest.approx(np.mean(channels), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_psnr_is_scikit_images(kind, rng, digits):
    forecast, target = pairs_of(kind, (2, 3, 1, 33, 47), rng, digits)
    scores = frame_scores(2 * forecast - 0.5, target)
    for b, t in np.ndindex(2, 3):
        clipped = np.float64(np.clip(2 * forecast[b, t] - 0.5, 0, 1))
        expected = peak_signal_noise_ratio(np.float64(target[b, t]), clipped, data_range=1)
        assert scores["psnr"][b, t] == pytest.approx(expected, abs=1e-6)


def test_hand_computed_frames():
    """A frame of 4 pixels off by 2, 1, 0 and -0.5: clipped, two of these errors shrink."""
    target = np.zeros((1, 1, 1, 8, 8), np.float32)
    target[..., 0, :4] = 0, 0, 0, 0.5
    prediction = target.copy()
    prediction[..., 0, :4] += 2, 1, 0, -1
    scores = frame_scores(prediction, target)
    assert scores["mse"].item() == 4 + 1 + 1
    assert scores["mae"].item() == 2 + 1 + 1
    assert scores["mse_clipped"].item() == 1 + 1 + 0.25
    assert scores["mae_clipped"].item() == 1 + 1 + 0.5
    assert scores["psnr"].item() == pytest.approx(10 * np.log10(64 / 2.25))


def test_uint8_targets_come_back_exactly():
    """k / 255 in float32, times 255, is k for every k: the uint8 SSIM sees the true target."""
    k = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(np.uint8(normalize(k) * 255), k)


def test_why_the_2022_ssim_is_not_comparable():
    """A slightly negative pixel cast to uint8 unclipped becomes nearly white."""
    assert np.array([-0.01 * 255]).astype(np.int64).astype(np.uint8).item() == 254
    scores = frame_scores(
        np.full((1, 1, 1, 8, 8), -0.01, np.float32), np.zeros((1, 1, 1, 8, 8), np.float32)
    )
    assert scores["ssim_uint8"].item() == 1


def test_means_over_sequences_then_frames(rng):
    """Any split into batches gives the same numbers."""
    prediction, target = rng.random((2, 5, 4, 2, 9, 9), np.float32)
    whole, parts = FrameMetrics(), FrameMetrics()
    whole.update(prediction, target)
    for part in (slice(0, 2), slice(2, 3), slice(3, 5)):
        parts.update(prediction[part], target[part])
    assert whole.sequences == parts.sequences == 5
    expected = ((prediction - target) ** 2).sum((2, 3, 4)).mean(0)
    np.testing.assert_allclose(whole.per_frame()["mse"], expected, rtol=1e-6)
    assert whole.means()["mse"] == pytest.approx(expected.mean(), rel=1e-6)
    for name in NAMES:
        np.testing.assert_allclose(parts.per_frame()[name], whole.per_frame()[name], rtol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 32])
def test_every_sequence_counts_once(batch_size):
    """10 sequences in batches that do not divide them."""
    config = make_config("small", {})
    source = evaluation_source(config, limit=10)
    frames = normalize(source[range(10)])
    image = mean_image(training_sources(config)[0])
    result = evaluate(baselines(10, image), source, batch_size, 10)
    assert {m.sequences for m in result.values()} == {10}
    targets, last = frames[:, 10:], frames[:, 9:10]
    for name, forecast in (("zeros", 0), ("mean_image", image), ("copy_last", last)):
        expected = ((targets - forecast) ** 2).sum((2, 3, 4)).mean()
        assert result[name].means()["mse"] == pytest.approx(expected, rel=1e-5)


def test_what_is_missing_counts_nothing(rng):
    """Other values under the mask, in forecast or target, change no score; by hand and beside
    the scores of the part where nothing is missing.
    """
    forecast, target = (rng.random((2, 3, 1, 12, 15), np.float32) for _ in range(2))
    weights = np.ones_like(target)
    weights[..., :4] = 0
    weights[1, 2] = 0
    changed = [np.where(weights > 0, x, np.float32(v)) for x, v in ((forecast, 7), (target, -3e8))]
    scores = frame_scores(forecast, target, weights)
    for name, other in frame_scores(*changed, weights).items():
        np.testing.assert_array_equal(scores[name], other)
        assert np.isnan(other[1, 2])
        assert np.isfinite(other[0]).all()
    part = frame_scores(forecast[..., 4:], target[..., 4:])
    for name in NAMES:
        np.testing.assert_allclose(scores[name][0], part[name][0], rtol=1e-6, atol=1e-9)
    metrics = FrameMetrics()
    metrics.update(forecast, target, weights)
    error = (forecast.astype(float) - target)[..., 4:] ** 2
    assert metrics.per_frame()["mse"][2] == pytest.approx(error[0, 2].sum())
    assert metrics.per_frame()["mse"][1] == pytest.approx(error[:, 1].sum() / 2)
    assert metrics.values_per_frame == 5 * 12 * 11 / 6


def test_windows_that_hold_something_missing():
    """9x11 with the bright corner: a pixel is in one window, in some columns of them, or in all."""
    forecast, target = corner_pair()

    def scores_without(*pixel):
        weights = np.ones_like(target)
        weights[(..., *pixel)] = 0
        return frame_scores(forecast, target, weights)

    # Missing in the corner, what differs is left out; in the opposite one, a window of zeros is.
    assert ssims(scores_without(0, 0), 0, 0) == pytest.approx([1, 1, 1], abs=1e-12)
    opposite = scores_without(8, 10)
    assert opposite["ssim"].item() == pytest.approx((13 + ONE_BRIGHT_PIXEL) / 14, abs=1e-12)
    assert opposite["ssim_uint8"].item() == pytest.approx((13 + ONE_BRIGHT_PIXEL) / 14, abs=1e-12)
    # Only the windows that begin in column 0 do not reach column 7: one in each of 3 rows.
    column = scores_without(slice(None), 7)
    assert column["ssim"].item() == pytest.approx((2 + ONE_BRIGHT_PIXEL) / 3, abs=1e-12)
    middle = scores_without(4, 5)
    assert np.isnan(ssims(middle, 0, 0)).all()
    assert np.isfinite(middle["psnr"].item())


def test_a_channel_without_a_whole_window_leaves_the_others_average():
    """The middle of the second channel is missing: the mean of the first and the third."""
    corner, black = corner_pair()
    forecast = np.concatenate([corner, corner, black + 0.25], 2)
    target = np.concatenate([black, black, black + 0.75], 2)
    weights = np.ones_like(target)
    weights[:, :, 1, 4, 5] = 0
    expected = ((14 + ONE_BRIGHT_PIXEL) / 15 + 0.3751 / 0.6251) / 2
    scores = frame_scores(forecast, target, weights)
    assert scores["ssim"].item() == pytest.approx(expected, abs=1e-12)


def test_a_frame_of_nothing_leaves_the_others_average(rng):
    metrics = FrameMetrics()
    forecast, target = (rng.random((2, 2, 1, 8, 8), np.float32) for _ in range(2))
    weights = np.zeros_like(target)
    weights[0, 0] = 1
    metrics.update(forecast, target, weights)
    assert metrics.per_frame()["mse"][0] == pytest.approx(((forecast - target)[0, 0] ** 2).sum())
    assert np.isnan(metrics.per_frame()["mse"][1])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_forecast_that_is_not_finite_does_not_vanish(rng, broken):
    """One value of the first frame: no average of it is defined, those of the second are as
    without it; under the mask it changes nothing. Two ranks count it as well.
    """
    forecast, target = (rng.random((2, 2, 1, 8, 8), np.float32) for _ in range(2))
    weights = np.ones_like(target)
    weights[0, :, :, 0, 0] = 0
    good, masked, bad = FrameMetrics(), FrameMetrics(), FrameMetrics()
    good.update(forecast, target, weights)
    forecast[0, 0, 0, 0, 0] = broken
    masked.update(forecast, target, weights)
    forecast[1, 0, 0, 0, 0] = broken
    bad.update(forecast, target, weights)
    assert masked.per_frame() == good.per_frame()
    for name, (first, second) in bad.per_frame().items():
        assert np.isnan(first)
        assert second == good.per_frame()[name][1]
        assert np.isnan(bad.means()[name])
    assert masked.non_finite.tolist() == [0, 0]
    bad.merge(TwoAlike(), 2)
    assert bad.non_finite.tolist() == [2, 0]
    assert np.isnan(bad.per_frame()["ssim_uint8"][0])


def test_only_the_metrics_that_are_named(rng):
    """Fewer names, in another order: the same numbers, and two ranks still add up."""
    forecast, target = rng.random((2, 3, 4, 1, 9, 11), np.float32)
    names = ("ssim", "mse")
    every, some = FrameMetrics(), FrameMetrics(names)
    for metrics in (every, some):
        metrics.update(forecast, target)
    assert tuple(every.means()) == NAMES
    assert tuple(some.means()) == names
    assert some.per_frame() == {name: every.per_frame()[name] for name in names}
    alone = some.per_frame()
    some.merge(TwoAlike(), 4)
    assert some.sequences == 6
    assert some.per_frame() == alone


class TwoAlike(Ranks):
    """Two ranks that have measured the same."""

    def gather(self, values):
        return np.repeat(super().gather(values), 2, 0)


def test_a_network_is_measured_by_the_metrics_that_are_named():
    """A network that repeats its input, in batches that do not divide the sequences."""
    config = make_config("small", {"batch_size": 4})
    source = evaluation_source(config, limit=6)
    metrics = evaluate_network(lambda x: x, source, config, "validate", names=("mse", "ssim"))
    assert metrics.sequences == 6
    frames = normalize(source[range(6)])
    expected = ((frames[:, :10] - frames[:, 10:]) ** 2).sum((2, 3, 4)).mean()
    similarity = ssim(frames[:, :10], frames[:, 10:], 1.0).mean()
    assert metrics.means() == pytest.approx({"mse": expected, "ssim": similarity}, rel=1e-5)
