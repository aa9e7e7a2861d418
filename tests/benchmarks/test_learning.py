"""benchmarks/learning.py: what a budget is, and what its trials are."""

import sys

import pytest

from src.config.presets import make_config
from tests.scripts.conftest import ROOT, run_here

sys.path.insert(0, str(ROOT / "benchmarks"))
import learning  # noqa: E402


@pytest.mark.parametrize(
    ("preset", "gmac"),
    [("two_scale", 2.134), ("small", 6.77), ("paper", 55.8), ("multiscale", 313.8)],
)
def test_macs_are_those_of_the_compiled_graphs(preset, gmac):
    """The figures of bench_graph.py, which counts them in the graphs."""
    config = make_config(preset, {"encoder_loss_weight": 0.0})
    assert learning.whole_macs(config) / 1e9 == pytest.approx(gmac, rel=2e-3)


def test_trials_of_one_budget_cost_the_same():
    """The work that train.py is given, times what a unit of it costs: a quarter of U."""
    for trial in learning.TRIALS.values():
        config = learning.config_of(trial)
        flag, work = learning.budget_flags("0.25U", config)
        assert flag == "--max_work"
        assert float(work) * learning.macs_per_work(config) == pytest.approx(
            0.25 * 6600 * 6.77e9, rel=1e-3
        )


def test_other_budgets():
    config = learning.config_of(learning.TRIALS["batch_16"])
    assert learning.budget_flags("5min", config) == ["--max_minutes", "5.0"]
    assert learning.budget_flags("3200seq", config) == ["--epoch_size", "3200", "--epochs", "1"]
    with pytest.raises(learning.InputError, match="budget is '3 hours'"):
        learning.budget_flags("3 hours", config)


def test_what_trials_are_of():
    """A preset that changes changes no trial but its own."""
    first = learning.config_of(learning.TRIALS["curriculum"])
    assert (first.training.optimizer, first.model.group_norm) == ("adam", False)
    assert learning.config_of(learning.TRIALS["small"]) == make_config("small", {})


def test_a_run_that_has_a_row_is_named_and_not_trained(tmp_path):
    """Both seeds, of the results that come with the project; the file stays as it is."""
    results = tmp_path / "learning_results.json"
    results.write_bytes(learning.RESULTS.read_bytes())
    options = ["--trials", "curriculum", "--seeds", 1, 3, "--results", results]
    lines = run_here("benchmarks/learning.py", *options).stdout.splitlines()
    end = "not trained, learning_results.json has its row; --results names another file"
    assert lines[:2] == [f"curriculum, 0.25U, seed {seed}: {end}" for seed in (1, 3)]
    assert lines[2].split()[:3] == ["trial", "budget", "seed"]
    assert results.read_bytes() == learning.RESULTS.read_bytes()
