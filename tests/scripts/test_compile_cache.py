"""Compiled graphs are kept, and what comes from the cache trains as what was compiled."""

import re
import shutil

import pytest

from src import checkpoint
from src.config.presets import make_config
from src.runtime import compile_cache
from tests.scripts.conftest import FEW, run, run_here


def train(folder, cache, start, *flags):
    """A run's weights, its seconds of compiling, and whether the graph was in the cache."""
    result = run(
        "train.py", "--train_path", folder, "--epochs", 1, "--batch_size", 2,
        "--compile_cache", cache, "--pretrained_model", start, *FEW, *flags,
    )  # fmt: skip
    seconds, origin = re.search(r"compiled in ([0-9.]+) s(.*)", result.stdout).groups()
    weights = {k: v.tobytes() for k, v in checkpoint.load(folder / "last.ckpt").weights.items()}
    return weights, float(seconds), origin == ", from the cache"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory, one_stage):
    """A cache with the graphs of a run, and the seconds that they took to compile."""
    folder = tmp_path_factory.mktemp("cache")
    _, seconds, found = train(folder / "run", folder / "graphs", one_stage)
    assert not found
    return folder / "graphs", seconds


def test_a_cached_graph_trains_the_same_bits_three_times_sooner(compiled, tmp_path):
    """With other weights, data and rate than it was compiled with; a damaged one is not used."""
    cache = shutil.copytree(compiled[0], tmp_path / "graphs")
    trained = compiled[0].parent / "run" / "last.ckpt"
    other = (trained, "--seed", 2, "--learning_rate", "1e-3")
    weights, seconds, found = train(tmp_path / "1", cache, *other)
    assert found
    assert seconds * 3 <= compiled[1]

    _, graph = sorted(cache.rglob("*.mindir"))  # of training and validation
    graph.chmod(0o600)
    graph.write_bytes(graph.read_bytes()[:-100])
    again, _, found = train(tmp_path / "2", cache, *other)
    assert not found
    assert again == weights


def key_of(**options):
    """The name in a cache of the graph of some settings."""
    return compile_cache.key_of(make_config("small", options).graph_settings(1))


def test_other_settings_are_another_graph():
    keys = {key_of(), key_of(grad_clip=0.5), key_of(forecast_frames=2)}
    assert len(keys) == 3


def test_another_script_has_graphs_of_its_own(monkeypatch):
    """MindSpore compiles anew what another script has left, and writes over it."""
    names = ("train.py", "train_.py", "elsewhere/train.py")
    keys = []
    for name in names:
        monkeypatch.setattr("sys.argv", [name])
        keys.append(key_of())
    assert keys[0] == keys[2] != keys[1]


def test_the_scale_is_part_of_a_weighted_graph():
    """The thresholds of loss_weights are in the graph in the network's units."""
    options = {"dataset": "rain.npy", "dataset_crc": 1, "loss": "mse"}
    for weights, same in ((None, True), (((2.0, 2.0),), False)):
        options["loss_weights"] = weights
        keys = {key_of(**options, value_range=limits) for limits in ((0.0, 60.0), (0.0, 30.0))}
        assert (len(keys) == 1) is same


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    result = run_here("train.py", "--compile_cache", tmp_path / "file", *FEW, expect=2)
    assert "compile_cache is" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_cache():
    assert compile_cache.open_folder("off") is None
