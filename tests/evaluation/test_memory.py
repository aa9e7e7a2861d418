"""The estimate of memory: what it grows with, and what too large a batch is answered with."""

import re

import pytest

from src.config.presets import make_config
from src.errors import InputError
from src.evaluation import memory
from src.model import EncoderForecaster
from src.runtime import device

GB = 1e9
DATASET = {"dataset": "x", "dataset_crc": 1, "value_range": (0.0, 1.0)}


def case(preset="small", **options):
    """A network and its configuration."""
    config = make_config(preset, options)
    return EncoderForecaster(config.model, config.data.forecast_frames), config


@pytest.mark.parametrize(
    ("preset", "options", "measured"),
    [
        ("small", {"image_size": (128, 128), "batch_size": 2}, 1.48),
        ("small", {"image_size": (512, 512), "input_frames": 2, "forecast_frames": 2}, 1.81),
        ("multiscale", {"image_size": (128, 128), "input_frames": 3, "forecast_frames": 3}, 3.40),
        ("paper", {"image_size": (128, 128), "input_frames": 3, "forecast_frames": 3}, 1.83),
    ],
)
def test_measured_peaks(preset, options, measured):
    """Of processes that trained two steps, without a pipeline and without validation."""
    network, config = case(preset, curriculum=(), **{"batch_size": 1, **options})
    needed = memory.training_bytes(network, config, config.training.batch_size)
    assert measured < needed / GB * 1.1
    assert needed / GB < 1.25 * measured


def test_what_saves_memory():
    network, config = case(image_size=(256, 256), curriculum=(), batch_size=4)
    whole = memory.training_bytes(network, config, 4)
    assert memory.training_bytes(network, config, 2) < 0.7 * whole
    for saving in ({"recompute": True}, {**DATASET, "tile": (64, 64)}):
        network, config = case(image_size=(256, 256), curriculum=(), batch_size=4, **saving)
        assert memory.training_bytes(network, config, 4) < 0.7 * whole


def test_a_batch_that_fits_is_only_printed(monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_memory", lambda: int(20.5 * GB))
    memory.check_training(*case(), "CPU")
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"memory: about 1\.\d GB for 64x64 in batches of 8; (20|21) GB are free\n", printed.out
    )
    assert not printed.err


def test_more_than_is_free_is_a_warning_and_far_more_refused(monkeypatch, capsys):
    """The batch that the message names is the largest that fits."""
    network, config = case(image_size=(256, 256), **DATASET)
    needed = memory.training_bytes(network, config, 8)
    monkeypatch.setattr(memory, "available_memory", lambda: int(needed / 1.4))
    memory.check_training(network, config, "CPU")
    assert "warning: batch_size is 8: training on 256x256 needs" in capsys.readouterr().err
    monkeypatch.setattr(memory, "available_memory", lambda: int(needed / 1.6))
    with pytest.raises(InputError, match="--batch_size .* would fit; so may a --tile") as refused:
        memory.check_training(network, config, "CPU")
    fits = int(re.search(r"--batch_size (\d+) would", str(refused.value))[1])
    sizes = [memory.training_bytes(network, config, n) for n in (fits, fits + 1)]
    assert sizes[0] <= needed / 1.6 < sizes[1]
    with pytest.raises(InputError, match="on 256x256 needs .*: no batch would fit"):
        memory.check_training(network, config, "CPU", processes=40)


def test_ranks_share_a_machine(monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    memory.check_training(*case(), "CPU", processes=2)
    assert ", on 2 ranks\n" in capsys.readouterr().out


def test_an_ascend_has_memory_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_memory", lambda: 1)
    network, config = case()
    memory.check_training(network, config, "Ascend")
    memory.warn_of_forecast(network, (1, 10, 1, 64, 64), "Ascend")
    assert capsys.readouterr() == ("", "")


def test_batches_of_forecasts(monkeypatch, capsys):
    network, _ = case()
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * GB)
    memory.warn_of_forecast(network, (1, 10, 1, 512, 512), "CPU")
    assert not capsys.readouterr().err
    memory.warn_of_forecast(network, (8, 10, 1, 512, 512), "CPU")
    assert "warning: batches of 8 need about" in capsys.readouterr().err


def test_the_memory_of_this_machine():
    """What this process has and what is free are no more than all there is."""
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) * 1024
    assert 0 < device.available_memory() <= 1.05 * total
