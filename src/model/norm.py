"""GroupNorm of the gates and its gradient, in two forms: one for a CPU, one for an NPU.

Source: Wu & He 2018 (arXiv:1803.08494).

Both forms have the methods `forward(x, gamma, beta)`, which returns the normalised x and what
`backward` needs, and `backward(gradient, saved, gamma)`, which returns the gradients of x, gamma
and beta. x is (B, C, H, W), float32; gamma and beta are (C,).
"""

from mindspore import nn, ops
from mindspore.ops.auto_generate import GroupNorm, GroupNormGrad
from mindspore.ops.operations._grad_ops import BatchNormGrad

EPSILON = 1e-5


def make_group_norm(groups, on_cpu):
    """The form that is fast on the device; both compute the same function.

    On a CPU the framework's GroupNorm takes 20 ms for (2, 256, 64, 64), its BatchNorm 2 ms.
    """
    return BatchNormGroups(groups) if on_cpu else FrameworkGroupNorm(groups)


class FrameworkGroupNorm(nn.Cell):
    """GroupNorm by the framework's own primitives, one forward and one backward."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups
        self.norm, self.norm_grad = GroupNorm(), GroupNormGrad()

    def forward(self, x, gamma, beta):
        """The normalised x, and what `backward` needs."""
        y, mean, rstd = self.norm(x, self.groups, gamma, beta, EPSILON)
        return y, (x, mean, rstd)

    def backward(self, gradient, saved, gamma):
        """The gradients of x, gamma and beta."""
        x, mean, rstd = saved
        return self.norm_grad(gradient, x, mean, rstd, gamma, self.groups, True, True, True)


class BatchNormGroups(nn.Cell):
    """GroupNorm by two BatchNorms.

    The first normalises: it sees one sample whose channels are the groups of all samples. The
    second, with a mean of 0 and a variance of 1, multiplies by gamma and adds beta. A product that
    broadcasts would do that too, but on a CPU it holds 16 bytes an element for good.
    """

    def __init__(self, groups):
        super().__init__()
        self.groups = groups
        # BatchNorm writes its running statistics into its inputs, so the compiler keeps its calls
        # in order, which it cannot do in a gradient. With momentum 0 there is nothing to write.
        self.norm = ops.BatchNorm(is_training=True, epsilon=EPSILON, momentum=0.0)
        self.norm.add_prim_attr("side_effect_mem", False)
        self.norm.set_signatures(())
        self.norm_grad = BatchNormGrad(is_training=True, epsilon=EPSILON)
        self.affine = ops.BatchNorm(is_training=False, epsilon=EPSILON)
        self.affine_grad = BatchNormGrad(is_training=False, epsilon=EPSILON)

    def forward(self, x, gamma, beta):
        """The normalised x, and what `backward` needs."""
        one, zero = constants(x.shape[0] * self.groups, x)
        normal, _, _, _, variance = self.norm(self.by_group(x), one, zero, zero, one)
        normal = normal.reshape(x.shape)
        one, zero = constants(x.shape[1], x)
        return self.affine(normal, gamma, beta, zero, one - EPSILON)[0], (normal, variance)

    def backward(self, gradient, saved, gamma):
        """The gradients of x, gamma and beta; `normal` has mean 0 and variance 1."""
        normal, variance = saved
        one, zero = constants(normal.shape[1], normal)
        d_normal, d_gamma, d_beta = self.affine_grad(
            gradient, normal, gamma, zero, one - EPSILON, one
        )
        one, zero = constants(normal.shape[0] * self.groups, normal)
        d_normal, x = self.by_group(d_normal), self.by_group(normal)
        rstd = ops.rsqrt(variance + EPSILON)
        d_x = self.norm_grad(d_normal, x, rstd, zero, one - EPSILON, one)[0]
        return d_x.reshape(normal.shape), d_gamma, d_beta

    def by_group(self, x):
        """x as one sample whose channels are the groups: (1, B * groups, C / groups * H, W)."""
        return x.reshape((1, x.shape[0] * self.groups, -1, x.shape[3]))


def constants(size, x):
    """Ones and zeros, each (size,), of the type of x."""
    return ops.ones((size,), x.dtype), ops.zeros((size,), x.dtype)
