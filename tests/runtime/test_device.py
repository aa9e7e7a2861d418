"""Device set-up: the fast convolution kernels run, and a user's own setting wins."""

import os
import re
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
    print("preset", preset, flush=True)
    config = make_config(preset, {})
    network = EncoderForecaster(config.model, 1)
    loss = ForecastLoss(network, config.training.loss, 0.0)
    frames, target = ms.ops.zeros((2, 1, 1, 64, 64)), ms.ops.zeros((2, 1, 1, 64, 64))
    ms.value_and_grad(loss, None, network.trainable_params())(frames, target)[0].asnumpy()
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The lines about the device and, by preset, of the oneDNN kernels that loss and gradients run:
    a new process lists them.
    """
    program = tmp_path_factory.mktemp("kernels") / "program.py"
    program.write_text(PROGRAM)
    clean = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    root = Path(__file__).resolve().parents[2]
    output = subprocess.run(
        [sys.executable, str(program), *PRESETS],
        env={**clean, **VERBOSE, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    described, *parts = re.split(r"^preset (\w+)\n", output, flags=re.M)
    return described, dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("preset", PRESETS)
def test_no_convolution_runs_in_the_reference_kernel(kernels, preset):
    """On AVX-512 the wheel's oneDNN would take `ref`, 100 times slower."""
    described, outputs = kernels
    output = outputs[preset]
    lines = [line for line in output.splitlines() if ",exec,cpu,convolution," in line]
    for direction in ("forward", "backward_data", "backward_weights"):
        assert any(f",{direction}" in line for line in lines), output
    assert not [line for line in lines if ",ref" in line or ":ref" in line]
    assert "oneDNN limited to AVX2" in described


def test_a_users_own_setting_wins(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert "oneDNN limited to SSE41" in device.describe(device.set_up("CPU"))


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
