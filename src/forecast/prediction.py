"""Forecasts sequences, and writes forecast.npy and pictures."""

from pathlib import Path

import numpy as np

from src.data.agreement import check_identity, convert_units
from src.data.dataset import lead_step
from src.data.normalizer import check_value_range
from src.data.own_data import log_frequency, open_file, with_dataset_named
from src.data.sequences import OwnSequences, axes_used, warn_of_scale
from src.data.sources import evaluation_source
from src.errors import InputError
from src.evaluation.evaluate import batch_shape
from src.formats import writers
from src.formats.arrays import check_values, npy_header
from src.formats.cf.missing import without_nodata
from src.formats.images import holds_pictures, read_sequences
from src.formats.readers import holds_record, would_read
from src.model import timed_network
from src.plots import frames as pictures
from src.plots.colours import color_scale
from src.runtime.files import check_writable, write_atomically
from src.runtime.manifest import Manifest
from src.runtime.progress import progress

FORECAST, NETCDF = "forecast.npy", "forecast.nc"
PICTURES = ("sequence_{:04d}.png", "sequence_{:04d}.gif")


def sequences_of_test_set(predictor, workroot):
    """The source of a predictor's test set, with the truth."""
    return evaluation_source(predictor.test_config, workroot)


def sequences_of_input(predictor, path, value_range=None, truth=False, axes=None):
    """The source of the last frames of the sequences in a file or folder.

    Args:
        predictor: the `Predictor` that will read them.
        path: a path that `read_sequences` can read, or a long record, whose end is one sequence.
        value_range: the two values that become 0 and 1; default: the predictor's.
        truth: take the last frames as the truth; the network reads the frames before them.
        axes: order of the axes of an array; default: that of the predictor's dataset.

    Raises:
        InputError: the file cannot be used.
    """
    channels, frames = predictor.inputs[2], predictor.inputs[1]
    scale = tuple(value_range or predictor.value_range)
    config = predictor.config
    check_value_range(scale, path, config.data.transform if config else "none")
    needed = frames + (predictor.forecast_frames if truth else 0)
    pictures = _are_pictures(path)
    file = None if config is None or pictures else open_file(path, config.data, needed)
    if file is not None:
        trained = with_dataset_named(config.data, file)
        check_identity(file, trained)
        convert_units(file, trained, value_range)
    if file is not None and file.is_record:
        return _end_of_record(predictor, file, needed, scale)
    lengths = frames + predictor.forecast_frames, needed
    array = file.array if file else read_sequences(path, channels, axes, lengths)
    if not file and config:
        array = without_nodata(array, config.data.nodata)
    predictor.check(array.shape, path, needed)
    normalizer = predictor.normalizer(array.shape[3:], scale)
    start = array.shape[1] - needed
    used = array[:, start:]
    values = check_values(used, path, start, missing=normalizer.fill is not None)
    if file:
        file.warn_of_codes(values)
    warn_of_scale(values, scale, path)
    order = axes_used(config.data) if file else ""
    name = (
        f"{path} ({len(array):,} sequences{order}, frames {start} to {start + frames - 1} of each)"
    )
    return OwnSequences(used, np.arange(len(array)), needed, normalizer, name)


def _are_pictures(path):
    """Whether pictures are to be read from a path; raises `InputError` where that is not clear."""
    if not holds_pictures(path):
        return False
    if holds_record(path):
        raise InputError(
            f"{path}: holds pictures (.png) and files of a record, and which to forecast from is "
            f'not said: name the files by a pattern, such as "{path}/*.nc", or keep the pictures '
            "in a folder of their own"
        )
    return True


def _end_of_record(predictor, file, needed, scale):
    """The source of one sequence, the last frames of a record."""
    predictor.check((1, len(file.record), *file.frame_shape), file.path, needed)
    log_frequency(file, predictor.config.data.frequency)
    return file.end(needed, predictor.normalizer(file.frame_shape[1:], scale))


def open_output(path, overwrite, source=None):
    """Makes the output folder and returns it.

    Args:
        path: the folder.
        overwrite: whether an earlier forecast in it may be replaced, which `predict` does.
        source: the file, folder or pattern to forecast from, or None.

    Raises:
        InputError: it cannot be written to, holds a forecast that may not be replaced, or its files
            could be read as `source`.
    """
    folder = Path(path)
    written = [FORECAST, NETCDF, *(name.format(0) for name in PICTURES)]
    if source is not None and any(would_read(source, folder / name) for name in written):
        raise InputError(
            f"{folder}: is where input is read from, and the forecast would be among it (output): "
            "name another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written (output): {error.strerror}") from None
    old = manifest(folder).owned()
    if old and not overwrite:
        raise InputError(
            f"{folder}: holds a forecast already ({old[0].name}): give --overwrite, or another "
            "--output"
        )
    _refuse_what_is_in_the_way(folder, [FORECAST, NETCDF])
    check_writable(folder / FORECAST, "output")
    return folder


def manifest(folder):
    """The `Manifest` of a forecast's files."""
    return Manifest(folder, "forecast")


def _refuse_what_is_in_the_way(folder, names):
    """Raises `InputError` for a file that no forecast wrote in the place of one of these."""
    for path in manifest(folder).in_the_way(names):
        raise InputError(
            f"{path}: is there already, and no forecast here wrote it, which would be replaced: "
            "move it away, or give another --output"
        )


def predict(predictor, source, folder, batch_size, count):
    """Forecasts all sequences of a source and writes the files of the forecast.

    forecast.npy is (N, F, C, H, W), float32 in the source's units, not clipped, and NaN at pixels
    that are missing in all inputs. A record with a grid also gets forecast.nc with the same values.
    The first `count` sequences are drawn.

    Of an earlier forecast nothing is left then.

    Returns:
        The `TimedNetwork`, which measured the time.

    Raises:
        InputError: a file that is not of an earlier forecast has the name of one to be written, or
            NetCDF cannot hold what the record says of its frames.
    """
    drawn, names = [], [name.format(n) for n in range(min(count, len(source))) for name in PICTURES]
    names += [NETCDF] if source.grid else []
    _refuse_what_is_in_the_way(folder, names)
    fixed, frames, *_ = predictor.inputs
    shape = batch_shape(source, batch_size, frames)
    result = len(source), predictor.forecast_frames, *source.shape[1:]
    if source.grid:
        writers.check_netcdf(folder / NETCDF, result, source, frames, predictor.name)
    forecaster = timed_network.TimedNetwork(predictor.network, (fixed or shape[0], *shape[1:]))

    def pieces():
        yield npy_header(result)
        with progress(len(source), "forecast") as bar:
            for sequences, forecasts in _batches(forecaster, source, frames):
                drawn.extend(zip(sequences, forecasts, strict=True))
                del drawn[count:]
                yield np.ascontiguousarray(forecasts).tobytes()
                bar.update(len(forecasts))

    ours = manifest(folder)
    ours.add(FORECAST)
    write_atomically(folder / FORECAST, pieces())
    ours.remove([path for path in ours.owned() if path.name != FORECAST])
    ours.add(*names)
    if source.grid:
        forecasts = np.load(folder / FORECAST, mmap_mode="r")
        writers.write_netcdf(folder / NETCDF, forecasts, source, frames, predictor.name)
    colors, step = color_scale(source), lead_step(source)
    for n, (sequence, forecast) in enumerate(drawn):
        inputs, truth = sequence[:frames], sequence[frames:]
        images = (inputs, forecast, truth if len(truth) else None, colors, step)
        strip, animation = (folder / name.format(n) for name in PICTURES)
        pictures.draw_strip(strip, *images)
        pictures.draw_animation(animation, *images)
    return forecaster


def _batches(forecaster, source, input_frames):
    """Yields sequences and their forecasts in batches, in the source's units."""
    size, total = forecaster.batch_size, len(source)
    for start in range(0, total, size):
        sequences = source[np.minimum(np.arange(start, start + size), total - 1)]
        inputs, normalizer = sequences[:, :input_frames], source.normalizer
        forecasts = normalizer.denormalize(forecaster(normalizer.normalize(inputs)), inputs)
        count = min(size, total - start)
        yield sequences[:count], forecasts[:count]
