"""Training steps of two real ranks, and in parts; `rank_steps.py` is what each of them runs."""

import numpy as np
import pytest

from tests.scripts.conftest import ROOT, run
from tests.tools.rank_steps import HORIZON, masked_step

SCRIPT = ROOT / "tests/tools/rank_steps.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each rank has found, by name."""
    folder = tmp_path_factory.mktemp("ranks")
    run("scripts/launch.py", "--local_worker_num", 2, "--log_dir", folder, SCRIPT, folder)
    return [np.load(folder / f"rank_{rank}.npz") for rank in range(2)]


def test_an_overflow_on_one_rank_leaves_the_step_out_on_all(found):
    """Weights stay and the loss scale is halved on both ranks."""
    for name in ("without overflow", "with overflow"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
    *before, scale, norm = found[0]["without overflow"]
    assert norm > 0
    *after, halved, left_out = found[0]["with overflow"]
    assert after == before != [1.0, -2.0]
    assert (halved, left_out) == (scale / 2, 0)


@pytest.fixture(scope="module")
def whole():
    """The masked step of one process with the whole batch."""
    return masked_step()


def assert_close(result, expected):
    """Loss and norm, and all gradients together, to 1e-6."""
    assert result[:2] == pytest.approx(expected[:2], rel=1e-6)
    distance = np.linalg.norm(result[2:] - expected[2:])
    assert distance <= 1e-6 * np.linalg.norm(expected[2:])


def test_parts_with_a_mask_are_one_batch(whole):
    """Of four parts one is nearly all there and one is missing."""
    assert_close(masked_step(parts=4), whole)


def test_ranks_with_a_mask_are_one_process(whole, found):
    """Two ranks with two sequences each, at once and one after the other."""
    in_parts = masked_step(HORIZON)
    for rank in found:
        assert_close(rank["masked"], whole)
        assert_close(rank["masked, a horizon in parts"], in_parts)
