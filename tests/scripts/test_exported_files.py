"""Exported files used as docs/export.md says, by its own words, without this project's code."""

import re

import mindspore as ms
import numpy as np

from src import checkpoint
from src.data.normalizer import normalize
from src.data.sources import evaluation_source
from tests.scripts.conftest import ROOT, run_here
from tests.scripts.test_end_to_end import network_of

SHAPE = "np.zeros((1, 10, 1, 64, 64), np.float32)"


def example(needle):
    """The page's block of Python that holds some words."""
    page = (ROOT / "docs" / "export.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if needle in c]
    assert SHAPE in code
    assert "src" not in code
    return code


def use_as_the_page_says(needle, trained, folder, monkeypatch):
    """Runs that block in the folder of the exported file on three real sequences at a time."""
    source = evaluation_source(checkpoint.load(trained / "best.ckpt").config)
    frames = normalize(source[range(7, 10)])[:, :3]
    scope = {"given": frames}
    monkeypatch.chdir(folder)
    exec(example(needle).replace(SHAPE, "given"), scope)
    return frames, scope["forecast"]


def test_mindir_for_any_batch(trained, tmp_path, monkeypatch):
    checkpoint_file = trained / "best.ckpt"
    options = ["--file_name", tmp_path / "convlstm.mindir", "--batch_size", 0]
    result = run_here("export.py", "--pretrained_model", checkpoint_file, *options)
    assert "inputs:  (any, 3, 1, 32, 32) float32 in [0, 1]" in result.stdout
    frames, forecast = use_as_the_page_says("GraphCell", trained, tmp_path, monkeypatch)
    expected = network_of(checkpoint_file)(ms.Tensor(frames)).asnumpy()
    np.testing.assert_allclose(forecast, expected, atol=1e-5)


def test_onnx_for_any_batch(trained, tmp_path, monkeypatch):
    checkpoint_file = trained / "best.ckpt"
    options = ["--file_name", tmp_path / "convlstm.onnx", "--file_format", "ONNX"]
    options += ["--batch_size", 0]
    result = run_here("export.py", "--pretrained_model", checkpoint_file, *options)
    assert "outputs: (any, 3, 1, 32, 32) float32" in result.stdout
    frames, forecast = use_as_the_page_says("onnxruntime", trained, tmp_path, monkeypatch)
    expected = network_of(checkpoint_file)(ms.Tensor(frames)).asnumpy()
    np.testing.assert_allclose(forecast, expected, atol=1e-4)
