"""The cell and the layer against the equations."""

import mindspore as ms
import numpy as np
import pytest
import torch
from torch.nn import functional

from src.config.schema import ModelConfig, Stage
from src.model import ConvLSTMCell, ConvLSTMLayer, Execution
from tests.torch_twin import TwinCell, assert_same_gradient, cell_pairs, randomise

KINDS = [(False, False), (True, False), (False, True)]


def tensors(*arrays):
    """The same arrays for both frameworks."""
    return [ms.Tensor(a) for a in arrays], [torch.from_numpy(a) for a in arrays]


def make_pair(rng, group_norm, peepholes, in_channels=3, hidden=8, execution=None):
    """A cell and its twin on the same weights."""
    config = ModelConfig(
        stages=(Stage(hidden),), kernel_size=5, group_norm=group_norm, peepholes=peepholes
    )
    ours = ConvLSTMCell(in_channels, hidden, 5, None, group_norm, peepholes, execution)
    theirs = TwinCell(in_channels or hidden, hidden, config)
    randomise(cell_pairs(ours, theirs), rng)
    return ours, theirs


@pytest.mark.parametrize(("group_norm", "peepholes"), KINDS)
def test_cell_equals_torch(rng, group_norm, peepholes):
    ours, theirs = make_pair(rng, group_norm, peepholes)
    arrays = [rng.normal(size=(2, n, 9, 7)).astype(np.float32) for n in (3, 8, 8)]
    (x, h, c), (tx, th, tc) = tensors(*arrays)
    for got, expected in zip(ours(x, (h, c)), theirs(tx, (th, tc)), strict=True):
        np.testing.assert_allclose(got.asnumpy(), expected.detach(), atol=1e-5)


@pytest.mark.parametrize(("group_norm", "peepholes"), KINDS)
def test_no_state_is_a_state_of_zeros(rng, group_norm, peepholes):
    """The gate bias and the norm stay when the state-to-state convolution is left out."""
    ours, theirs = make_pair(rng, group_norm, peepholes)
    (x,), (tx,) = tensors(rng.normal(size=(2, 3, 6, 6)).astype(np.float32))
    zeros = torch.zeros(2, 8, 6, 6)
    for got, expected in zip(ours(x, None), theirs(tx, (zeros, zeros)), strict=True):
        np.testing.assert_allclose(got.asnumpy(), expected.detach(), atol=1e-5)


@pytest.mark.parametrize(("group_norm", "peepholes"), KINDS)
def test_no_input_is_an_input_of_zeros(rng, group_norm, peepholes):
    """The gate bias stays when there is no input-to-state convolution."""
    ours, theirs = make_pair(rng, group_norm, peepholes, in_channels=0)
    (h, c), (th, tc) = tensors(*rng.normal(size=(2, 2, 8, 6, 6)).astype(np.float32))
    for got, expected in zip(
        ours(None, (h, c)), theirs(torch.zeros(2, 8, 6, 6), (th, tc)), strict=True
    ):
        np.testing.assert_allclose(got.asnumpy(), expected.detach(), atol=1e-5)


def test_closed_gates_keep_the_cell_state(rng):
    """i = g = 0 and f = 1, hence c_t = c_{t-1} and h_t = sigmoid(0) tanh(c_t)."""
    cell = ConvLSTMCell(1, 8, 3, group_norm=True)
    gates = np.repeat([-100.0, 100.0, 0.0, 0.0], 8).astype(np.float32)
    cell.norm.gamma.set_data(ms.Tensor(np.zeros(32, np.float32)))
    cell.norm.beta.set_data(ms.Tensor(gates))
    c = rng.normal(size=(2, 8, 6, 6)).astype(np.float32)
    h_next, c_next = cell(ms.ops.zeros((2, 1, 6, 6)), (ms.ops.zeros((2, 8, 6, 6)), ms.Tensor(c)))
    np.testing.assert_allclose(c_next.asnumpy(), c, atol=1e-5)
    np.testing.assert_allclose(h_next.asnumpy(), 0.5 * np.tanh(c), atol=1e-5)


def test_kernels_of_two_sizes(rng):
    """(9x9)-1x1 of the paper: a wide view of the input, a state that stays where it is."""
    cell = ConvLSTMCell(2, 4, 1, input_kernel_size=9)
    for p in cell.trainable_params():
        p.set_data(ms.Tensor(rng.normal(scale=0.05, size=p.shape).astype(np.float32)))
    (x, h, c), (tx, th, tc) = tensors(
        *(rng.normal(size=(1, n, 10, 10)).astype(np.float32) for n in (2, 4, 4))
    )
    wx, b, wh = (
        torch.from_numpy(p.asnumpy())
        for p in (cell.input_conv.weight, cell.input_conv.bias, cell.state_conv.weight)
    )
    i, f, g, o = (functional.conv2d(tx, wx, b, padding=4) + functional.conv2d(th, wh)).split(4, 1)
    expected = f.sigmoid() * tc + i.sigmoid() * g.tanh()
    h_next, c_next = cell(x, (h, c))
    np.testing.assert_allclose(c_next.asnumpy(), expected, atol=1e-5)
    np.testing.assert_allclose(h_next.asnumpy(), o.sigmoid() * expected.tanh(), atol=1e-5)


@pytest.mark.parametrize(("group_norm", "peepholes"), KINDS)
def test_layer_equals_torch_and_its_own_steps(rng, group_norm, peepholes):
    """Convolving all inputs at once changes nothing."""
    ours, theirs = make_pair(rng, group_norm, peepholes)
    array = rng.normal(size=(4, 2, 3, 6, 6)).astype(np.float32)
    outputs, last = ConvLSTMLayer(ours)(ms.Tensor(array), None, 4)
    state, twin_state = None, (torch.zeros(2, 8, 6, 6),) * 2
    for t in range(4):
        state = ours(ms.Tensor(array[t]), state)
        twin_state = theirs(torch.from_numpy(array[t]), twin_state)
        np.testing.assert_allclose(outputs[t].asnumpy(), state[0].asnumpy(), atol=1e-6)
        np.testing.assert_allclose(outputs[t].asnumpy(), twin_state[0].detach(), atol=1e-5)
    for got, expected in zip(last, twin_state, strict=True):
        np.testing.assert_allclose(got.asnumpy(), expected.detach(), atol=1e-5)


EXECUTIONS = [Execution("CPU"), Execution("Ascend"), Execution("CPU", recompute=True)]
# has_input, has_state, steps.
SITUATIONS = [(True, True, 3), (True, False, 3), (False, True, 3), (True, False, 1)]
# Every kind of cell in every situation; each of both with every execution.
CASES = [
    (EXECUTIONS[(k + n) % 3], *kind, *situation)
    for k, kind in enumerate(KINDS)
    for n, situation in enumerate(SITUATIONS)
]


@pytest.mark.parametrize(
    ("execution", "group_norm", "peepholes", "has_input", "has_state", "steps"), CASES
)
def test_layer_gradients_equal_torch(
    rng, execution, group_norm, peepholes, has_input, has_state, steps
):
    """Of x, first state and every weight, for frames above and below 16x16."""
    size = 18 if group_norm else 5
    ours, theirs = make_pair(rng, group_norm, peepholes, 3 * has_input, execution=execution)
    x = rng.normal(size=(steps, 2, 3, size, size)).astype(np.float32)
    h, c = rng.normal(size=(2, 2, 8, size, size)).astype(np.float32)
    weights = rng.normal(size=(3, steps, 2, 8, size, size)).astype(np.float32)
    tx, th, tc = (torch.from_numpy(a).requires_grad_() for a in (x, h, c))
    state = (th, tc) if has_state else (torch.zeros(h.shape),) * 2
    outputs, zeros = [], torch.zeros(2, 8, size, size)
    for t in range(steps):
        state = theirs(tx[t] if has_input else zeros, state)
        outputs.append(state[0])
    sums = (torch.from_numpy(w) for w in (weights[0], weights[1, 0], weights[2, 0]))
    terms = zip((torch.stack(outputs), *state), sums, strict=True)
    sum((y * w).sum() for y, w in terms).backward()

    layer = ConvLSTMLayer(ours)
    wanted = {"x": tx.grad} if has_input else {}
    wanted.update({"h": th.grad, "c": tc.grad} if has_state else {})

    def loss(x, h, c):
        y, last = layer(x if has_input else None, (h, c) if has_state else None, steps)
        total = (y * ms.Tensor(weights[0])).sum() + (last[0] * ms.Tensor(weights[1, 0])).sum()
        return total + (last[1] * ms.Tensor(weights[2, 0])).sum()

    gradient = ms.value_and_grad(loss, (0, 1, 2), ms.ParameterTuple(ours.trainable_params()))
    _, (by_input, by_weight) = ms.jit(gradient)(*map(ms.Tensor, (x, h, c)))
    for name, got in zip("xhc", by_input, strict=True):
        if name in wanted:
            assert_same_gradient(got.asnumpy(), wanted[name], name)
    by_name = dict(zip((p.name for p in ours.trainable_params()), by_weight, strict=True))
    for parameter, pick, twin in cell_pairs(ours, theirs):
        assert_same_gradient(by_name[parameter.name].asnumpy(), pick(twin.grad), parameter.name)


@pytest.mark.parametrize("in_channels", [0, 3])
@pytest.mark.parametrize("group_norm", [False, True])
def test_initialisation(in_channels, group_norm):
    """Open forget gates, other biases at 0, orthogonal recurrent weights."""
    cell = ConvLSTMCell(in_channels, 8, 3, group_norm=group_norm)
    bias = cell.input_conv.bias if in_channels else cell.state_conv.bias
    opened = np.repeat([0.0, 1.0, 0.0, 0.0], 8)
    np.testing.assert_array_equal((cell.norm.beta if group_norm else bias).asnumpy(), opened)
    if group_norm:
        assert not bias.asnumpy().any()
    rows = cell.state_conv.weight.asnumpy().reshape(32, -1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(32), atol=1e-5)


def test_even_kernels_and_odd_groups_are_refused():
    with pytest.raises(ValueError, match="kernel_size is 4"):
        ConvLSTMCell(1, 8, 4)
    with pytest.raises(ValueError, match="hidden_channels is 12"):
        ConvLSTMCell(1, 12, 3, group_norm=True)
