"""Frames as the network reads them, and back: scale and transform, missing values, padding."""

import dataclasses

import numpy as np
import pytest

from src.config.presets import make_config
from src.data.normalizer import (
    Normalizer,
    check_value_range,
    denormalize,
    make_normalizer,
    normalize,
)
from src.data.pipeline import make_dataset
from src.data.sequences import OwnSequences
from src.errors import InputError
from src.evaluation.evaluate import evaluate
from src.evaluation.verification import mean_image

RAIN = np.array([[0.0, 0.03, 0.1, 1.0, 10.0, 100.0]])


def test_dbz_by_hand():
    """Z = 200 R^1.6: 1 mm/h is 23.01 dBZ, 10 mm/h 39.01; 0 and 0.03 mm/h count as 0 dBZ."""
    dbz = normalize(RAIN, (0.0, 100.0), "dbz") * (10 * np.log10(200 * 100**1.6))
    np.testing.assert_allclose(dbz, [[0, 0, 7.0103, 23.0103, 39.0103, 55.0103]], atol=1e-4)
    back = denormalize(normalize(RAIN, (0.0, 100.0), "dbz"), (0.0, 100.0), "dbz")
    np.testing.assert_allclose(back, [[0, 0, 0.1, 1, 10, 100]], rtol=1e-5)
    assert denormalize(np.float32([-0.2]), (0.0, 100.0), "dbz") == 0
    assert np.isnan(denormalize(np.float32([np.nan]), (0.0, 100.0), "dbz"))


def test_log_by_hand():
    """From 0.01 to 100: 1 is in the middle; 0 counts as 0.01."""
    values = np.array([[0.0, 0.01, 1.0, 100.0]])
    scaled = normalize(values, (0.01, 100.0), "log")
    np.testing.assert_allclose(scaled, [[0, 0, 0.5, 1]], atol=1e-6)
    back = denormalize(scaled, (0.01, 100.0), "log")
    np.testing.assert_allclose(back, [[0.01, 0.01, 1, 100]], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("transform", ["none", "log", "dbz"])
def test_the_way_there_and_back(rng, dtype, transform):
    values = rng.integers(1, 200, (2, 3, 1, 8, 8)).astype(dtype)
    normalizer = Normalizer((0.5, 250.0), transform, frame_size=(8, 8))
    back = normalizer.denormalize(normalizer.normalize(values), values)
    np.testing.assert_allclose(back, values, rtol=2e-5)


@pytest.mark.parametrize(
    ("value_range", "transform"), [((0.0, 9.0), "log"), ((-1.0, 9.0), "dbz"), ((0.0, 0.03), "dbz")]
)
def test_ranges_that_a_transform_cannot_have(value_range, transform):
    with pytest.raises(InputError, match=f"transform {transform} needs"):
        check_value_range(value_range, "x.nc", transform)


def test_padding_by_reflection(rng):
    """6x9 in fours: two rows below and three columns to the right, which weigh nothing."""
    frames = rng.random((2, 3, 1, 6, 9), np.float32)
    normalizer = Normalizer((0.0, 1.0), frame_size=(6, 9), size_multiple=4)
    padded = normalizer.normalize(frames)
    assert padded.shape == (2, 3, 1, 8, 12)
    np.testing.assert_array_equal(padded[..., 6:, :9], frames[..., [4, 3], :])
    np.testing.assert_array_equal(padded[..., :6, 9:], frames[..., [7, 6, 5]])
    np.testing.assert_array_equal(normalizer.crop(padded), frames)
    weights = normalizer.mask(frames)
    assert weights.sum() == frames.size
    assert normalizer.crop(weights).min() == 1
    assert not Normalizer(frame_size=(8, 12), size_multiple=4).has_mask


def test_missing_values(rng):
    """Filled by one value, weighed 0, and missing in the forecast where no input has a value."""
    frames = rng.random((1, 3, 1, 6, 9), np.float32)
    frames[:, :, :, 2, 3] = np.nan
    frames[:, 1, :, 5, 5] = np.nan
    normalizer = Normalizer((0.0, 2.0), fill=0.5, frame_size=(6, 9), size_multiple=4)
    read = normalizer.normalize(frames)
    assert np.isfinite(read).all()
    assert (read[0, :, 0, 2, 3] == 0.25).all()
    np.testing.assert_array_equal(normalizer.crop(normalizer.mask(frames)), np.isfinite(frames))
    forecast = normalizer.denormalize(np.ones((1, 2, 1, 8, 12), np.float32), frames)
    expected = np.full((1, 2, 1, 6, 9), 2, np.float32)
    expected[:, :, :, 2, 3] = np.nan
    np.testing.assert_array_equal(forecast, expected)


@pytest.mark.parametrize(
    ("transform", "trained", "given", "convert"),
    [
        ("none", (-20.0, 40.0), (253.15, 313.15), lambda x: x + 273.15),
        ("none", (0.0, 100.0), (0.0, 0.1), lambda x: x / 1000),
        ("log", (0.1, 50.0), (0.01, 5.0), lambda x: x / 10),
    ],
)
def test_missing_values_in_other_units(rng, transform, trained, given, convert):
    """The network reads the number that it was trained with: degC and K, mm and m."""
    frames = rng.uniform(max(trained[0], 1), trained[1], (1, 3, 1, 8, 8))
    frames[:, :, :, 2, 3] = np.nan
    config = make_config("small", {"image_size": (32, 32)})
    data = dataclasses.replace(config.data, dataset="x", dataset_crc=0, value_range=trained,
        transform=transform, missing="mask", fill=12.5)  # fmt: skip
    config = dataclasses.replace(config, data=data)
    own, other = (make_normalizer(config, (8, 8), scale) for scale in (None, given))
    assert own.fill == 12.5
    assert other.fill == pytest.approx(convert(12.5), rel=1e-5)
    np.testing.assert_allclose(
        other.normalize(convert(frames)), own.normalize(frames), rtol=0, atol=1e-5
    )


def source_of(frames, **changes):
    normalizer = Normalizer((0.0, 1.0), fill=0.5, frame_size=frames.shape[3:], size_multiple=4)
    normalizer = dataclasses.replace(normalizer, **changes)
    return OwnSequences(frames, np.arange(len(frames)), frames.shape[1], normalizer, "x")


def test_a_dataset_with_weights(rng):
    """A third column, of all frames; targets are clipped to train, and as they are to measure."""
    frames = rng.random((4, 5, 1, 9, 10), np.float32) * 2
    frames[:, :, :, :2, :3] = np.nan
    source = source_of(frames, clips=True)
    for exact in (False, True):
        dataset = make_dataset(source, 2, 3, keep_all=exact)
        inputs, targets, weights = next(dataset.create_tuple_iterator(output_numpy=True))
        assert [x.shape[1:] for x in (inputs, targets, weights)] == [
            (3, 1, 12, 12), (2, 1, 12, 12), (5, 1, 12, 12)
        ]  # fmt: skip
        there = weights[..., :9, :10] == 1
        np.testing.assert_array_equal(there, np.isfinite(frames[:2]))
        assert inputs.max() == 1
        assert (targets.max() > 1) == exact


def test_scores_are_inside_the_crop_and_beside_the_mask(rng):
    """A forecaster that is 0.1 off everywhere but under mask and padding, where it is 9 off."""
    frames = rng.random((3, 4, 1, 10, 13), np.float32)
    frames[:, :, :, 8:, :5] = np.nan
    source = source_of(frames)

    def forecaster(inputs):
        n = len(inputs)
        target = source.normalizer.normalize(frames[forecaster.seen : forecaster.seen + n, 2:])
        weights = source.normalizer.mask(frames[forecaster.seen : forecaster.seen + n, 2:])
        forecaster.seen += n
        return target + np.where(weights > 0, np.float32(0.1), np.float32(9))

    forecaster.seen = 0
    metrics = evaluate({"model": forecaster}, source, 1, 2)["model"]
    assert metrics.values_per_frame == 120
    np.testing.assert_allclose(metrics.per_frame()["mse"], [1.2, 1.2], rtol=1e-4)
    np.testing.assert_allclose(metrics.per_frame()["mae"], [12, 12], rtol=1e-4)


def test_mean_image_of_what_is_there(rng):
    frames = rng.random((3, 4, 1, 8, 8), np.float32)
    frames[0, :, :, 2, 3] = np.nan
    frames[:, :, :, 0, 0] = np.nan
    image = mean_image(source_of(frames))
    expected = np.nanmean(frames[:, :, 0, 2, 3])
    assert image[0, 2, 3] == pytest.approx(expected, rel=1e-5)
    assert image[0, 0, 0] == pytest.approx(0.5, rel=1e-5)
