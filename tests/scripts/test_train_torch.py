"""Training in PyTorch: the function of the network, the steps of train.py, and going on."""

import shutil
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
import torch

from scripts import train_torch
from src import checkpoint
from src.data.sources import EMBEDDED_DIGITS
from src.model import EncoderForecaster
from src.tools.loss import ForecastLoss
from src.tools.optimizers import make_optimizer
from src.tools.train_step import TrainStep
from tests.conftest import NARROW
from tests.saved_runs.make import SMALL, start_checkpoint
from tests.scripts.conftest import ROOT, run_here

LAYOUTS = {
    "multiscale": NARROW["multiscale"],
    "small": checkpoint.load(checkpoint.BUNDLED).config.model,
}
# Holds a folder's lock until its stdin is closed.
OWNER = """
import sys
from pathlib import Path
from src.run_folder import lock
lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""
# PyTorch's own, when it loads its compiler.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def not_compiled():
    """The step as written: compiling it takes longer than these trainings."""
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


@pytest.fixture
def command(tmp_path):
    """The command line of a run of four steps of two sequences, without its folder."""
    digits, start = tmp_path / "digits", tmp_path / "start.ckpt"
    digits.mkdir()
    shutil.copy(EMBEDDED_DIGITS, digits / "train-images-idx3-ubyte.gz")
    start_checkpoint(start, SMALL)
    few = "--max_work 8 --batch_size 2 --eval_size 2 --eval_steps 2"
    return [str(start), "--data_path", str(digits), *few.split(), "--train_path"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_network_is_ours(rng, layout):
    config = LAYOUTS[layout]
    network = EncoderForecaster(config, 3)
    for parameter in network.get_parameters():
        values = rng.normal(size=parameter.shape) * 0.1
        parameter.set_data(ms.Tensor(values.astype(np.float32)))
    weights = {p.name: p.asnumpy() for p in network.get_parameters()}
    inputs = rng.random((2, 4, 1, 32, 32), np.float32)
    read, states = network.encode(ms.Tensor(inputs))
    expected = [network.head(x, None).asnumpy() for x in (network.forecast(states), read)]
    in_torch = train_torch.Forecaster(
        config, weights, network.kernel_matrices(), train_torch.activate
    )
    with torch.no_grad():
        got = in_torch(torch.from_numpy(inputs), 3)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_steps_are_those_of_train_py(command, tmp_path):
    """Two steps agree up to the 8 bits of bfloat16."""
    args = train_torch.parse_args([*command, str(tmp_path / "run")])
    loaded = train_torch.configured(args)
    run = train_torch.Run(loaded, args.train_path, train_torch.activate)
    network = loaded.network()
    training = loaded.config.training
    optimizer = make_optimizer(network, training)
    step = TrainStep(ForecastLoss(network, "bce", 1.0), optimizer, training.grad_clip)
    for k in range(2):
        frames = run.source.normalizer.normalize(run.source[np.arange(2 * k, 2 * k + 2)])
        optimizer.learning_rate.set_data(ms.Tensor(5e-3 * (k + 1) / 50, ms.float32))
        expected, _ = step(ms.Tensor(frames[:, :3]), ms.Tensor(frames[:, 3:]))
        loss, _ = run.train_step()
        assert loss == pytest.approx(float(expected.asnumpy()), rel=2e-3)
    ours = {p.name: p.asnumpy() for p in network.get_parameters()}
    for name, weight in run.model.weights().items():
        moved = ours[name] - loaded.weights[name]
        error = weight.detach().numpy() - ours[name]
        assert np.linalg.norm(error) < 0.3 * np.linalg.norm(moved), name


def test_a_run_that_was_stopped_goes_on(command, tmp_path):
    """Its files are those of a run that went through, to the bit."""
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    run_here("scripts/train_torch.py", *command, through)
    args = train_torch.parse_args([*command, str(stopped)])
    stopped.mkdir()
    run = train_torch.Run(train_torch.configured(args), stopped, train_torch.activate)
    run.train_step()
    run.save()
    run_here("scripts/train_torch.py", *command, stopped)
    for name in ("best.ckpt", "metrics.csv"):
        assert (stopped / name).read_bytes() == (through / name).read_bytes()
    assert checkpoint.load(through / "best.ckpt").network()


def test_other_networks_are_left_to_train_py(command, tmp_path):
    command[0] = ROOT / "weights" / "rain.ckpt"
    result = run_here("scripts/train_torch.py", *command, tmp_path / "run", expect=2)
    assert "train.py trains it on" in result.stderr
    assert not (tmp_path / "run").exists()


def test_only_its_own_run_is_gone_on_with(command, tmp_path):
    folder = tmp_path / "run"
    run_here("scripts/train_torch.py", *command, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run_here("scripts/train_torch.py", *command, folder, "--seed", "2", expect=2)
    assert "other settings" in result.stderr
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "state.pt").unlink()
    result = run_here("scripts/train_torch.py", *command, folder, expect=2)
    assert "holds no run of this script" in result.stderr


def test_two_runs_in_one_folder(command, tmp_path):
    """The second is refused, and adds nothing to the folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    owner = [sys.executable, "-c", OWNER, folder]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(owner, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "locked\n"
        result = run_here("scripts/train_torch.py", *command, folder, expect=2)
    assert "another process is training in it" in result.stderr
    assert list(folder.iterdir()) == [folder / ".lock"]
