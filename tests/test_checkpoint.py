"""Checkpoints: what goes in comes out, and anything else is refused."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest

from src import __version__, checkpoint
from src.config.presets import make_config
from src.errors import InputError, NonFiniteError
from src.model import EncoderForecaster
from src.tools.optimizers import make_optimizer
from tests.conftest import NARROW


@pytest.fixture
def config():
    base = make_config("small", {"image_size": (32, 32)})
    return dataclasses.replace(base, model=NARROW["paper"])


@pytest.fixture
def saved(tmp_path, config):
    """A network, its optimizer with moments that are not zero, and their checkpoint."""
    network = EncoderForecaster(config.model, 10)
    optimizer = make_optimizer(network, config.training)
    for moment in optimizer.moment1:
        moment.set_data(ms.Tensor(np.full(moment.shape, 0.5, np.float32)))
    path = tmp_path / "a folder" / "last.ckpt"
    path.parent.mkdir()
    checkpoint.save(path, network, optimizer, config, {"step": 12})
    return network, optimizer, path


def test_the_version_is_an_entry_of_its_own(saved):
    """Not of the configuration or the state; MindSpore's own reader finds it beside them."""
    _, _, path = saved
    entries = ms.load_checkpoint(str(path), choice_func=lambda name: name == "version")
    assert entries["version"] == __version__
    loaded = checkpoint.load(path)
    assert "version" not in loaded.state
    assert __version__ not in loaded.config.to_json()


def test_round_trip(saved, config):
    network, optimizer, path = saved
    loaded = checkpoint.load(path)
    assert loaded.config == config
    assert loaded.state == {"step": 12}
    other = loaded.network()
    for ours, theirs in zip(network.get_parameters(), other.get_parameters(), strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours.asnumpy(), theirs.asnumpy())
    other_optimizer = make_optimizer(other, config.training)
    checkpoint.load_optimizer(other, other_optimizer, loaded)
    for ours, theirs in zip(
        optimizer.get_parameters(), other_optimizer.get_parameters(), strict=True
    ):
        np.testing.assert_array_equal(ours.asnumpy(), theirs.asnumpy())


def test_the_framework_reads_it_too(saved):
    network, _, path = saved
    entries = ms.load_checkpoint(str(path), crc_check=True)
    for parameter in network.get_parameters():
        np.testing.assert_array_equal(entries[parameter.name].asnumpy(), parameter.asnumpy())
    assert entries["state"] == '{"step": 12}'


def test_a_weight_that_is_not_finite_is_not_saved(saved, config):
    network, optimizer, path = saved
    before = path.read_bytes()
    next(network.get_parameters()).set_data(ms.Tensor(np.full((32, 16, 5, 5), np.nan, np.float32)))
    with pytest.raises(NonFiniteError, match="no longer finite"):
        checkpoint.save(path, network, optimizer, config, {})
    assert path.read_bytes() == before


def test_nothing_else_is_left_in_the_folder(saved):
    *_, path = saved
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_damaged_files(saved):
    *_, path = saved
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for broken, message in (
        (content[:middle], "cut short"),
        (flipped, "its checksum is wrong"),
        (b"", "not a checkpoint"),
        (b"some text\n", "not a checkpoint"),
    ):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=message):
            checkpoint.load(path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        checkpoint.load(path)


def test_a_checkpoint_of_another_program(tmp_path):
    path = tmp_path / "other.ckpt"
    ms.save_checkpoint([{"name": "w", "data": ms.Tensor([1.0])}], str(path), crc_check=True)
    with pytest.raises(InputError, match="holds no configuration"):
        checkpoint.load(path)


def test_another_network(saved, config):
    *_, path = saved
    loaded = checkpoint.load(path)
    with pytest.raises(InputError, match="another network .*stages"):
        checkpoint.check_same_network(loaded, make_config("small", {}))
    checkpoint.check_same_network(loaded, config)
    first = next(iter(loaded.weights))
    for change, message in (
        (lambda w: w.pop(first), f"lacks {first}"),
        (lambda w: w.update(extra=w[first]), "has extra, which the network lacks"),
        (lambda w: w.update({first: np.ones(1)}), "has the shape"),
    ):
        weights = dict(loaded.weights)
        change(weights)
        with pytest.raises(InputError, match=message):
            dataclasses.replace(loaded, weights=weights).network()


def test_the_checkpoint_that_comes_with_the_project(tmp_path, monkeypatch, capsys):
    """A given one wins; without one the project's own is used and named, or missed in a line."""
    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path / "small.ckpt")
    assert checkpoint.checkpoint_path("some.ckpt") == "some.ckpt"
    with pytest.raises(InputError, match="pretrained_model is missing: .*l.ckpt does not exist"):
        checkpoint.checkpoint_path(None)
    checkpoint.BUNDLED.touch()
    assert checkpoint.checkpoint_path(None) == checkpoint.BUNDLED
    assert str(checkpoint.BUNDLED) in capsys.readouterr().out


def test_weights_alone(saved, config):
    """Without the moments; good for everything but going on with the training."""
    network, optimizer, path = saved
    small = path.with_name("weights.ckpt")
    checkpoint.save_weights(small, checkpoint.load(path))
    loaded = checkpoint.load(small)
    loaded.network()
    assert (loaded.config, loaded.state) == (config, {})
    weights = sum(p.nbytes for p in network.get_parameters())
    moments = sum(p.nbytes for p in [*optimizer.moment1, *optimizer.moment2])
    assert path.stat().st_size - small.stat().st_size > moments > weights
    with pytest.raises(InputError, match="lacks"):
        checkpoint.load_optimizer(network, optimizer, loaded)
