"""Strips and animations: what is in them, read back from the figures and from the files."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from src.data.dataset import LeadStep
from src.data.normalizer import Normalizer
from src.formats.cf.grid import Grid
from src.plots.colours import ColorScale, color_scale
from src.plots.frames import (
    animation_frames,
    draw_animation,
    draw_strip,
    png_of,
    strip_figure,
)


@pytest.fixture
def sequence(rng):
    """Inputs (3), forecast (4) and truth of one channel; the forecast leaves [0, 1]."""
    frames = rng.random((7, 1, 16, 24))
    return frames[:3], frames[3:] + rng.normal(size=(4, 1, 16, 24)), frames[3:]


def numbers_at(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def arrays_in(axes):
    return [np.asarray(image.get_array()) for image in axes.images]


def test_rows_of_a_strip(sequence):
    """Inputs, truth, forecast and error, each frame a panel, numbered; the MSE is NumPy's."""
    inputs, forecast, truth = sequence
    *rows, bar = strip_figure(*sequence).axes
    labels = [axes.get_ylabel() for axes in rows]
    assert labels == ["input", "truth", "forecast", "absolute\nerror"]
    assert [len(axes.images) for axes in rows] == [3, 4, 4, 4]
    assert numbers_at(rows[0]) == ["1", "2", "3"]
    assert numbers_at(rows[1]) == ["4", "5", "6", "7"]
    expected = [f"{((forecast[t] - truth[t]) ** 2).sum():.1f}" for t in range(4)]
    assert numbers_at(rows[3]) == expected
    np.testing.assert_array_equal(arrays_in(rows[0]), inputs[:, 0])
    np.testing.assert_array_equal(arrays_in(rows[1]), truth[:, 0])
    np.testing.assert_array_equal(arrays_in(rows[2]), forecast[:, 0].clip(0, 1))
    np.testing.assert_allclose(arrays_in(rows[3]), abs(forecast - truth)[:, 0])
    for axes, colours in zip(rows, ("gray", "gray", "gray", "cividis"), strict=True):
        assert {(i.get_cmap().name, *i.get_clim()) for i in axes.images} == {(colours, 0, 1)}
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0", "1"]


def test_a_strip_without_truth(sequence):
    rows = strip_figure(*sequence[:2]).axes
    assert [axes.get_ylabel() for axes in rows] == ["input", "forecast"]
    assert [len(axes.images) for axes in rows] == [3, 4]
    assert numbers_at(rows[1]) == ["4", "5", "6", "7"]


def test_units_of_the_data(sequence):
    """The same frames in units of -10 to 60: same picture, same MSE; the error is forecast less
    truth, in colours up to the 99th percentile of its size.
    """
    plain = strip_figure(*sequence)
    inputs, forecast, truth = (70 * frames - 10 for frames in sequence)
    figure = strip_figure(inputs, forecast, truth, colors=ColorScale((-10, 60)))
    for ours, theirs in zip(figure.axes[:3], plain.axes[:3], strict=True):
        np.testing.assert_allclose(arrays_in(ours), arrays_in(theirs), atol=1e-12)
    for ours, theirs in zip(figure.axes[:4], plain.axes[:4], strict=True):
        assert numbers_at(ours) == numbers_at(theirs)
    errors, bar = figure.axes[3:5]
    assert errors.get_ylabel() == "forecast\nless truth"
    np.testing.assert_allclose(arrays_in(errors), (forecast - truth)[:, 0])
    sizes = np.sort(abs(forecast - truth).ravel())
    sizes = sizes[sizes >= sizes[-1] / 100]
    largest = float(f"{np.quantile(sizes, 0.99):.2g}")
    assert {image.get_clim() for image in errors.images} == {(-largest, largest)}
    texts = [label.get_text() for label in bar.get_yticklabels()]
    assert texts == [f"-{largest:g}", "0", f"+{largest:g}"]
    assert "scaled from [-10, 60] to [0, 1]" in " ".join(figure.texts[0].get_text().split())


def scale_of(units, transform="none", value_range=(0.0, 50.0), name="rain"):
    """The `ColorScale` of a record in these units; None: of a file without any."""
    grid = None if units is None else Grid(name, units=units)
    normalizer = Normalizer(value_range, transform, frame_size=(16, 24))
    return color_scale(SimpleNamespace(normalizer=normalizer, grid=grid))


def test_own_data_has_a_bar_in_its_units(sequence):
    """A concentration on the scale of its transform: even steps of the bar are equal factors."""
    colors = scale_of("g m-3", "log", (0.01, 100.0), "dust")
    inputs, forecast, truth = (50 * abs(frames) for frames in sequence)
    forecast[:, :, :4] = inputs[:, :, :4] = np.nan
    *rows, _, bar = strip_figure(inputs, forecast, truth, colors).axes
    assert bar.get_ylabel() == "dust\n(g m-3)"
    texts = [label.get_text() for label in bar.get_yticklabels()]
    assert texts == ["0.01", "0.1", "1", "10", "100"]
    tens = (np.log10(inputs[:, 0]) + 2) / 4
    np.testing.assert_allclose(arrays_in(rows[0]), tens.clip(0, 1), atol=1e-5)
    # Missing is grey on the screen, and of no colour that a value has.
    pixels = next(animation_frames(inputs, forecast, None, colors))
    assert (pixels[80, 100] == 184).all()
    assert next(animation_frames(*sequence[:2])).shape[1] < pixels.shape[1]


RAIN = {0.0: "white", 0.09: "white", 0.1: "cyan", 0.2: "deepskyblue", 0.5: "blue", 1: "chartreuse",
    2: "green", 5: "yellow", 10: "orange", 20: "red", 50: "magenta", 99: "magenta",
    100: "darkmagenta", 900: "darkmagenta"}  # fmt: skip
DBZ = {-32.0: "white", 4.9: "white", 5: "cyan", 24.9: "chartreuse", 25: "green", 50: "darkmagenta"}


@pytest.mark.parametrize(
    ("units", "transform", "colours"),
    [
        ("mm/h", "none", RAIN),
        ("mm h-1", "dbz", RAIN),
        (None, "dbz", RAIN),
        ("dBZ", "none", DBZ),
    ],
)
def test_rain_has_colours_of_its_own(units, transform, colours):
    """Each value that a class begins with is of its colour, seen in the picture."""
    colors = scale_of(units, transform)
    frames = np.full((3, 1, 8, 8), np.nan)
    values = np.array(list(colours))
    frames[:, 0].reshape(3, -1)[:, : len(values)] = values
    figure = strip_figure(frames[:1], frames[1:], frames[1:], colors)
    with Image.open(io.BytesIO(png_of(figure))) as picture:
        pixels = np.asarray(picture.convert("RGB")) / 255
    (image,), axes = figure.axes[0].images, figure.axes[0]
    top, left = round(pixels.shape[0] - axes.bbox.y1), round(axes.bbox.x0)
    side = (image.get_extent()[1] - image.get_extent()[0]) / 8
    for k, colour in enumerate([*colours.values(), "#b8b8b8"]):
        row, column = divmod(k, 8)
        found = pixels[int(top + (row + 0.5) * side), int(left + (column + 0.5) * side)]
        np.testing.assert_allclose(found, to_rgb(colour), atol=1 / 255, err_msg=colour)
    bar = figure.axes[5]
    texts = [label.get_text() for label in bar.get_yticklabels()]
    assert texts == (["0.1", "0.5", "2", "10", "50"] if colours is RAIN else
        ["5", "15", "25", "35", "45"])  # fmt: skip
    note = " ".join(figure.texts[0].get_text().split())
    assert note.endswith(f"white: below {texts[0]}")
    assert {image.get_clim() for image in figure.axes[3].images} == {(-1, 1)}


def test_what_is_no_rain_keeps_its_colours():
    """Amounts, temperatures, values without units; colour pictures of any units."""
    for units in ("mm", "K", "kg m-2 s-1", "", None):
        assert scale_of(units).colours[0].name == "viridis"
    frames = np.random.default_rng(0).random((4, 3, 8, 8))
    figure = strip_figure(frames[:2], frames[2:], None, scale_of("mm/h", value_range=(0.0, 1.0)))
    np.testing.assert_array_equal(arrays_in(figure.axes[0])[0], frames[0].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("name", "units", "value_range", "shape"),
    [
        ("rainfall_rate", "mm h-1", (0.0, 100.0), (109, 100)),
        ("stratiform_precipitation_flux", "kg m-2 s-1", (0.0, 1.2345e-4), (64, 64)),
        ("sea_surface_temperature", "degrees_Celsius", (-123.4567, 305.6543), (16, 64)),
        ("x" * 60, "K", (-1.23e-12, 1e-12), (40, 40)),
    ],
)
def test_nothing_is_cut_off(name, units, value_range, shape, rng):
    """Strip and animation are white all along their edges: no number and no label reaches them."""
    low, high = value_range
    frames = low + (high - low) * rng.random((7, 1, *shape))
    colors = scale_of(units, value_range=value_range, name=name)
    sequence = frames[:3], frames[3:5], frames[5:], colors, LeadStep(5, "minutes")
    with Image.open(io.BytesIO(png_of(strip_figure(*sequence)))) as picture:
        strip = np.asarray(picture.convert("RGB"))
    for pixels in (strip, next(animation_frames(*sequence))):
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge == 255).all()


@pytest.mark.parametrize("shape", [(18, 432), (13, 500), (109, 100), (1, 90), (300, 7)])
def test_a_row_has_room_for_its_frames(shape, rng):
    """More of them than are forecast, and of any shape."""
    frames = rng.random((8, 1, *shape))
    figure = strip_figure(frames[:4], frames[4:6], frames[6:])
    for axes in figure.axes[:4]:
        assert max(image.get_extent()[1] for image in axes.images) <= axes.get_xlim()[1]


@pytest.mark.parametrize(
    ("step", "inputs", "future", "unit"),
    [
        (LeadStep(5, "minutes"), ["-10", "-5", "0"], ["+5", "+10", "+15", "+20"], "minutes"),
        (LeadStep(1, "months"), ["-2", "-1", "0"], ["+1", "+2", "+3", "+4"], "months"),
        (LeadStep(0.5, "seconds"), ["-1", "-0.5", "0"], ["+0.5", "+1", "+1.5", "+2"], "seconds"),
    ],
)
def test_lead_times_of_a_record(sequence, step, inputs, future, unit):
    """Frames are numbered by the time from the last input; errors are what they were."""
    plain, figure = strip_figure(*sequence), strip_figure(*sequence, step=step)
    rows = figure.axes
    assert numbers_at(rows[0]) == inputs
    assert numbers_at(rows[1]) == future
    assert numbers_at(rows[3]) == numbers_at(plain.axes[3])
    assert figure.texts[0].get_text().startswith(f"above: {unit} from the last input frame")
    assert plain.texts[0].get_text().startswith("above: number of the frame")


def test_channels(rng):
    """Three are a colour picture; of two the first is shown and the note says so."""
    frames = rng.random((6, 3, 8, 8))
    rows = strip_figure(frames[:2], frames[2:4], frames[4:]).axes
    np.testing.assert_array_equal(arrays_in(rows[0])[0], frames[0].transpose(1, 2, 0))
    error = abs(frames[2:4] - frames[4:])
    np.testing.assert_allclose(arrays_in(rows[3]), error.mean(1))
    figure = strip_figure(frames[:2, :2], frames[2:4, :2], frames[4:, :2])
    np.testing.assert_array_equal(arrays_in(figure.axes[0]), frames[:2, 0])
    assert "the first of 2 channels" in " ".join(figure.texts[0].get_text().split())
    assert numbers_at(figure.axes[3])[0] == f"{(error[0, :2] ** 2).sum():.1f}"


def test_a_long_forecast_is_shown_in_part(rng):
    frames = rng.random((100, 1, 8, 8))
    figure = strip_figure(frames[:2], frames[2:])
    numbers = list(map(int, numbers_at(figure.axes[1])))
    assert (len(numbers), numbers[0], numbers[-1]) == (20, 3, 100)
    np.testing.assert_array_equal(arrays_in(figure.axes[1])[7], frames[numbers[7] - 1, 0])
    assert "22 of 100 frames" in figure.texts[0].get_text()


def test_the_pixels_of_a_strip(tmp_path, sequence):
    """The file opens, and its panels are the frames, each pixel a block of 5 by 5."""
    inputs, forecast, truth = sequence
    draw_strip(tmp_path / "strip.png", inputs, forecast, truth)
    figure = strip_figure(inputs, forecast, truth)
    assert (tmp_path / "strip.png").read_bytes() == png_of(figure)
    with Image.open(io.BytesIO(png_of(figure))) as picture:
        assert picture.size == tuple(figure.bbox.size.round().astype(int))
        pixels = np.asarray(picture.convert("RGB"))
    for axes, frames in zip(figure.axes, (inputs, truth, forecast.clip(0, 1)), strict=False):
        top = round(pixels.shape[0] - axes.bbox.y1)
        for image, frame in zip(axes.images, frames[:, 0], strict=True):
            left = round(axes.bbox.x0 + image.get_extent()[0])
            panel = pixels[top : top + 80, left : left + 120]
            blocks = panel[2::5, 2::5].astype(float) / 255
            np.testing.assert_allclose(blocks, frame[:, :, None].repeat(3, 2), atol=1 / 128)


def test_frames_of_an_animation(tmp_path, sequence):
    """Both sides show the inputs first, then truth and forecast; the file has as many frames."""
    inputs, forecast, truth = sequence
    images = list(animation_frames(*sequence))
    # Panels of 264 by 176 pixels, each of the frame's a block of 11 by 11, in margins of 18.
    for start, frames in ((18, truth), (300, forecast.clip(0, 1))):
        for image, frame in zip(images, (*inputs, *frames), strict=True):
            blocks = image[-194:-18, start : start + 264][5::11, 5::11].astype(float) / 255
            np.testing.assert_allclose(blocks, frame[0, :, :, None].repeat(3, 2), atol=1 / 128)
    draw_animation(tmp_path / "film.gif", *sequence)
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.info["loop"]) == (7, 0)
        assert film.size == images[0].shape[1::-1]
        film.seek(5)
        difference = np.abs(np.asarray(film.convert("RGB")).astype(int) - images[5])
    assert difference.mean() < 4
    single = next(animation_frames(*sequence[:2]))
    assert single.shape[1] < images[0].shape[1]


def test_what_cannot_be_drawn(tmp_path, sequence):
    inputs, forecast, truth = sequence
    for wrong, message in (
        ((inputs[0], forecast, truth), r"shapes \(1, 16, 24\) and \(4, 1, 16, 24\)"),
        ((inputs, forecast[:, :, :8], None), "with the same C, H and W"),
        ((inputs, forecast, truth[:3]), r"truth has the shape \(3, 1, 16, 24\)"),
        ((inputs, forecast, truth, ColorScale((1, 1))), "value_range is 1 1"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_strip(tmp_path / "strip.png", *wrong)
    assert not list(tmp_path.iterdir())
