"""The metrics against scikit-image, hand-computed frames and the trivial forecasts."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from src.config.presets import make_config
from src.data.normalizer import to_unit_range
from src.data.sources import evaluation_source, training_sources
from src.evaluation.evaluate import baselines, evaluate, mean_image
from src.evaluation.metrics import NAMES, FrameMetrics, frame_scores, ssim


def frames_of(kind, shape, rng, digits):
    """Pairs of prediction and target, (2, 3, 1, H, W)."""
    if kind == "random":
        return rng.normal(0.5, 0.5, (2, 3, 1, *shape)), rng.random((2, 3, 1, *shape))
    if kind == "constant":
        return np.full((2, 3, 1, *shape), 0.25), np.full((2, 3, 1, *shape), 0.75)
    canvas = np.zeros((2, 3, 1, *shape))
    canvas[..., 3:31, 2:30] = digits[:6].reshape(2, 3, 1, 28, 28) / 255
    return np.roll(canvas, 1, axis=-1), canvas


@pytest.mark.parametrize("shape", [(64, 64), (33, 47)])
@pytest.mark.parametrize("kind", ["random", "constant", "real"])
def test_ssim_and_psnr_are_scikit_images(kind, shape, rng, digits):
    prediction, target = frames_of(kind, shape, rng, digits)
    prediction, target = prediction.astype(np.float32), target.astype(np.float32)
    scores = frame_scores(prediction, target)
    for b, t in np.ndindex(2, 3):
        x, y = np.float64(np.clip(prediction[b, t, 0], 0, 1)), np.float64(target[b, t, 0])
        for name, data_range in (("ssim", 1.0), ("ssim_range2", 2.0)):
            expected = structural_similarity(x, y, data_range=data_range)
            assert scores[name][b, t] == pytest.approx(expected, abs=1e-6)
        x8, y8 = np.uint8(np.float32(x) * 255), np.uint8(np.float32(y) * 255)
        expected = structural_similarity(x8, y8, data_range=255)
        assert scores["ssim_uint8"][b, t] == pytest.approx(expected, abs=1e-6)
        expected = peak_signal_noise_ratio(y, x, data_range=1)
        assert scores["psnr"][b, t] == pytest.approx(expected, abs=1e-6)


def pairs_of(kind, shape, rng):
    """Pairs that are hard on a variance taken as a difference, (2, 3, C, H, W), in [0, 1]."""
    noise = rng.normal(0, 1e-3, (2, *shape))
    x, y = {
        "noise": rng.random((2, *shape)),
        "black": np.zeros((2, *shape)),
        "white and nearly white": 1 - np.abs(noise) * [[[[[[0]]]]], [[[[[1]]]]]],
        "constant": np.broadcast_to(np.reshape([0.9, 0.013], (2, 1, 1, 1, 1, 1)), (2, *shape)),
        "steps": np.floor(np.linspace(0, 2.999, shape[-1])) / 3.1 + 0.01 + np.abs(noise),
    }[kind]
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
@pytest.mark.parametrize("shape", [(2, 3, 1, 64, 64), (2, 3, 2, 9, 31), (1, 40, 3, 20, 7)])
@pytest.mark.parametrize("kind", ["noise", "black", "white and nearly white", "constant", "steps"])
def test_ssim_is_scikit_images(kind, shape, data_range, rng):
    """Several channels and chunks, oblong frames; uint8 where the range is 255."""
    x, y = pairs_of(kind, shape, rng)
    if data_range == 255:
        x, y = np.uint8(x * 255), np.uint8(y * 255)
    got = ssim(x, y, data_range)
    assert got.shape == shape[:2]
    for b, t in np.ndindex(shape[:2]):
        frames = x[b, t].astype(np.float64), y[b, t].astype(np.float64)
        expected = structural_similarity(*frames, data_range=data_range, channel_axis=0)
        assert got[b, t] == pytest.approx(expected, abs=1e-9)


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
    np.testing.assert_array_equal(np.uint8(to_unit_range(k) * 255), k)


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
    frames = to_unit_range(source.frames(range(10)))
    image = mean_image(training_sources(config)[0])
    result = evaluate(baselines(10, image), source, batch_size, 10)
    assert {m.sequences for m in result.values()} == {10}
    targets, last = frames[:, 10:], frames[:, 9:10]
    for name, forecast in (("zeros", 0), ("mean_image", image), ("copy_last", last)):
        expected = ((targets - forecast) ** 2).sum((2, 3, 4)).mean()
        assert result[name].means()["mse"] == pytest.approx(expected, rel=1e-5)


def test_what_is_missing_counts_nothing(rng):
    """Other values under the mask, in forecast or target, change no score; by hand and beside
    scikit-image on the part where nothing is missing.
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


def test_windows_that_hold_something_missing(rng):
    """One pixel in the middle of 9x9: only the windows that it is not in are left, none of 7x7."""
    forecast, target = (rng.random((1, 1, 1, 9, 9), np.float32) for _ in range(2))
    weights = np.ones_like(target)
    weights[..., 4, 4] = 0
    scores = frame_scores(forecast, target, weights)
    assert np.isnan(scores["ssim"][0, 0])
    assert np.isfinite(scores["psnr"][0, 0])
    weights[..., 4, 4], weights[..., 0, 0] = 1, 0
    got = frame_scores(forecast, target, weights)["ssim"][0, 0]
    windows = [(y, x) for y in range(3) for x in range(3) if (y, x) != (0, 0)]
    cut = [tuple(f[0, 0, 0, y : y + 7, x : x + 7] for f in (forecast, target)) for y, x in windows]
    expected = [structural_similarity(a, b, data_range=1.0) for a, b in cut]
    assert got == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_frame_of_nothing_leaves_the_others_average(rng):
    metrics = FrameMetrics()
    forecast, target = (rng.random((2, 2, 1, 8, 8), np.float32) for _ in range(2))
    weights = np.zeros_like(target)
    weights[0, 0] = 1
    metrics.update(forecast, target, weights)
    assert metrics.per_frame()["mse"][0] == pytest.approx(((forecast - target)[0, 0] ** 2).sum())
    assert np.isnan(metrics.per_frame()["mse"][1])
