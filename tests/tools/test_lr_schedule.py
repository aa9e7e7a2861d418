"""Schedules by their corner points, and one-cycle against PyTorch's."""

import pytest
import torch

from src.config.schema import TrainingConfig
from src.tools.optimizers import learning_rate


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


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_an_extended_run_falls_from_its_last_rate_to_zero(schedule):
    """From progress 0.6 on, whatever warm-up, hold and peak say."""
    settings = {"lr_schedule": schedule, "warmup_steps": 10**6, "decay_start": 0.9}
    training = TrainingConfig(learning_rate=1.0, **settings)
    got = [learning_rate(training, 5, p, extension=(0.6, 1e-3)) for p in (0.6, 0.7, 0.8, 1.0)]
    assert got == pytest.approx([1e-3, (1 + 0.5**0.5) / 2e3, 5e-4, 0])


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_an_extended_run_keeps_a_rate_that_has_no_end(schedule):
    training = TrainingConfig(learning_rate=1.0, lr_schedule=schedule)
    rate = learning_rate(training, 9, 0.7, 1, extension=(0.6, 1e-3))
    assert rate == learning_rate(training, 9, 0.7, 1) > 0.4


def test_plateau_halves():
    training = TrainingConfig(learning_rate=1e-4, lr_schedule="plateau")
    assert [learning_rate(training, 0, 0, n) for n in (0, 1, 2)] == [1e-4, 5e-5, 2.5e-5]
