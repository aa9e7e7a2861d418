"""Own sequences: the split, the epochs, and which file they may come from."""

import numpy as np
import pytest

from src.config.presets import make_config
from src.data.normalizer import Normalizer
from src.data.sequences import OwnSequences
from src.data.sources import evaluation_source, mean_image_source, training_sources
from src.data.splits import SPLITS, Split
from src.errors import InputError
from src.evaluation.verification import mean_image
from src.tools.new_run import resolve_dataset

FRAMES = {"input_frames": 2, "forecast_frames": 1}


@pytest.fixture
def path(tmp_path, rng):
    """20 sequences of 4 frames of 8x12 pixels and two channels, from 200 to 300."""
    array = rng.uniform(200, 300, (20, 4, 2, 8, 12)).astype(np.float32)
    np.save(tmp_path / "own.npy", array)
    return str(tmp_path / "own.npy")


def config_of(path, **options):
    options = {**FRAMES, "dataset": path, "value_range": (200.0, 300.0), "batch_size": 4} | options
    return make_config("small", resolve_dataset(options)[0])


@pytest.mark.parametrize(
    ("count", "held_out", "sizes"),
    [(100, 0.1, (80, 10, 10)), (3, 0.1, (1, 1, 1)), (4, 0.45, (2, 1, 1)), (7, 0.45, (1, 3, 3))],
)
def test_every_sequence_is_in_one_part(count, held_out, sizes):
    parts = [Split(held_out, 5).indices(count, part) for part in SPLITS]
    assert tuple(map(len, parts)) == sizes
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(count))


def test_the_split_goes_by_its_seed():
    one, same, other = (Split(0.1, seed).indices(100, "test") for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)


def test_parts_hold_the_files_frames(path):
    """The first input_frames + forecast_frames of each, and the seed of a run changes no part."""
    array, config = np.load(path), config_of(path)
    train, validation = training_sources(config)
    test = evaluation_source(config)
    held = [source[range(len(source))] for source in (train, validation, test)]
    assert [len(frames) for frames in held] == [16, 2, 2]
    together = np.concatenate(held)
    order = np.argsort(together[:, 0, 0, 0, 0])
    expected = array[np.argsort(array[:, 0, 0, 0, 0]), :3]
    np.testing.assert_array_equal(together[order], expected)
    other = evaluation_source(config_of(path, seed=9))
    np.testing.assert_array_equal(other[[0, 1]], test[[0, 1]])
    assert "test split (2 of 20 sequences, split_seed 0, the first 3 of 4 frames)" in test.name


def test_epochs_are_permutations():
    """Every epoch holds every sequence once, in another order; also where it is no whole pass."""
    array = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1, 1)
    source = OwnSequences(array, np.array([5, 1, 3, 2]), 1, Normalizer((0.0, 1.0)), "x", seed=1)
    epochs = [source.at_epoch(epoch)[range(4)].ravel().tolist() for epoch in range(8)]
    assert all(sorted(epoch) == [1, 2, 3, 5] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 2
    long = OwnSequences(array, source.indices, 1, Normalizer((0.0, 1.0)), "x", size=6, seed=1)
    seen = [
        value for epoch in range(2) for value in long.at_epoch(epoch)[range(6)].ravel().tolist()
    ]
    assert seen == sum(epochs[:3], [])


def test_the_file_decides_frames_and_epoch(path):
    config = config_of(path)
    assert config.data.image_size == (8, 12)
    assert config.model.channels == 2
    assert config.data.epoch_size == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_range": None}, "needs --value_range LOW HIGH"),
        ({"value_range": (300.0, 200.0)}, "value_range is 300 200"),
        ({"image_size": (64, 64)}, "has frames of 8x12, and image_size is 64 64; leave"),
        ({"data_path": "digits"}, "data_path is given too, which is for digits"),
        ({"held_out": 0.5}, "held_out is 0.5: it must be at most 0.45"),
    ],
)
def test_wrong_settings(path, options, message):
    with pytest.raises(InputError, match=message):
        config_of(path, **options)


def test_settings_of_a_dataset_without_one():
    with pytest.raises(InputError, match=r"value_range is \(0.0, 1.0\): it can be set only with"):
        make_config("small", {"value_range": (0.0, 1.0)})
    with pytest.raises(InputError, match="image_size is 28 64: moving digits need more than 28"):
        make_config("small", {"image_size": (28, 64)})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((20, 4, 10, 13), "frames of 10x13, .* of 4: crop them to 8x12 or pad them to 12x16"),
        ((2, 4, 8, 8), "holds 2 sequences; at least 3"),
        ((20, 2, 8, 8), "has 2 frames a sequence; input_frames 2 and forecast_frames 1 need 3"),
        ((20, 4, 4, 8), "image_size is 4: it must be at least 7"),
    ],
)  # fmt: skip
def test_files_that_do_not_do(tmp_path, shape, message):
    np.save(tmp_path / "x.npy", np.full(shape, 250.0))
    with pytest.raises(InputError, match=message):
        training_sources(config_of(str(tmp_path / "x.npy")))


def test_values_that_do_not_do(path):
    with pytest.raises(InputError, match="beyond value_range 200 250: widen"):
        training_sources(config_of(path, value_range=(200.0, 250.0)))
    array = np.load(path)
    array[7, 3, 0, 1, 2] = np.nan
    np.save(path, array)
    with pytest.raises(
        InputError, match=r"own.npy: 1 values .* sequence 7, frame 3, .* row 1, col"
    ):
        training_sources(config_of(path))


def test_another_file_in_its_place(path):
    """Its test split may have been trained on; as a file that is named it is all measured."""
    config, array = config_of(path), np.load(path)
    np.save(path, array[::-1])
    with pytest.raises(InputError, match="is another file than the run began with"):
        training_sources(config)
    with pytest.raises(InputError, match="no longer the file that the checkpoint was trained on"):
        evaluation_source(config)
    assert len(evaluation_source(config, dataset=path)) == 20
    assert mean_image_source(config, dataset=path) is None


def test_the_same_file_elsewhere(path, tmp_path):
    """The test split is the same; the mean image is that of the training split."""
    config, array = config_of(path), np.load(path)
    np.savez(tmp_path / "moved.npz", array)
    moved = str(tmp_path / "moved.npz")
    np.testing.assert_array_equal(
        evaluation_source(config, dataset=moved)[[1]], evaluation_source(config)[[1]]
    )
    train = array[Split(0.1, 0).indices(20, "train"), :3]
    image = mean_image(mean_image_source(config, dataset=moved))
    np.testing.assert_allclose(image, (train.mean((0, 1)) - 200) / 100, atol=1e-4)
    with pytest.raises(InputError, match="was trained on with value_range 200 300"):
        evaluation_source(config, dataset=moved, value_range=(0.0, 1.0))


def test_a_doubtful_scale_is_a_warning(path, capsys):
    digits = make_config("small", FRAMES)
    grey = np.load(path)[:, :, :1] / 300
    np.save(path, grey)
    evaluation_source(digits, dataset=path, value_range=(0.0, 1.0))
    assert not capsys.readouterr().err
    evaluation_source(digits, dataset=path, value_range=(0.0, 255.0))
    assert "only, value_range is 0 255; is that right?" in capsys.readouterr().err
    with pytest.raises(InputError, match="has 1 channels, and the network reads 2"):
        evaluation_source(config_of_two_channels(path), dataset=path)


def config_of_two_channels(path):
    """A configuration of a file like `path` was before it turned grey."""
    np.save(path + ".two.npy", np.repeat(np.load(path), 2, 2))
    return config_of(path + ".two.npy", value_range=(0.0, 1.0))
