"""Sets the device up once, and gives the tests real digits and small networks."""

import functools
import os
import re

import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

from src.config.schema import ModelConfig, Stage
from src.data.moving_mnist import read_idx_images
from src.data.sources import EMBEDDED_DIGITS
from src.runtime import device

# Compiling makes and frees small blocks by the million: where each thread keeps its own, a start of
# a training takes an eighth less. It is for processes to come: xdist's, and the scripts' own.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.tcache_count=65535")

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


class Scheduler(LoadScopeScheduling):
    """Gives one process all tests of a group, largest groups first; all tests of no group go one by
    one to whichever process is free.
    """

    def _split_scope(self, nodeid):
        return group_of(self.config.rootpath / nodeid.partition("::")[0]) or nodeid


@functools.cache
def group_of(module):
    """The group of a module's tests, which share what takes long to make: a module with fixtures of
    its own is one, and all that use `trained` are one; None where nothing is shared.
    """
    text = module.read_text()
    if re.search(r"^def .*\btrained\b", text, re.M):
        return "trained"
    return str(module) if 'scope="module"' in text else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadgroup` by modules: xdist 3.8 does not see groups of marked tests in pytest 9."""
    return Scheduler(config, log) if config.getvalue("dist") == "loadgroup" else None


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
