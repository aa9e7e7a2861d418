"""What earlier versions have saved goes on to the end that it had then; see make.py."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src import checkpoint
from src.forecast import predictor
from tests.scripts.conftest import run

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5


@pytest.mark.parametrize("name", ["within_epoch", "epoch_end", "float16", "masked_record"])
def test_saved_run_goes_on_to_the_same_weights(name, tmp_path):
    saved = checkpoint.load(HERE / f"{name}.ckpt")
    record = ["--dataset", HERE / "record.nc"] if name == "masked_record" else []
    run("train.py", "--resume", saved.path, "--train_path", tmp_path / "run", *record)

    reached = checkpoint.load(tmp_path / "run" / "last.ckpt")
    expected = checkpoint.load(HERE / f"{name}_end.ckpt")
    for state in (reached.state, expected.state):
        del state["seconds"]
    assert reached.state == pytest.approx(expected.state, rel=TOLERANCE)
    assert list(reached.weights) == list(expected.weights)
    for key, weight in expected.weights.items():
        np.testing.assert_allclose(reached.weights[key], weight, rtol=0, atol=TOLERANCE)
        moved = np.abs(weight - saved.weights[key]).max()
        assert moved > 10 * TOLERANCE, f"{key} hardly moved"


def test_saved_mindir_forecasts_the_same():
    model = predictor.from_mindir(HERE / "exported.mindir")
    frames = np.random.default_rng(0).integers(0, 256, model.inputs, np.uint8)
    normalizer = model.normalizer(frames.shape[3:], model.value_range)
    forecast = model.network(ms.Tensor(normalizer.normalize(frames))).asnumpy()
    np.testing.assert_allclose(
        normalizer.denormalize(forecast, frames), np.load(HERE / "exported.npy"), atol=255e-5
    )
