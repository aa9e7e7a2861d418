"""Training steps of two real ranks; `rank_steps.py` is what each of them runs."""

import numpy as np
import pytest

from tests.scripts.conftest import ROOT, run

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
