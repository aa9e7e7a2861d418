r"""Warping of a frame along a flow, for networks that forecast motion.

Reference: Jaderberg et al. 2015, Spatial transformer networks, arXiv:1506.02025, eq. 5 (bilinear
sampling); the last frame moved along one flow per lead time is the semi-Lagrangian extrapolation of
Germann & Zawadzki 2002, Monthly Weather Review 130, 2859-2873, with a flow that is learned.
"""

import numpy as np
from mindspore import Tensor, nn, ops


class Warp(nn.Cell):
    r"""Moves frames along a flow, with bilinear interpolation.

    .. math::
        y_k(p) = x(p - k v_k(p))

    Positions beyond the frame take the value of its nearest edge.

    Inputs:
        - **frames** - (B, 1 or T, C, H, W): one frame that is moved k = 1 ... T steps, or a frame
          for each time, moved by one step.
        - **flow** - (B, T, 2, H, W): how far the frame moves in a step, in pixels; to the right,
          and down.

    Outputs:
        (B, T, C, H, W).
    """

    def __init__(self):
        super().__init__()
        self.sample = ops.GridSampler2D("bilinear", "border", True)

    def construct(self, frames, flow):
        batch, steps, _, height, width = flow.shape
        if frames.shape[1] != steps:
            leads = np.arange(1, steps + 1, dtype=np.float32).reshape(1, steps, 1, 1, 1)
            flow = flow * Tensor(leads)
            frames = ops.broadcast_to(frames, (batch, steps, *frames.shape[2:]))
        # The sampler's coordinates reach from -1 to 1 between the centres of the edge pixels.
        across = np.linspace(-1, 1, width, dtype=np.float32).reshape(1, 1, 1, width)
        down = np.linspace(-1, 1, height, dtype=np.float32).reshape(1, 1, height, 1)
        x = Tensor(across) - flow[:, :, 0] * (2.0 / max(width - 1, 1))
        y = Tensor(down) - flow[:, :, 1] * (2.0 / max(height - 1, 1))
        places = ops.stack((x, y), -1).reshape(batch * steps, height, width, 2)
        warped = self.sample(frames.reshape(batch * steps, *frames.shape[2:]), places)
        return warped.reshape(batch, steps, *frames.shape[2:])
