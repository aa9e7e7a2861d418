"""Writes the saved runs of this folder anew: python tests/saved_runs/make.py [NAME ...]

Each is the state of a tiny run that has been half trained, the weights with which that run ended,
and how it was started. `test_saved_runs.py` resumes them: what an older version has saved must go
on to the same end. So they are made anew only when a run of a new kind is added.
"""

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))
from src import checkpoint  # noqa: E402
from src.config.presets import make_config  # noqa: E402
from src.config.schema import ModelConfig, Stage  # noqa: E402
from src.model import EncoderForecaster  # noqa: E402
from src.runtime import device  # noqa: E402
from src.tools import optimizers  # noqa: E402

RECORD = HERE / "record.nc"
# Takes half as long to compile as two stages.
ONE_STAGE = ModelConfig(stages=(Stage(8),), kernel_size=3, patch_size=4, group_norm=True)
SMALL = ModelConfig(stages=(Stage(8), Stage(8)), kernel_size=3, patch_size=4, group_norm=True)
STRIDED = ModelConfig(
    stages=(Stage(8, 4, 1), Stage(8, 8, 2)),
    group_norm=True,
    head_channels=4,
    output_kernel_size=3,
)
PEEPHOLES = ModelConfig(stages=(Stage(8), Stage(8)), kernel_size=3, patch_size=4, peepholes=True)
DIGITS = "--image_size 32 32 --epoch_size 10 --batch_size 2 --eval_size 2 --pictures 0"
FRAMES = "--input_frames 3 --forecast_frames 3"
# The network, the flags of the run, and which of its files is the state to resume.
RUNS = {
    "within_epoch": (
        SMALL,
        f"{DIGITS} --curriculum 2+1:0.3 3+2:0.6 --lr_schedule plateau --learning_rate 2e-2 "
        "--optimizer muon --epochs 9 --save_every 100 --save_steps 33",
        "previous.ckpt",
    ),
    "epoch_end": (
        STRIDED,
        f"{DIGITS} --curriculum --optimizer adamw --weight_decay 0.01 --lr_schedule one-cycle "
        "--learning_rate 1e-3 --accumulate_steps 2 --encoder_loss_decay --epochs 4",
        "epoch_0002.ckpt",
    ),
    "float16": (
        SMALL,
        f"{DIGITS} --curriculum --optimizer adam --learning_rate 1e-4 --warmup_steps 0 "
        "--amp_level O2 --epochs 2",
        "epoch_0001.ckpt",
    ),
    "masked_record": (
        PEEPHOLES,
        f"--dataset {RECORD} --value_range auto --missing mask --pad --curriculum --batch_size 8 "
        "--optimizer adam --learning_rate 1e-3 --warmup_steps 0 --loss mse --epochs 3 "
        "--pictures 0",
        "epoch_0002.ckpt",
    ),
}


def write_record():
    """Ninety hours of a wave that crosses 14 x 15 pixels, a corner of them land."""
    import xarray

    t, y, x = np.meshgrid(np.arange(90), np.arange(14), np.arange(15), indexing="ij")
    values = np.float32(280 + 5 * np.sin(0.3 * t - 0.5 * x) * np.cos(0.4 * y))
    values[:, :4, :5] = values[20, 8, 8:11] = np.nan
    hours = {"units": "hours since 2001-01-01 00:00:00", "standard_name": "time"}
    record = xarray.Dataset(
        {"temperature": (("time", "y", "x"), values, {"units": "K"})},
        {"time": ("time", np.arange(90), hours)},
    )
    record.to_netcdf(RECORD, encoding={"temperature": {"zlib": True}})


def start_checkpoint(path, model):
    """A checkpoint of start weights, the same each time, from which train.py takes the network."""
    ms.set_seed(1)
    data = {"image_size": (32, 32), "input_frames": 3, "forecast_frames": 3}
    config = make_config("small", data)
    config = type(config)("small", model, config.data, config.training)
    network = EncoderForecaster(model, 3)
    optimizer = optimizers.make_optimizer(network, config.training)
    checkpoint.save(path, network, optimizer, config, {})


def make(name, folder):
    """Trains one run, and keeps its state and its last weights."""
    model, flags, state = RUNS[name]
    start, run = folder / "start.ckpt", folder / name
    start_checkpoint(start, model)
    command = f"train.py --pretrained_model {start} --train_path {run} {FRAMES} {flags}".split()
    subprocess.run([sys.executable, ROOT / command[0], *command[1:]], check=True)
    keep(checkpoint.load(run / state), HERE / f"{name}.ckpt")
    end = checkpoint.load(run / "last.ckpt")
    end.optimizer = {}
    keep(end, HERE / f"{name}_end.ckpt")


def keep(saved, path):
    """Writes a checkpoint without the folders that it was made in."""
    print(path.name, saved.state)
    data, training = saved.config.data, saved.config.training
    data = dataclasses.replace(data, dataset=data.dataset and RECORD.name)
    training = dataclasses.replace(training, pretrained_model="start.ckpt")
    config = dataclasses.replace(saved.config, data=data, training=training)
    arrays = saved.weights | {f"optimizer.{name}": x for name, x in saved.optimizer.items()}
    path.write_bytes(b"".join(checkpoint._serialise(arrays, config, saved.state)))


def make_mindir(folder):
    """Exports the end of the first run, and keeps what it forecasts."""
    model = HERE / "within_epoch_end.ckpt"
    path = HERE / "exported.mindir"
    path.unlink(missing_ok=True)
    subprocess.run([sys.executable, ROOT / "export.py", "--pretrained_model", model,
                    "--file_name", path, "--batch_size", "2"], check=True)  # fmt: skip
    path.chmod(0o644)
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    np.save(folder / "frames.npy", frames)
    subprocess.run([sys.executable, ROOT / "predict.py", "--mindir", path, "--input",
                    folder / "frames.npy", "--output", folder / "forecast", "--pictures", "0"],
                   check=True)  # fmt: skip
    shutil.copy(folder / "forecast" / "forecast.npy", HERE / "exported.npy")


if __name__ == "__main__":
    device.set_up("CPU")
    names = sys.argv[1:] or [*RUNS, "exported"]
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            if name == "masked_record":
                write_record()
            make_mindir(Path(scratch)) if name == "exported" else make(name, Path(scratch))
