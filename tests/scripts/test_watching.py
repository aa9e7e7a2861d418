"""What a training leaves for those who watch it: pictures, TensorBoard's events, curves."""

import csv
import io
import shutil

import mindspore as ms
import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import checkpoint
from src.data.sources import training_sources
from src.plots.colours import ColorScale
from src.plots.frames import png_of, strip_figure
from tests.scripts.conftest import run

NAMES = [f"sequence_{k}_epoch_000{e}.png" for k in (1, 2) for e in (1, 2)]


def rows_of(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def events_of(folder):
    """TensorBoard's own reading of a run: every value and picture by name."""
    return EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "images": 0}).Reload()


def assert_same_numbers(folder):
    """Each number of metrics.csv is there once, at its step."""
    events, rows = events_of(folder), rows_of(folder)
    for name in set(rows[0]) - {"step"}:
        known = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        found = [(event.step, event.value) for event in events.Scalars(name)]
        np.testing.assert_allclose(found, known, rtol=1e-6, err_msg=name)
    assert set(events.Tags()["scalars"]) == set(rows[0]) - {"step"}


def test_the_same_sequences_at_every_evaluation(trained):
    """The last picture shows what the last checkpoint forecasts of the first validation set."""
    assert sorted(p.name for p in (trained / "pictures").iterdir()) == NAMES
    loaded = checkpoint.load(trained / "last.ckpt")
    network = loaded.network()
    frames = training_sources(loaded.config)[1][[0, 1]].astype(np.float32)
    forecast = 255 * network(ms.Tensor(frames[:, :3] / 255)).asnumpy()
    for k in (0, 1):
        colors = ColorScale((0.0, 255.0))
        png = png_of(strip_figure(frames[k, :3], forecast[k], frames[k, 3:], colors))
        pictures = [
            np.asarray(Image.open(source).convert("RGB")).astype(int)
            for source in (io.BytesIO(png), trained / "pictures" / NAMES[2 * k + 1])
        ]
        assert np.abs(pictures[0] - pictures[1]).mean() < 0.1
    first, second = ((trained / "pictures" / name).read_bytes() for name in NAMES[:2])
    assert first != second


def test_events_are_the_rows_and_the_pictures(trained):
    assert_same_numbers(trained)
    events = events_of(trained)
    assert events.Tags()["images"] == ["sequence_1", "sequence_2"]
    for k in (1, 2):
        images = events.Images(f"sequence_{k}")
        assert [image.step for image in images] == [3, 6]
        files = [trained / "pictures" / f"sequence_{k}_epoch_000{e}.png" for e in (1, 2)]
        assert [i.encoded_image_string for i in images] == [path.read_bytes() for path in files]


def test_resumed_from_an_earlier_state(trained, tmp_path):
    """The epoch that is done again replaces what was there: rows, events, the same pictures."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    path = folder / "pictures" / NAMES[1]
    before = path.read_bytes()
    path.write_bytes(b"stale")
    run("train.py", "--resume", folder / "epoch_0001.ckpt", "--train_path", folder)
    assert len(list((folder / "tensorboard").iterdir())) == 2
    assert_same_numbers(folder)
    assert [image.step for image in events_of(folder).Images("sequence_1")] == [3, 6]
    assert path.read_bytes() == before


def test_learning_curves_by_the_script(trained, tmp_path):
    output = tmp_path / "both.png"
    result = run("scripts/plot_metrics.py", trained, trained, "--output", output, cwd=tmp_path)
    assert result.stdout == f"{output}\n"
    with Image.open(output) as picture:
        assert (picture.format, picture.size) == ("PNG", (1000, 620))
