"""Frames moved along a flow: where a pixel of a known motion ends."""

import mindspore as ms
import numpy as np

from src.model.flow import Warp


def moved(frames, flow):
    return Warp()(ms.Tensor(frames), ms.Tensor(flow)).asnumpy()


def uniform(steps, right, down, size=9):
    """A flow of so many pixels a step everywhere, (1, steps, 2, size, size)."""
    flow = np.empty((1, steps, 2, size, size), np.float32)
    flow[:, :, 0], flow[:, :, 1] = right, down
    return flow


def test_one_frame_moves_on_with_each_lead():
    """A pixel at row 4, column 4 that moves 1 to the right and half a pixel up in a step."""
    frame = np.zeros((1, 1, 1, 9, 9), np.float32)
    frame[..., 4, 4] = 1
    expected = np.zeros((1, 3, 1, 9, 9), np.float32)
    expected[0, 0, 0, 3:5, 5] = 0.5
    expected[0, 1, 0, 3, 6] = 1
    expected[0, 2, 0, 2:4, 7] = 0.5
    np.testing.assert_allclose(moved(frame, uniform(3, 1, -0.5)), expected, atol=1e-6)


def test_each_frame_moves_by_one_step(rng):
    """As many frames as flows: each is that of its own time."""
    frames = rng.random((1, 3, 2, 9, 9), np.float32)
    expected = np.concatenate([frames[..., :1], frames[..., :-1]], -1)
    np.testing.assert_allclose(moved(frames, uniform(3, 1, 0)), expected, atol=1e-5)


def test_beyond_the_edge_is_the_edge():
    """Columns 0 to 8 moved by 20 to the right are all column 0."""
    frame = np.broadcast_to(np.arange(9, dtype=np.float32), (1, 1, 1, 9, 9)).copy()
    np.testing.assert_allclose(moved(frame, uniform(2, 20, 0)), 0, atol=1e-6)


def test_no_flow_is_no_motion(rng):
    frame = rng.random((2, 1, 1, 9, 7), np.float32)
    flow = np.zeros((2, 4, 2, 9, 7), np.float32)
    np.testing.assert_allclose(moved(frame, flow), np.repeat(frame, 4, 1), atol=1e-6)
