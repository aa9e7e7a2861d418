"""The networks are those of the papers: their sizes say so."""

import dataclasses

import pytest

from src.config.presets import PRESETS
from src.config.schema import ModelConfig, Stage
from src.model import EncoderForecaster


def count(config):
    """Trainable parameters of a network."""
    return sum(p.size for p in EncoderForecaster(config, 10).trainable_params())


@pytest.mark.parametrize(
    ("input_kernel", "kernel", "hidden", "parameters"),
    [
        (5, 5, (256,), 13_524_496),
        (5, 5, (128, 128), 10_042_896),
        (5, 5, (128, 64, 64), 7_585_296),
        (9, 1, (128, 128), 11_550_224),
        (9, 1, (128, 64, 64), 8_830_480),
    ],
)
def test_table_1_of_the_paper(input_kernel, kernel, hidden, parameters):
    """Shi et al. 2015, Table 1."""
    config = ModelConfig(
        stages=tuple(Stage(channels) for channels in hidden),
        kernel_size=kernel,
        input_kernel_size=input_kernel,
        patch_size=4,
        peepholes=True,
    )
    assert count(config) == parameters


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("multiscale", 8_110_753),
        ("paper", 7_585_296),
        ("small", 926_736),
        ("two_scale", 626_336),
    ],
)
def test_presets(preset, parameters):
    """`multiscale`: the published 9,032,225, less 921,600 that see zeros, plus 128 (3x3 head)."""
    assert count(PRESETS[preset].model) == parameters


def test_published_output_kernel():
    """With the published network's 1x1 last kernel `multiscale` has 128 fewer."""
    model = dataclasses.replace(PRESETS["multiscale"].model, output_kernel_size=1)
    assert count(model) == 9_032_225 - 921_600 == 8_110_625
