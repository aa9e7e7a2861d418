"""Tiles: which part of a sequence a training reads, with missing values and padding."""

import numpy as np
import pytest

from src.config.presets import make_config
from src.config.schema import Config
from src.data.normalizer import Normalizer
from src.data.pipeline import make_dataset
from src.data.sequences import OwnSequences
from src.data.sources import evaluation_source, training_sources
from src.data.tiles import Tiles
from src.errors import InputError
from src.tools.new_run import resolve_dataset

# Each value says where it is: 10,000 n + 1,000 t + 20 y + x, of 8 sequences, 3 frames, 14 x 15.
N, T, HEIGHT, WIDTH = 8, 3, 14, 15
PLACES = (
    10_000 * np.arange(N).reshape(-1, 1, 1, 1, 1)
    + 1_000 * np.arange(T).reshape(-1, 1, 1, 1)
    + 20 * np.arange(HEIGHT).reshape(-1, 1)
    + np.arange(WIDTH)
).astype(np.float32)


def tiles_of(array=PLACES, tile=(8, 4), seed=1, **normalizer):
    """Tiles of sequences that come in the order of the array."""
    normalizer = Normalizer((0.0, 1e5), frame_size=array.shape[3:], **normalizer)
    source = OwnSequences(array, np.arange(len(array)), array.shape[1], normalizer, "a test")
    return Tiles(source, tile, seed)


def corners(tiles):
    """The (row, column) of the first pixel of each tile."""
    first = tiles[:, 0, 0, 0, 0] % 1_000
    return [divmod(int(place), 20) for place in first]


def test_a_tile_is_the_same_part_of_all_frames():
    tiles = tiles_of()[range(N)]
    assert tiles.shape == (N, T, 1, 8, 4)
    for n, (y, x) in enumerate(corners(tiles)):
        np.testing.assert_array_equal(tiles[n], PLACES[n, :, :, y : y + 8, x : x + 4])


def test_places_reach_the_whole_frame():
    """All 7 rows and 12 columns where a tile of 8 x 4 may begin, none more often than chance."""
    source = tiles_of()
    found = np.array([c for e in range(100) for c in corners(source.at_epoch(e)[range(N)])])
    for axis, count in ((0, HEIGHT - 8 + 1), (1, WIDTH - 4 + 1)):
        numbers = np.bincount(found[:, axis], minlength=count)
        assert len(numbers) == count
        expected = 100 * N / count
        assert np.abs(numbers - expected).max() < 5 * np.sqrt(expected)


def test_a_place_depends_on_seed_epoch_and_index_alone():
    source = tiles_of()
    whole = source.at_epoch(3)[range(N)]
    np.testing.assert_array_equal(tiles_of().at_epoch(3)[[6, 2]], whole[[6, 2]])
    others = source.at_epoch(4)[range(N)], tiles_of(seed=2).at_epoch(3)[range(N)]
    assert corners(whole) not in [corners(other) for other in others]
    assert len(set(corners(whole))) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_workers_and_shards(workers):
    steps = range(1, 6)
    expected = [tiles_of().at_epoch(s // 2)[range(4 * (s % 2), 4 * (s % 2) + 4)] for s in steps]
    for shard in range(2):
        shards = {"num_shards": 2, "shard_id": shard, "num_parallel_workers": workers}
        dataset = make_dataset(tiles_of(), 2, 2, steps=steps, **shards)
        batches = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for tiles, (inputs, targets) in zip(expected, batches, strict=True):
            part = tiles[2 * shard : 2 * shard + 2] / np.float32(1e5)
            np.testing.assert_allclose(inputs, part[:, :2], rtol=1e-6)
            np.testing.assert_allclose(targets, part[:, 2:], rtol=1e-6)


def test_a_tile_without_a_value_is_drawn_again():
    """One pixel of two hundred has values: most places are without."""
    array = np.full_like(PLACES, np.nan)
    array[:, 2, :, 9, 7] = 5
    source = tiles_of(array, (8, 8), fill=0.0)
    assert all(np.isfinite(source.at_epoch(e)[range(N)]).any((1, 2, 3, 4)).all() for e in range(5))


def test_a_sequence_without_a_value_gives_a_tile_that_does_not_count():
    source = tiles_of(np.full_like(PLACES, np.nan), fill=7.0)
    tiles = source[[0]]
    assert not source.normalizer.mask(tiles).any()
    np.testing.assert_allclose(source.normalizer.normalize(tiles), 7e-5, rtol=1e-6)


def test_a_tile_as_long_as_the_padded_frame():
    """16 rows are the frame's 14 and two that are padded; 8 columns need no padding."""
    source = tiles_of(tile=(16, 8), size_multiple=4)
    tiles = source[range(N)]
    assert tiles.shape[3:] == (14, 8)
    assert {y for y, _ in corners(tiles)} == {0}
    frames, mask = source.normalizer.normalize(tiles), source.normalizer.mask(tiles)
    assert frames.shape[3:] == mask.shape[3:] == (16, 8)
    assert mask[..., :14, :].all()
    assert not mask[..., 14:, :].any()
    assert not tiles_of(tile=(12, 8), size_multiple=4).normalizer.has_mask


def config_of(folder, **options):
    """The configuration of a run on a file of the sequences."""
    np.save(folder / "own.npy", PLACES)
    options = {"dataset": str(folder / "own.npy"), "value_range": (0.0, 1e5), "batch_size": 2,
               "input_frames": 2, "forecast_frames": 1, "pad": True, **options}  # fmt: skip
    return make_config("small", resolve_dataset(options)[0])


def test_only_the_training_reads_tiles(tmp_path):
    config = config_of(tmp_path, tile=(8, 12))
    train, validation = training_sources(config)
    assert train.shape == (3, 1, 8, 12)
    assert validation.shape == evaluation_source(config).shape == (3, 1, HEIGHT, WIDTH)
    assert train.name.endswith("random tiles of 8x12")
    assert (config.training_size, config.network_size) == ((8, 12), (16, 16))
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(("batch_size", "expected"), [(1, 1), (2, 1), (6, 3)])
def test_whole_frames_of_a_validation_have_the_pixels_of_a_batch_of_tiles(
    tmp_path, batch_size, expected
):
    """8 x 16 of 16 x 16 pixels."""
    config = config_of(tmp_path, tile=(8, 16), batch_size=batch_size)
    assert config.eval_batch_size == expected
    assert config_of(tmp_path, batch_size=batch_size).eval_batch_size == batch_size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": (8, 10)}, "tile is 8 10: this network needs multiples of 4, 8 8 for example"),
        ({"tile": (2, 8)}, "tile is 2 8: .* multiples of 4, 4 8 for example"),
        ({"tile": (20, 8)}, "tile is 20 8: it must be at most a frame, 16 16, padded"),
        ({"tile": (8,)}, "tile is .*: it must hold 2 values"),
        ({"tile": (0, 8)}, "tile is 0: it must be at least 1"),
    ],
)
def test_wrong_tiles(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        config_of(tmp_path, **options)


def test_digits_have_no_tiles():
    with pytest.raises(InputError, match=r"tile is \(32, 32\): it can be set only with --dataset"):
        make_config("small", {"tile": (32, 32)})
