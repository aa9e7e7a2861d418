"""GroupNorm's forms, for a CPU and for an NPU, against PyTorch."""

import mindspore as ms
import numpy as np
import pytest
import torch

from src.model.norm import make_group_norm


@pytest.mark.parametrize("on_cpu", [True, False])
def test_forward_and_gradients_equal_torch(rng, on_cpu):
    norm, twin = make_group_norm(2, on_cpu), torch.nn.GroupNorm(2, 8)
    gamma, beta = rng.normal(size=(2, 8)).astype(np.float32)
    twin.weight.data, twin.bias.data = torch.from_numpy(gamma), torch.from_numpy(beta)
    x, gradient = rng.normal(3.0, 2.0, size=(2, 3, 8, 6, 5)).astype(np.float32)
    tx = torch.from_numpy(x).requires_grad_()
    expected = twin(tx)
    expected.backward(torch.from_numpy(gradient))

    def run(x, gamma, beta, gradient):
        y, saved = norm.forward(x, gamma, beta)
        return (y,) + norm.backward(gradient, saved, gamma)

    got = ms.jit(run)(*map(ms.Tensor, (x, gamma, beta, gradient)))
    wanted = (expected.detach(), tx.grad, twin.weight.grad, twin.bias.grad)
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours.asnumpy(), theirs, rtol=1e-4, atol=1e-5)
