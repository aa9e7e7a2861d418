"""Which sequences are drawn, and what a resumed run keeps of the pictures before it."""

import numpy as np

from src.data.moving_mnist import MovingMNIST
from src.tools.state import TrainingState
from src.tools.watch import Pictures, first_batches


def test_the_first_sequences(digits):
    """In batches of the evaluation's size; what fills the last one up is not counted."""
    source = MovingMNIST(digits[:50], 5, 6, (32, 32), (2,), 1, "validation", "a source")
    frames = source.frames(range(5)).astype(np.float32) / 255
    batches = first_batches(source, 3, 2, 4)
    assert [count for _, _, count in batches] == [2, 1]
    inputs, targets = (np.concatenate([batch[k] for batch in batches]) for k in (0, 1))
    assert inputs.shape == (4, 4, 1, 32, 32)
    np.testing.assert_array_equal(inputs[:3], frames[:3, :4])
    np.testing.assert_array_equal(targets[:3], frames[:3, 4:])
    assert [count for _, _, count in first_batches(source, 9, 8, 4)] == [5]


def test_pictures_of_epochs_to_come_are_taken_back(tmp_path):
    """Resumed in epoch 2: what a later state drew is gone, and other people's files stay."""
    (tmp_path / "pictures").mkdir()
    kept = {"sequence_1_epoch_0001.png", "sequence_12_epoch_0002.png", "epoch_0009.png"}
    for name in kept | {"sequence_1_epoch_0003.png", "sequence_12_epoch_0100.png"}:
        (tmp_path / "pictures" / name).touch()
    Pictures(TrainingState(4, epoch=2, step=7), None, None, [], tmp_path).open()
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == kept
