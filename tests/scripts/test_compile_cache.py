"""Compiled graphs are kept, and what comes from the cache trains as what was compiled."""

import re

from src import checkpoint
from src.config.presets import make_config
from src.runtime import compile_cache
from tests.scripts.conftest import TINY, run


def train(folder, cache, *flags):
    """A run's weights, its seconds of compiling, and whether the graph was in the cache."""
    result = run(
        "train.py", "--train_path", folder, "--epochs", 1, "--batch_size", 2,
        "--compile_cache", cache, *TINY, *flags,
    )  # fmt: skip
    seconds, origin = re.search(r"compiled in ([0-9.]+) s(.*)", result.stdout).groups()
    weights = {k: v.tobytes() for k, v in checkpoint.load(folder / "last.ckpt").weights.items()}
    return weights, float(seconds), origin == ", from the cache"


def test_a_cached_graph_trains_the_same_bits_three_times_sooner(tmp_path):
    """With other weights, data and rate than it was compiled with."""
    cache = tmp_path / "graphs"
    other = ("--seed", 2, "--learning_rate", "1e-3")
    _, cold, found = train(tmp_path / "1", cache)
    assert not found
    weights, warm, found = train(tmp_path / "2", cache, *other)
    assert found
    assert warm * 3 <= cold
    assert train(tmp_path / "3", "off", *other)[0] == weights

    (graph,) = cache.rglob("*.mindir")
    graph.chmod(0o600)
    graph.write_bytes(graph.read_bytes()[:-100])
    again, _, found = train(tmp_path / "4", cache, *other)
    assert not found
    assert again == weights


def test_other_settings_are_another_graph(tmp_path):
    cache = tmp_path / "graphs"
    train(tmp_path / "1", cache)
    for flags in (("--grad_clip", "0.5"), ("--forecast_frames", 2)):
        assert not train(tmp_path / flags[0], cache, *flags)[2]


def test_the_scale_is_part_of_a_weighted_graph():
    """The thresholds of loss_weights are in the graph in the network's units."""
    options = {"dataset": "rain.npy", "dataset_crc": 1, "loss": "mse", "value_range": (0.0, 60.0)}
    for weights, same in ((None, True), (((2.0, 2.0),), False)):
        options["loss_weights"] = weights
        keys = [
            compile_cache.key_of(
                make_config("small", options | {"value_range": value_range}).graph_settings(1)
            )
            for value_range in ((0.0, 60.0), (0.0, 30.0))
        ]
        assert (keys[0] == keys[1]) is same


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("train.py", "--compile_cache", tmp_path / "file", *TINY, expect=2)
    assert "compile_cache is" in result.stderr
    assert len(result.stderr.splitlines()) == 1
