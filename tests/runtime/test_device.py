"""Device set-up: the fast convolution kernels run, and a user's own setting wins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.ascend_operators import GRAPH_ENGINE, KERNEL_BY_KERNEL
from scripts.check_ascend import JIT_LEVELS
from src.config.presets import PRESETS
from src.errors import InputError
from src.runtime import device

# The second is what the oneDNN of MindSpore 2.7 listens to.
VERBOSE = {"ONEDNN_VERBOSE": "1", "DNNL_VERBOSE": "1"}

PROGRAM = """
import sys
import mindspore as ms
from src.config.presets import make_config
from src.model import EncoderForecaster
from src.runtime import device
from src.tools.loss import ForecastLoss

print(device.describe(device.set_up("CPU")))
for preset in sys.argv[1:]:
    config = make_config(preset, {})
    network = EncoderForecaster(config.model, 1)
    loss = ForecastLoss(network, config.training.loss, 1.0)
    frames, target = ms.ops.zeros((2, 2, 1, 64, 64)), ms.ops.zeros((2, 1, 1, 64, 64))
    ms.value_and_grad(loss, None, network.trainable_params())(frames, target)[0].asnumpy()
"""


def run(tmp_path, *presets, **environment):
    """The loss and gradients of each preset, in a new process that lists its oneDNN kernels."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    clean = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, str(program), *presets],
        env={**clean, **VERBOSE, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("preset", PRESETS)
def test_no_convolution_runs_in_the_reference_kernel(tmp_path, preset):
    """On AVX-512 the wheel's oneDNN would take `ref`, 100 times slower."""
    output = run(tmp_path, preset)
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
    with pytest.raises(InputError, match="jit_level is O2: only an Ascend has"):
        device.set_up("CPU", jit_level="O2")


def test_an_ascend_runs_kernel_by_kernel_unless_asked_otherwise():
    """The way for which its check finds the presets ready."""
    assert JIT_LEVELS[device.default_jit_level("Ascend")] == KERNEL_BY_KERNEL
    assert JIT_LEVELS["O2"] == GRAPH_ENGINE
    assert device.default_jit_level("CPU") is None
