"""Muon against PyTorch's and against the singular value decomposition."""

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Parameter, Tensor

from src.config.presets import make_config
from src.model import EncoderForecaster
from src.tools.optimizers import Muon, make_optimizer, orthogonalise

RATE, DECAY = 3e-3, 0.1


def gradients_of(shape, steps):
    """Gradients that change little from step to step, as momentum expects."""
    random = np.random.default_rng(0)
    common = random.normal(size=shape)
    return [np.float32(common + 0.3 * random.normal(size=shape)) for _ in range(steps)]


@pytest.mark.parametrize(
    ("gates", "shape"), [(4, (64, 16, 3, 3)), (4, (64, 1, 3, 3)), (1, (24, 8, 3, 3))]
)
def test_muon_is_pytorchs_gate_by_gate(gates, shape):
    start, steps = np.random.default_rng(1).normal(size=shape).astype(np.float32), 4
    matrices = (gates, shape[0] // gates, -1)
    weight = Parameter(Tensor(start), name="weight")
    optimizer = Muon([weight], [gates], RATE, DECAY, decoupled=True)
    theirs = [torch.nn.Parameter(torch.tensor(gate)) for gate in start.reshape(matrices)]
    options = {"adjust_lr_fn": "match_rms_adamw", "weight_decay": DECAY}
    peer = torch.optim.Muon(theirs, lr=RATE, **options)
    for gradient in gradients_of(shape, steps):
        optimizer((Tensor(gradient),))
        for gate, part in zip(theirs, gradient.reshape(matrices), strict=True):
            gate.grad = torch.tensor(part)
        peer.step()
    ours = weight.asnumpy() - start
    expected = np.concatenate([g.detach().numpy() for g in theirs]).reshape(shape) - start
    # PyTorch iterates in bfloat16, whose rounding is 0.4 %.
    assert np.linalg.norm(ours - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize("shape", [(4, 64, 576), (4, 64, 9), (1, 16, 16)])
def test_orthogonalise_keeps_the_directions_of_singular_vectors(shape):
    matrices = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    u, values, vt = np.linalg.svd(matrices, full_matrices=False)
    result = orthogonalise(Tensor(matrices)).asnumpy()
    inside = u.swapaxes(1, 2) @ result @ vt.swapaxes(1, 2)
    gains = np.diagonal(inside, axis1=1, axis2=2)
    strong = values > 0.05 * values.max()
    assert gains[strong].min() > 0.65
    assert gains.max() < 1.25
    between = inside - np.eye(gains.shape[-1]) * gains[:, None]
    np.testing.assert_allclose(between, 0, atol=1e-4)


def test_muon_takes_the_kernels_and_leaves_the_rest_to_adam():
    config = make_config("paper", {"optimizer": "muon"})
    network = EncoderForecaster(config.model, 1)
    optimizer = make_optimizer(network, config.training)
    assert isinstance(optimizer, Muon)
    adams = {p.name.removeprefix("moment2.") for p in optimizer.moment2}
    kernels = {p.name for p in network.trainable_params()} - adams
    assert len(kernels) == 11  # of 6 layers, of which the forecaster's top has no input
    assert all(name.endswith("_conv.weight") for name in kernels)
    assert "output_conv.weight" in adams
    assert any("peephole" in name for name in adams)


def test_muon_in_graph_mode_is_muon_in_pynative_mode():
    weight = np.random.default_rng(3).normal(size=(8, 2, 3, 3)).astype(np.float32)
    results = []
    for mode in (ms.GRAPH_MODE, ms.PYNATIVE_MODE):
        ms.set_context(mode=mode)
        parameter = Parameter(Tensor(weight), name="weight")
        optimizer = Muon([parameter], [1], RATE)
        for gradient in gradients_of(weight.shape, 3):
            optimizer((Tensor(gradient),))
        results.append(parameter.asnumpy())
    ms.set_context(mode=ms.GRAPH_MODE)
    np.testing.assert_allclose(*results, rtol=1e-6)
