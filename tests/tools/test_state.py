"""How far a run has come, and on which clips it trains."""

import pytest

from src.config import Clip, TrainingConfig
from src.tools.state import TrainingState, share_of_work

CLIPS = (Clip(4, 2, 0.3), Clip(7, 5, 0.6))


def test_each_clip_gets_its_share_of_the_work_not_of_the_steps():
    """0.3 / 6 + 0.3 / 12 + 0.4 / 20 = 0.095, of which the first clips' steps are 0.05."""
    points = [0, 0.025 / 0.095, 0.05 / 0.095, 0.075 / 0.095, 0.085 / 0.095, 1]
    shares = [share_of_work(CLIPS, 20, point) for point in points]
    assert shares == pytest.approx([0, 0.15, 0.3, 0.6, 0.8, 1])
    assert share_of_work((), 20, 0.37) == 0.37


def test_a_run_of_steps_spends_its_work_as_the_curriculum_says():
    """1,900 steps: 1,000 of 6 frames, 500 of 12 and 400 of 20, each half a step more at most."""
    recipe, state = TrainingConfig(epochs=19, curriculum=CLIPS), TrainingState(100)
    counts = [0, 0, 0]
    while state.progress(recipe) < 1:
        counts[state.stage(recipe)] += 1
        state.step += 1
    assert state.step == 1900
    assert counts == pytest.approx([1000, 500, 400], abs=1)


def test_progress_is_that_of_the_nearest_limit():
    state = TrainingState(100, step=50, frames=400, seconds=30.0)
    assert state.progress(TrainingConfig(epochs=1)) == 0.5
    assert state.progress(TrainingConfig(epochs=100, max_minutes=2)) == 0.25
    assert state.progress(TrainingConfig(epochs=100, max_minutes=2, max_work=40)) == 0.5


def test_work_decides_the_stage():
    """A budget of 10 whole sequences of 20 frames; 60 frames are 0.3 of it."""
    recipe = TrainingConfig(max_work=10, curriculum=CLIPS)
    stages = [TrainingState(10**6, frames=n).stage(recipe) for n in (0, 59, 60, 119, 120, 200)]
    assert stages == [0, 0, 1, 1, 2, 2]
