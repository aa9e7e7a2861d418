"""Curves show the numbers that they were made from."""

import numpy as np
import pytest

from src.errors import InputError
from src.plots import curves
from src.tools.recorder import COLUMNS

ROWS = """\
1,2,4,3,0.5,8,0.003,0.7,1.5,,,
1,3,6,5,0.75,8,0.002,0.6,1.4,150.5,300,0.25
2,6,12,11,1.5,8,0.001,0.5,1.3,140.25,290,0.5
"""


def make_run(folder, text):
    folder.mkdir()
    (folder / "metrics.csv").write_text(",".join(COLUMNS) + "\n" + text)
    return folder


def lines_of(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_learning_curves_of_two_runs(tmp_path):
    """The second is still being written: its last row is cut short."""
    one = make_run(tmp_path / "one", ROWS)
    two = make_run(tmp_path / "two", ROWS.replace("0.7", "0.9") + "2,7,1")
    runs = {"one": curves.read_metrics(one), "two": curves.read_metrics(two / "metrics.csv")}
    loss, mse, ssim, rate = curves.learning_figure(runs).axes
    assert lines_of(loss) == {
        "one": [[4, 0.7], [6, 0.6], [12, 0.5]],
        "two": [[4, 0.9], [6, 0.6], [12, 0.5]],
    }
    assert lines_of(mse)["two"] == [[6, 150.5], [12, 140.25]]
    assert lines_of(ssim)["one"] == [[6, 0.25], [12, 0.5]]
    assert lines_of(rate)["one"] == [[4, 0.003], [6, 0.002], [12, 0.001]]
    styles = {(line.get_color(), line.get_linestyle()) for line in loss.lines}
    assert len(styles) == 2
    by_minutes = curves.learning_figure(runs, "minutes")
    assert lines_of(by_minutes.axes[1])["one"] == [[0.75, 150.5], [1.5, 140.25]]
    assert by_minutes.axes[1].get_xlabel() == "training minutes"
    (legend,) = by_minutes.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"\x89PNG\r\n\xff", "cannot be read"),
        (b"a,b\n1,2\n", "lacks the column sequences"),
        (",".join(COLUMNS).encode(), "has no row yet"),
        (",".join(COLUMNS).encode() + b"\n1,2,many,4,5,6,7,8,9,10,11,12\n", "'many'"),
    ],
)
def test_files_that_are_no_metrics(tmp_path, content, message):
    if content is not None:
        (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        curves.read_metrics(tmp_path)


def test_errors_by_frame():
    """The 2022 curve has the published mean, and stands beside frames of its own size only."""
    scores = {"mse": [1.0, 2.0], "ssim": [0.5, 0.25]}
    per_frame = {"model": scores, "copy_last": {"mse": [3.0, 4.0], "ssim": [0.1, 0.2]}}
    mse, ssim = curves.frame_figure(per_frame, "a test set", (64, 64)).axes
    published = lines_of(mse).pop("2022 version, official test set (published)")
    assert np.mean([y for _, y in published]) == pytest.approx(34.540098808288576, abs=1e-9)
    assert [x for x, _ in published] == list(range(1, 11))
    assert lines_of(mse)["model"] == [[1, 1.0], [2, 2.0]]
    assert lines_of(ssim) == {"model": [[1, 0.5], [2, 0.25]], "copy last": [[1, 0.1], [2, 0.2]]}
    assert "2022 SSIM is not comparable" in ssim.get_title()
    mse, ssim = curves.frame_figure(per_frame, "a test set", (32, 32)).axes
    assert set(lines_of(mse)) == {"model", "copy last"}
    assert ssim.get_title() == "SSIM"


def test_errors_by_lead_time():
    """In the record's units where it has some; nothing published stands beside those."""
    scores = {"model": {"mse": [1.0, 2.0], "ssim": [0.5, 0.25]}}
    leads = {"unit": "minutes", "values": [5, 10]}
    mse, ssim = curves.frame_figure(scores, "a test set", (64, 64), leads).axes
    assert lines_of(mse) == {"model": [[5, 1.0], [10, 2.0]]}
    assert mse.get_xlabel() == ssim.get_xlabel() == "lead time in minutes"


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")]
)
def test_formats(tmp_path, name, start):
    path = tmp_path / name
    curves.check_output(path, "output")
    scores = {"model": {"mse": [1.0], "ssim": [0.5]}}
    curves.write(curves.frame_figure(scores, "a test set", (32, 32)), path)
    assert path.read_bytes().startswith(start)


def test_an_unknown_format(tmp_path):
    with pytest.raises(InputError, match=r"must end in one of .png, .svg, .pdf \(output\)"):
        curves.check_output(tmp_path / "curves", "output")
