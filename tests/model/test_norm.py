"""GroupNorm's fast and portable forms against PyTorch."""

import mindspore as ms
import numpy as np
import torch

from src.model.norm import BatchNormGroups, make_group_norm, make_portable


def make_pair(rng):
    """Two groups of four channels, and PyTorch's GroupNorm with the same gamma and beta."""
    norm, twin = make_group_norm(2, 8), torch.nn.GroupNorm(2, 8)
    for ours, theirs in ((norm.gamma, twin.weight), (norm.beta, twin.bias)):
        value = rng.normal(size=8).astype(np.float32)
        ours.set_data(ms.Tensor(value))
        theirs.data = torch.from_numpy(value)
    return norm, twin


def test_forward_and_gradients_equal_torch(rng):
    norm, twin = make_pair(rng)
    assert isinstance(norm, BatchNormGroups)
    x, weight = rng.normal(3.0, 2.0, size=(2, 3, 8, 6, 5)).astype(np.float32)
    tx = torch.from_numpy(x).requires_grad_()
    expected = twin(tx)
    (expected * torch.from_numpy(weight)).sum().backward()

    def loss(x, weight):
        return (norm(x) * weight).sum()

    step = ms.value_and_grad(loss, 0, norm.trainable_params())
    _, (d_x, (d_gamma, d_beta)) = step(ms.Tensor(x), ms.Tensor(weight))
    np.testing.assert_allclose(norm(ms.Tensor(x)).asnumpy(), expected.detach(), atol=1e-5)
    for got, wanted in ((d_x, tx.grad), (d_gamma, twin.weight.grad), (d_beta, twin.bias.grad)):
        np.testing.assert_allclose(got.asnumpy(), wanted, atol=1e-4)


def test_the_portable_form_is_the_same_function(rng):
    fast, portable = make_pair(rng)[0], make_group_norm(2, 8)
    for source, target in zip(fast.trainable_params(), portable.trainable_params(), strict=True):
        target.set_data(source.value())
    make_portable(portable)
    x = ms.Tensor(rng.normal(size=(3, 8, 6, 5)).astype(np.float32))
    np.testing.assert_allclose(portable(x).asnumpy(), fast(x).asnumpy(), atol=1e-5)
