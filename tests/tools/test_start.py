"""What a resumed run goes on from, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from src import checkpoint, run_folder
from src.config import cli
from src.config.presets import make_config
from src.errors import InputError
from src.model import EncoderForecaster
from src.tools import start
from src.tools.earlier import Earlier
from src.tools.optimizers import make_optimizer
from src.tools.state import TrainingState
from tests.conftest import NARROW


@pytest.fixture
def folder(tmp_path):
    """A run's folder with three states, of steps 1, 2 and 3."""
    config = dataclasses.replace(
        make_config("small", {"image_size": (32, 32)}), model=NARROW["paper"]
    )
    network = EncoderForecaster(config.model, 10)
    optimizer = make_optimizer(network, config.training)
    names = ("epoch_0001.ckpt", run_folder.PREVIOUS, run_folder.LAST)
    for step, name in enumerate(names, 1):
        state = TrainingState(steps_per_epoch=1, epoch=step, step=step).to_dict()
        checkpoint.save(tmp_path / name, network, optimizer, config, state)
    return tmp_path


def damage(path):
    """Flips one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_newest_good_state(folder, capsys):
    """A damaged newer one is reported in one line; with no good one left there is an error."""
    assert start.find_resumable(True, folder).state["step"] == 3
    assert capsys.readouterr().err == ""
    damage(folder / run_folder.LAST)
    assert start.find_resumable(True, folder).state["step"] == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "last.ckpt: damaged: its checksum is wrong; resuming from previous.ckpt" in line
    (folder / run_folder.PREVIOUS).unlink()
    assert start.find_resumable(True, folder).state["step"] == 1
    damage(folder / "epoch_0001.ckpt")
    with pytest.raises(InputError, match="no intact checkpoint .*last.ckpt.*epoch_0001.ckpt"):
        start.find_resumable(True, folder)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(InputError, match="has no checkpoint to resume"):
        start.find_resumable(True, tmp_path)
    with pytest.raises(InputError, match="resume needs .* --train_path"):
        start.find_resumable(True, None)


def test_a_run_that_stopped_before_its_first_checkpoint(tmp_path):
    """Nothing to resume: neither message sends to the flag that the other refuses."""
    config = make_config("small", {})
    run_folder.open_run_folder(tmp_path, config, False, Earlier())
    with pytest.raises(InputError, match="start over with --overwrite in place of --resume"):
        start.find_resumable(True, tmp_path)
    with pytest.raises(InputError, match=r"already \(config.json\): start over with --overwrite"):
        run_folder.open_run_folder(tmp_path, config, False, Earlier())
    run_folder.open_run_folder(tmp_path, config, True, Earlier())


def test_a_run_with_a_checkpoint_is_continued(folder):
    config = make_config("small", {})
    run_folder.manifest(folder).add(run_folder.LAST)
    with pytest.raises(InputError, match=r"last.ckpt\): continue it with --resume, start over"):
        run_folder.open_run_folder(folder, config, False, Earlier())


def test_what_may_change(folder):
    found = start.find_resumable(True, folder)
    assert start.resumed_config(found, {}) == found.config
    changes = {"learning_rate": 1e-5, "epochs": 7, "keep": 1, "num_parallel_workers": 2}
    config = start.resumed_config(found, changes)
    assert config.training.learning_rate == 1e-5
    assert config.data.num_parallel_workers == 2
    assert config.model == found.config.model


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 4}, {"seed": 2}, {"input_frames": 9}, {"output_activation": "identity"}],
)
def test_what_may_not_change(folder, options):
    found = start.find_resumable(True, folder)
    (name,) = options
    options = {**options, "loss": "mse"} if name == "output_activation" else options
    with pytest.raises(InputError, match=f"other settings: .*{name} is .* in the checkpoint, not"):
        start.resumed_config(found, options)


def test_a_damaged_training_state(folder):
    found = start.find_resumable(True, folder)
    for change in ({"step": -1.5}, {"step": "3"}, {"best_mse": [1]}, {"surplus": 1}):
        broken = dataclasses.replace(found, state={**found.state, **change})
        with pytest.raises(InputError, match="training state is damaged"):
            TrainingState.from_checkpoint(broken)


def new_config(*options):
    """The configuration of train.py with these options, on a CPU."""
    parser = cli.Parser("")
    cli.add_run_flags(parser)
    cli.add_config_flags(parser)
    flags = start.given_flags(parser.parse_args(list(map(str, options))))
    return start.resolve_start(flags, "CPU").config


def test_a_runs_settings_start_another(tmp_path):
    """All of them, the network too; flags win."""
    first = new_config("--preset", "paper", "--epochs", 7, "--curriculum", "4+2:0.5", "--keep", 9)
    (tmp_path / "config.json").write_text(first.to_json())
    assert new_config("--config", tmp_path / "config.json") == first
    other = new_config("--config", tmp_path / "config.json", "--epochs", 8, "--curriculum")
    changes = {"epochs": 8, "curriculum": ()}
    assert other == dataclasses.replace(
        first, training=dataclasses.replace(first.training, **changes)
    )


def test_a_dataset_is_looked_at_anew(tmp_path, rng):
    """Of the same file the size of an epoch that was chosen stays; of another it is its own."""
    for name, count in (("a.npy", 60), ("b.npy", 90)):
        np.save(tmp_path / name, rng.random((count, 16, 16)).astype(np.float32) * count)
    frames = ("--input_frames", 2, "--forecast_frames", 2)
    first = new_config(
        *("--preset", "small", "--dataset", tmp_path / "a.npy", "--value_range", "auto"),
        *(*frames, "--epoch_size", 10, "--batch_size", 4),
    )
    saved = tmp_path / "config.json"
    saved.write_text(first.to_json())
    assert new_config("--config", saved) == first
    other = new_config("--config", saved, "--dataset", tmp_path / "b.npy")
    assert other.data.dataset_crc != first.data.dataset_crc
    assert other.data.value_range[1] > 60 > first.data.value_range[1]
    # 61 windows, as often as it takes for 200 steps of 4.
    assert other.data.epoch_size == 14 * (90 - 2 * 9 - 2 * 4 - 3)
    digits = new_config("--config", saved, "--data_path", tmp_path, "--image_size", 32, 32)
    assert (digits.data.dataset, digits.data.data_path) == (None, str(tmp_path))


def test_a_config_that_cannot_be_used(tmp_path):
    saved = tmp_path / "config.json"
    saved.write_text(make_config("small", {}).to_json().replace('"epochs"', '"epoks"'))
    for options, message in (
        ((), "config.json: TrainingConfig: epoks is unknown"),
        (("--preset", "small"), "config is given with --preset"),
        (("--recipe", "published"), "config is given with --recipe"),
        (("--resume", "--train_path", tmp_path), "config is given with --resume"),
    ):
        with pytest.raises(InputError, match=message):
            new_config("--config", saved, *options)
    with pytest.raises(InputError, match="none.json: cannot be read"):
        new_config("--config", tmp_path / "none.json")
