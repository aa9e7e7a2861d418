"""Published files made into one record, frame by frame, so that memory does not grow with them."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.errors import InputError
from src.formats.cf.times import time_order
from src.radar.frames import AMOUNT, RATE, REFLECTIVITY
from src.radar.published import find_files, open_file
from src.radar.record_file import LARGEST, STEP, RecordFile, check_output
from src.runtime.progress import progress


@dataclass(frozen=True)
class Choices:
    """How published files are read, and what is made of them.

    Args:
        format: one of `published.FORMATS`, or None: found out by each file's content.
        quantity: the quantity of an ODIM file; None: the only one.
        variable: the variable of a CF file; None: the only one.
        time_from_name: pattern as of strptime of the times in the files' names, or None.
        minutes: interval of an accumulation where a file does not say it, or None.
        units: `RATE` or `REFLECTIVITY`; None: reflectivity where that is published, else rates.
        crop: first row, first column, number of rows and of columns; None: the whole frame.
        coarsen: side in pixels of the squares that become a pixel.
        skip_bad: whether a file that cannot be used is left out.
    """

    format: str | None = None
    quantity: str | None = None
    variable: str | None = None
    time_from_name: str | None = None
    minutes: float | None = None
    units: str | None = None
    crop: tuple[int, int, int, int] | None = None
    coarsen: int = 1
    skip_bad: bool = False

    def open(self, path):
        """Opens a published file."""
        return open_file(path, self.format, self.quantity, self.variable, self.time_from_name)

    def apply(self, frame, path):
        """A published `Frame` as one of the record.

        Raises:
            InputError: it is an accumulation of unknown interval, or the crop is not within it.
        """
        frame = replace(frame, minutes=frame.minutes or self.minutes)
        if frame.unit == AMOUNT and not frame.minutes:
            raise InputError(
                f"{path}: holds millimetres of an interval that it does not say",
                minutes="--minutes says it",
            )
        if self.crop:
            frame = frame.crop(*self.crop)
        if self.coarsen > 1:
            frame = frame.coarsen(self.coarsen)
        return frame.as_unit(self.units or (REFLECTIVITY if frame.unit == REFLECTIVITY else RATE))


class _Place(NamedTuple):
    """Where a frame is: the k-th of a file."""

    time: np.datetime64
    file: object
    k: int


class _BadFiles:
    """Files that cannot be used: the first one ends the work, or each is reported and left out."""

    def __init__(self, skip):
        self.skip, self.count = skip, 0

    def report(self, error):
        """Prints an `InputError` as one line, or raises it."""
        if not self.skip:
            raise InputError(
                str(error),
                **error.remedies,
                skip_bad="--skip_bad leaves out files that cannot be used",
            ) from None
        self.count += 1
        print(f"left out: {error}", file=sys.stderr, flush=True)


def make_record(source, output, choices=None, overwrite=False):
    """Makes a record of the published files in a folder or of a pattern; prints what it is.

    Args:
        source: the folder, file or pattern.
        output: the file or store to write.
        choices: `Choices`.
        overwrite: whether an `output` that exists is replaced.

    Raises:
        InputError: a file cannot be used, or there is none.
        DiskError: the record cannot be written.
    """
    choices, output = choices or Choices(), Path(output)
    check_output(output, overwrite)
    bad = _BadFiles(choices.skip_bad)
    paths = [path for path in find_files(source) if path.resolve() != output.resolve()]
    places = _places(paths, choices, bad)
    frames = _frames(places, choices, bad)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{source}: has no file that can be used")
    time, frame = first
    about = {"source": _source(places), "institution": frame.institution or "unknown"}
    times = [time]
    with RecordFile(output, frame, about, _comment(frame, choices)) as record:
        record.add(time, frame.values)
        for time, later in frames:
            record.add(time, later.values)
            times.append(time)
    _describe(output, record, frame, times, bad)


def _places(paths, choices, bad):
    """The places of all frames in order of time, of several at the same time the first one only."""
    places = []
    with progress(len(paths), "times", unit="files") as bar:
        for path in paths:
            try:
                file = choices.open(path)
                places += [_Place(time, file, k) for k, time in enumerate(file.times)]
            except InputError as error:
                bad.report(error)
            bar.update()
    places.sort(key=lambda place: place.time)
    unique = places[:1]
    for place in places[1:]:
        if place.time == unique[-1].time:
            other = unique[-1].file.path
            bad.report(InputError(f"{place.file.path}: has the time {place.time}, as {other} has"))
        else:
            unique.append(place)
    return unique


def _frames(places, choices, bad):
    """Yields the time and the `Frame` of each place; one that cannot be used is reported."""
    first = None
    with progress(len(places), "frames", unit="frames") as bar:
        for time, file, k in places:
            try:
                frame = file.read(k)
                first = first or (frame, file.path)
                _check_same(frame, file.path, *first)
                yield time, choices.apply(frame, file.path)
            except InputError as error:
                bad.report(error)
            bar.update()


def _check_same(frame, path, first, first_path):
    difference = first.grid.difference(frame.grid)
    if not difference and frame.unit != first.unit:
        difference = f"{frame.unit}, not {first.unit}"
    if not difference and frame.unit == AMOUNT and frame.minutes != first.minutes:
        found, wanted = (
            f"{m:g} minutes" if m else "no interval" for m in (frame.minutes, first.minutes)
        )
        difference = f"amounts of {found}, not {wanted}"
    if difference:
        raise InputError(f"{path}: has {difference}, as {first_path} has")


def _source(places):
    first, last = places[0].file.path.name, places[-1].file.path.name
    return f"{len(places)} frames, {first} to {last}"


def _comment(frame, choices):
    """What was done to the values, for the record's variable."""
    parts = []
    if frame.minutes:
        parts.append(f"mean over {frame.minutes:g} minutes")
    if choices.coarsen > 1:
        parts.append(f"mean rain rate of {choices.coarsen}x{choices.coarsen} pixels")
    if frame.unit == REFLECTIVITY or choices.units:
        parts.append("Z = {:g} R^{:g}".format(*frame.zr))
    return "; ".join(parts) or None


def _describe(output, record, frame, times, bad):
    """Prints what the record is, and what of the published files it lacks."""
    rows, columns = frame.grid.shape
    pixel = abs(np.diff(frame.grid.x)).mean() if columns > 1 else np.nan
    degrees = frame.grid.projection is not None and frame.grid.projection.is_geographic
    side = f"{pixel:.4g} degrees" if degrees else f"{pixel / 1000:.4g} km"
    print(
        f"{output}: {record.written} frames of {rows}x{columns} pixels of {side}, {record.units}, "
        f"{times[0]} to {times[-1]} UTC"
    )
    *_, gaps = time_order(np.array(times).astype(np.int64))
    if gaps:
        print(f"{gaps} gaps between the times: no sequence runs across one")
    if record.clipped:
        print(f"{record.clipped:,} values are beyond {LARGEST * STEP:.2f} and stored as that")
    if bad.count:
        print(f"{bad.count} files are left out")
