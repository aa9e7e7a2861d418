"""Device set-up: the fast convolution kernels run, and a user's own setting wins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.errors import InputError
from src.tools import device

# The second is what the oneDNN of MindSpore 2.7 listens to.
VERBOSE = {"ONEDNN_VERBOSE": "1", "DNNL_VERBOSE": "1"}

PROGRAM = """
import mindspore as ms
import numpy as np
from src.tools import device

print(device.describe(device.set_up("CPU")))
conv = ms.nn.SequentialCell(
    ms.nn.Conv2d(16, 32, 3, pad_mode="pad", padding=1),
    ms.nn.Conv2dTranspose(32, 16, 4, 2, "pad", 1),
)
gradient = ms.grad(conv, 0, conv.trainable_params())
gradient(ms.Tensor(np.ones((4, 16, 16, 16), np.float32)))[0].asnumpy()
"""


def run(tmp_path, **environment):
    """Runs convolutions and their gradients in a new process that lists its oneDNN kernels."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    clean = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, str(program)],
        env={**clean, **VERBOSE, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_no_convolution_runs_in_the_reference_kernel(tmp_path):
    """On AVX-512 the wheel's oneDNN would take `ref`, 100 times slower."""
    output = run(tmp_path)
    kernels = [line for line in output.splitlines() if ",exec,cpu,convolution," in line]
    for direction in ("forward", "backward_data", "backward_weights"):
        assert any(f",{direction}" in line for line in kernels), output
    assert not [line for line in kernels if ",ref" in line or ":ref" in line]
    assert "oneDNN limited to AVX2" in output


def test_a_users_own_setting_wins(tmp_path):
    assert "oneDNN limited to SSE41" in run(tmp_path, ONEDNN_MAX_CPU_ISA="SSE41")


def test_wrong_devices():
    with pytest.raises(InputError, match="device_id is -1"):
        device.set_up("CPU", -1)
    with pytest.raises(InputError, match="none is usable here"):
        device.set_up("Ascend")
