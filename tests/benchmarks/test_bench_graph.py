"""The networks that bench_graph.py compares: a training step of each computes the same."""

import sys

import mindspore as ms
import numpy as np
import pytest

from src.config.presets import PRESETS
from tests.scripts.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench_graph  # noqa: E402
from naive_network import copy_weights, randomise  # noqa: E402


@pytest.mark.parametrize(("preset", "frames"), [("multiscale", 2), ("paper", 1)])
def test_training_steps_have_one_loss_and_gradient(preset, frames, rng):
    """From the same weights; those that multiply zeros, as the naive network's do, change none."""
    config = bench_graph.narrow(PRESETS[preset].model)
    naive = bench_graph.NETWORKS["naive"](config, frames)
    ours = bench_graph.NETWORKS["ours"](config, frames)
    randomise(naive, rng)
    copy_weights(naive, ours)
    batch = [ms.Tensor(rng.random((2, frames, 1, 16, 16), np.float32)) for _ in range(2)]
    mean = np.square(naive(batch[0]).asnumpy() - batch[1].asnumpy()).mean()
    steps = [bench_graph.step_of(network, preset) for network in (naive, ours)]
    found = [[float(x.asnumpy()) for x in step(*batch)] for step in steps]
    np.testing.assert_allclose(*found, rtol=1e-4)
    assert found[0][0] == pytest.approx(mean, rel=1e-5)
    assert found[0][1] > 1e-4
