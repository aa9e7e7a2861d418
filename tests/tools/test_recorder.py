"""Which sequences are drawn, and what a resumed run keeps of the pictures before it."""

from types import SimpleNamespace

import numpy as np

from src import run_folder
from src.data.moving_mnist import MovingMNIST
from src.data.normalizer import Normalizer
from src.data.sequences import OwnSequences
from src.plots.colours import ColorScale
from src.plots.frames import png_of, strip_figure
from src.tools.recorder import Pictures, first_batches
from src.tools.state import TrainingState


def test_the_first_sequences(digits):
    """In batches of the evaluation's size; what fills the last one up is not counted."""
    source = MovingMNIST(digits[:50], 5, 6, (32, 32), (2,), 1, "validation", "a source")
    frames = source[range(5)].astype(np.float32) / 255
    batches = first_batches(source, 3, 2, 4)
    assert [len(truth) for _, _, truth in batches] == [2, 1]
    read, inputs, truth = (np.concatenate([batch[k] for batch in batches]) for k in range(3))
    assert read.shape == (4, 4, 1, 32, 32)
    np.testing.assert_array_equal(read[:3], frames[:3, :4])
    np.testing.assert_array_equal(inputs, source[range(3)][:, :4])
    np.testing.assert_array_equal(truth, source[range(3)][:, 4:])
    assert [len(truth) for _, _, truth in first_batches(source, 9, 8, 4)] == [5]


def test_pictures_are_in_the_datas_units(tmp_path, rng):
    """Of padded frames with a gap: half is 30 of 0 to 60, and what is missing stays so."""
    rain = rng.uniform(0, 60, (2, 5, 1, 6, 7)).astype(np.float32)
    rain[..., 0, :3] = np.nan
    normalizer = Normalizer((0.0, 60.0), fill=5.0, frame_size=(6, 7), size_multiple=4)
    source = OwnSequences(rain, np.arange(2), 5, normalizer, "a test")
    batches = first_batches(source, 1, 1, 3)
    assert batches[0][0].shape == (1, 3, 1, 8, 8)
    validation = SimpleNamespace(result={"mse": 1.0})

    def forecaster(inputs):
        return np.full((1, 2, 1, 8, 8), 0.5, np.float32)

    pictures = Pictures(
        TrainingState(4, epoch=1), validation, forecaster, source, batches, tmp_path
    )
    pictures.open()
    pictures.on_train_epoch_end(None)
    forecast = np.full((2, 1, 6, 7), 30, np.float32)
    forecast[..., 0, :3] = np.nan
    expected = strip_figure(rain[0, :3], forecast, rain[0, 3:], ColorScale((0.0, 60.0)))
    assert pictures.drawn == {"sequence_1": png_of(expected)}


def test_pictures_of_epochs_to_come_are_taken_back(tmp_path):
    """Resumed in epoch 2: what a later state drew is gone, and other people's files stay."""
    (tmp_path / "pictures").mkdir()
    drawn = {"sequence_1_epoch_0001.png", "sequence_12_epoch_0002.png"}
    later = {"sequence_1_epoch_0003.png", "sequence_12_epoch_0100.png"}
    kept = drawn | {"epoch_0009.png", "sequence_7_epoch_0003.png"}
    for name in kept | later:
        (tmp_path / "pictures" / name).touch()
    run_folder.manifest(tmp_path).add(*(f"pictures/{name}" for name in drawn | later))
    Pictures(TrainingState(4, epoch=2, step=7), None, None, None, [], tmp_path).open()
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == kept
