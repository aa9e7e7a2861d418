"""Schedules by their corner points, and one-cycle against PyTorch's."""

import pytest
import torch

from src.config.schema import TrainingConfig
from src.tools.lr_schedule import learning_rate


def rates(points, **settings):
    """The rate at (step, progress) points."""
    training = TrainingConfig(learning_rate=1.0, **settings)
    return [learning_rate(training, step, progress) for step, progress in points]


def test_constant():
    assert rates([(0, 0), (99, 1)], lr_schedule="constant") == [1, 1]


def test_cosine_warms_up_holds_and_falls_to_zero():
    settings = {"lr_schedule": "cosine", "warmup_steps": 10, "decay_start": 0.5}
    points = [(0, 0), (4, 0.01), (9, 0.1), (50, 0.5), (75, 0.75), (100, 1)]
    assert rates(points, **settings) == pytest.approx([0.1, 0.5, 1, 1, 0.5, 0])


def test_cosine_without_warm_up_or_hold():
    assert rates([(0, 0), (5, 0.5), (9, 1)], lr_schedule="cosine") == pytest.approx([1, 0.5, 0])


def test_one_cycle_equals_torch():
    """Progress p stands for step p (N - 1) of N with PyTorch's defaults."""
    steps = 1001
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, steps, pct_start=301 / steps)
    for step in range(steps):
        (got,) = rates([(step, step / (steps - 1))], lr_schedule="one-cycle")
        assert got == pytest.approx(cycle.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        if step < steps - 1:
            cycle.step()


def test_plateau_halves():
    training = TrainingConfig(learning_rate=1e-4, lr_schedule="plateau")
    assert [learning_rate(training, 0, 0, n) for n in (0, 1, 2)] == [1e-4, 5e-5, 2.5e-5]
