"""Sets the device up once, and gives the tests real digits and small networks."""

import os

import numpy as np
import pytest

from src.config.schema import ModelConfig, Stage
from src.data.moving_mnist import read_idx_images
from src.data.sources import EMBEDDED_DIGITS
from src.runtime import device

device.set_up("CPU")

# Both layouts, narrow: every kind of layer that a preset has.
NARROW = {
    "multiscale": ModelConfig(
        stages=(Stage(8, 4, 1), Stage(16, 8, 2)),
        kernel_size=5,
        group_norm=True,
        head_channels=4,
        output_kernel_size=3,
    ),
    "paper": ModelConfig(stages=(Stage(8), Stage(6)), kernel_size=5, patch_size=4, peepholes=True),
}


# Fixtures of a module that train or compile for long.
COSTLY = {"compiled", "converted", "found", "network", "one", "reference", "two"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Under `--dist loadgroup`, tests that share a costly fixture run in one process, which makes
    it once; all others go to whichever process is free.
    """
    for item in items:
        if "trained" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("trained"))
        elif COSTLY.intersection(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory):
    """Compiled graphs are shared by the trainings of all tests, and with nothing else."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield


@pytest.fixture(scope="session")
def digits():
    """The embedded MNIST test digits, (10000, 28, 28), uint8."""
    return read_idx_images(EMBEDDED_DIGITS)


@pytest.fixture
def rng():
    """A generator with a fixed seed."""
    return np.random.default_rng(0)
