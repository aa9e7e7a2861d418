"""Scripts that are called by a symbolic link, from a folder of one's own programs for example."""

import pytest

from tests.scripts.conftest import ROOT, run

SHELL = sorted(path.name for path in (ROOT / "scripts").glob("*.sh") if path.name != "python.sh")


@pytest.mark.parametrize("name", [name for name in SHELL if name != "run_tests.sh"])
def test_a_shell_script_finds_its_folder(tmp_path, name):
    """By a link to a link, a relative one, in a folder with a space."""
    links = tmp_path / "my programs"
    links.mkdir()
    (links / "absolute").symlink_to(ROOT / "scripts" / name)
    (links / "relative").symlink_to("absolute")
    arguments = ["surplus"] if name == "quickstart.sh" else [0]
    result = run(links / "relative", *arguments, expect=2, cwd=tmp_path)
    assert f"bash scripts/{name}" in result.stderr


@pytest.mark.parametrize("name", ["train.py", "scripts/convert_2022.py", "benchmarks/learning.py"])
def test_a_python_script_finds_its_folder(tmp_path, name):
    (tmp_path / "link.py").symlink_to(ROOT / name)
    assert "usage: link.py" in run(tmp_path / "link.py", "--help", cwd=tmp_path).stdout


def test_an_evaluation_by_a_link(tmp_path):
    """The script that is called finds the project's files, not only its own."""
    (tmp_path / "measure").symlink_to(ROOT / "scripts" / "run_eval.sh")
    result = run(tmp_path / "measure", 0, tmp_path, "none.ckpt", 1, expect=2, cwd=tmp_path)
    assert "none.ckpt: cannot be read" in result.stderr
