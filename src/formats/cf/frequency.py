"""The rule that a record's times follow: a fixed step, or days of months, which differ in length.

It is found once, from all times of a record, gaps included, and kept as a text: 5min, 6h, D, or, if
the times are plain numbers, 0.5; MS and ME (first and last day of each month), 3MS, MC (the centre
of each month), M15T06:00, MS/11/21; Y8D begins anew with each year.
"""

import datetime
import itertools
import re
from dataclasses import dataclass

import numpy as np

from src.errors import InputError
from src.formats.cf.times import as_numbers, is_dated

DAY = 86400.0
UNITS = {"D": DAY, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
# A step is the record's if it differs by less than this fraction of it: a radar's scans begin some
# seconds early or late, and times in float32 are rounded. Days of a month differ by more.
TOLERANCE, LARGEST_TOLERANCE = 0.1, DAY / 2
# How far from its place in the month a frame may be: by rounding, or a centre that was computed in
# another year or rounded to a day.
NEAR, NEAR_CENTRE = 3600.0, DAY + 3600
# Frames a month that are looked for: 10-day periods begin on days 1, 11 and 21.
PLACES, SHIFTS, NOMINAL_MONTH = (2, 3, 6), (0, 1.5), 30 * DAY
CENTRE, LAST = 0, 31


@dataclass(frozen=True)
class Step:
    """A fixed step from frame to frame.

    Args:
        length: in seconds, or in the unit of times that are plain numbers.
        dated: whether the times are dates.
    """

    length: float
    dated: bool = True

    def regular(self, times):
        """Whether each step of a series, (T - 1,), is this one."""
        if self.dated != is_dated(times):
            return np.zeros(len(times) - 1, bool)
        return np.abs(np.diff(as_numbers(times)) - self.length) < self.tolerance

    def holds(self, times):
        """Whether each time is one of the rule's, (T,): a fixed step may begin at any time."""
        return np.full(len(times), self.dated == is_dated(times))

    def after(self, time, count):
        """The times that follow a time, (count,)."""
        ahead = range(1, count + 1)
        if not self.dated:
            return np.array([time + self.length * k for k in ahead])
        if isinstance(time, np.datetime64):
            time = time.astype("datetime64[us]")
        return np.array([time + timedelta(time, self.length * k) for k in ahead])

    def is_like(self, other):
        """Whether another rule has the same step."""
        if isinstance(other, YearStep):
            return other.is_like(self)
        same_kind = isinstance(other, Step) and self.dated == other.dated
        return same_kind and abs(self.length - other.length) < self.tolerance

    @property
    def tolerance(self):
        """By how much a step may differ from this one."""
        most = LARGEST_TOLERANCE if self.dated else np.inf
        return min(TOLERANCE * self.length, most)

    def __str__(self):
        if not self.dated:
            return f"{self.length:.12g}"
        microseconds = round(self.length * 1e6)
        unit = next(unit for unit, size in UNITS.items() if microseconds % round(size * 1e6) == 0)
        count = microseconds // round(UNITS[unit] * 1e6)
        return unit if count == 1 else f"{count}{unit}"


@dataclass(frozen=True)
class Place:
    """A place in a month.

    Args:
        day: from 1; months that are shorter end with it, so 31 is the last; 0 is the centre.
        clock: time of day in seconds; None: the centre itself.
    """

    day: int
    clock: float | None = 0.0

    def offset(self, length):
        """Seconds from the beginning of months of these lengths in seconds."""
        if self.day != CENTRE:
            return np.minimum((self.day - 1) * DAY, length - DAY) + self.clock
        return length / 2 if self.clock is None else length / 2 // DAY * DAY + self.clock

    @property
    def near(self):
        """The seconds by which a frame may miss this place."""
        return NEAR if self.day else NEAR_CENTRE

    def __str__(self):
        if self == Place(1):
            return "S"
        day = {CENTRE: "C", LAST: "E"}.get(self.day, str(self.day))
        if self.clock is None or (self.clock == 0 and self.day != CENTRE):
            return day
        hours, seconds = divmod(self.clock, 3600)
        minutes, seconds = divmod(seconds, 60)
        return f"{day}T{hours:02.0f}:{minutes:02.0f}" + (f":{seconds:g}" if seconds else "")


class Calendar:
    """Base of rules whose steps differ in length: each time has a number, counted from year 0.

    A subclass has `numbers`, (T,) of each time's number and (T,) of whether the time is that of the
    number; `time`, that of a number, like another time; and `stride`, from frame to frame.
    """

    def regular(self, times):
        """Whether each step of a series, (T - 1,), is from one time of the rule to the next."""
        if not is_dated(times):
            return np.zeros(len(times) - 1, bool)
        numbers, holds = self.numbers(times)
        return (np.diff(numbers) == self.stride) & holds[1:] & holds[:-1]

    def holds(self, times):
        """Whether each time is one of the rule's, (T,)."""
        return self.numbers(times)[1] if is_dated(times) else np.zeros(len(times), bool)

    def after(self, time, count):
        """The times that follow a time, (count,)."""
        number = int(self.numbers(np.array([time]))[0][0])
        return np.array([self.time(time, number + self.stride * k) for k in range(1, count + 1)])


@dataclass(frozen=True)
class Months(Calendar):
    """Frames at one or more places in each month, or in one month of several.

    Args:
        stride: months from frame to frame; 1 with several places.
        places: a `Place` for each frame of a month.
    """

    stride: int
    places: tuple[Place, ...]

    def is_like(self, other):
        """Whether another rule has as many frames in as many months, wherever in them."""
        same_kind = isinstance(other, Months) and self.stride == other.stride
        return same_kind and len(self.places) == len(other.places)

    def numbers(self, times):
        """The number of the place that each time is nearest to, and whether it is there."""
        months, offsets, lengths = months_of(times)
        errors = np.abs(offsets - np.array([place.offset(lengths) for place in self.places]))
        which = errors.argmin(0)
        near = np.array([place.near for place in self.places])[which]
        return months * len(self.places) + which, errors.min(0) <= near

    def time(self, like, number):
        """The time of a number, of the type of another time."""
        month, which = divmod(number, len(self.places))
        first = first_of(like, *divmod(month, 12))
        offset = self.places[which].offset(months_of(np.array([first]))[2])[0]
        return first + timedelta(first, offset)

    def __str__(self):
        count = "" if self.stride == 1 else str(self.stride)
        return f"{count}M{'/'.join(map(str, self.places))}"


@dataclass(frozen=True)
class YearStep(Calendar):
    """A fixed step that begins anew with each year, as that of composites of 8 or 16 days.

    Args:
        length: in seconds.
        clock: seconds from a year's beginning to its first frame.
    """

    length: float
    clock: float
    stride = 1

    def is_like(self, other):
        """Whether another rule has the same step."""
        return isinstance(other, YearStep | Step) and abs(self.length - other.length) < DAY / 2

    def numbers(self, times):
        """The number of the step that each time is nearest to, and whether it is there."""
        months, offsets, _ = months_of(times)
        years = months // 12
        begins = [first_of(times[0], int(year), 0) for year in np.unique(years)]
        begins = as_numbers(np.array(begins))[np.unique(years, return_inverse=True)[1]]
        offsets = as_numbers(times) - begins - self.clock
        which = np.round(offsets / self.length).astype(int)
        holds = (np.abs(offsets - which * self.length) <= NEAR) & (which < self._count)
        return years * self._count + which, holds

    def time(self, like, number):
        """The time of a number, of the type of another time."""
        year, which = divmod(number, self._count)
        first = first_of(like, year, 0)
        return first + timedelta(first, self.clock + which * self.length)

    @property
    def _count(self):
        """Frames in a year."""
        return int(np.ceil(365 * DAY / self.length))

    def __str__(self):
        return f"Y{Step(self.length)}" + (f"+{Step(self.clock)}" if self.clock else "")


def timedelta(like, seconds):
    """A duration that can be added to a date."""
    if isinstance(like, np.datetime64):
        return np.timedelta64(round(seconds * 1e6), "us")
    return datetime.timedelta(seconds=float(seconds))


def first_of(like, year, month):
    """The beginning of a month, 0 to 11, of the type of another date."""
    if isinstance(like, np.datetime64):
        return np.datetime64(f"{year:04d}-{month + 1:02d}-01", "us")
    clock = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    return like.replace(year=year, month=month + 1, day=1, **clock)


def parse(text):
    """The rule that a text stands for, as `str` of a `Step` or `Months` writes it.

    Raises:
        InputError: it stands for none.
    """
    yearly = re.fullmatch(r"Y([^+]+)\+?(.*)", text)
    if yearly:
        return YearStep(*(parse(part).length if part else 0.0 for part in yearly.groups()))
    fixed = re.fullmatch(r"([\d.e+-]*?)(D|h|min|s|ms|us|)", text)
    months = re.fullmatch(r"(\d*)M([SEC\d].*)", text)
    if months:
        places = tuple(map(_parse_place, months[2].split("/")))
        return Months(int(months[1] or 1), places)
    if not text or not fixed:
        raise InputError(f"frequency is {text!r}, which is no rule of times")
    count, unit = fixed.groups()
    return Step(float(count or 1) * UNITS.get(unit, 1.0), bool(unit))


def _parse_place(text):
    day, _, clock = text.partition("T")
    day = {"S": 1, "E": LAST, "C": CENTRE}.get(day) if day in "SEC" else int(day)
    if not clock:
        return Place(day, None if day == CENTRE else 0.0)
    seconds = [float(part) for part in clock.split(":")]
    return Place(day, sum(part * 60.0 ** (2 - k) for k, part in enumerate(seconds)))


def find(times):
    """The rule of a series of times in ascending order, or None if more than half do not follow
    one.

    Args:
        times: (T,): datetime64, cftime objects, or numbers.
    """
    if len(times) < 2:
        return None
    steps = np.diff(as_numbers(times))
    rules = [_fixed(steps, is_dated(times))]
    if is_dated(times) and np.median(steps) > 27 * DAY:
        rules.insert(0, _monthly(times))
    if is_dated(times) and 4 * DAY < np.median(steps) < 17 * DAY:
        places = [_places_of(times, *case) for case in itertools.product(PLACES, SHIFTS)]
        rules += [rule for rule in places if rule]
        rules.append(_yearly(times, rules[0].length))
    shares = [rule.regular(times).mean() for rule in rules]
    best = int(np.argmax(shares))
    return rules[best] if shares[best] > 0.5 else _common_divisor(steps, is_dated(times))


def _fixed(steps, dated):
    """The usual step of a series as a `Step`; of scans that jitter, the round one near it."""
    middle = np.median(steps)
    near = steps[np.abs(steps - middle) < Step(middle, dated).tolerance]
    if not len(near):
        return Step(float(middle), dated)
    length = np.median(near)
    if not dated:
        return Step(float(f"{length:.10g}"), False)
    exact = np.mean(np.abs(near - length) <= 1e-5 * length) > 0.5
    for size in list(UNITS.values())[:4]:
        count = round(length / size)
        if count and abs(count * size - length) <= (1e-5 if exact else 0.01) * length:
            return Step(count * size)
    return Step(round(length, 6))


def _common_divisor(steps, dated):
    """The most frequent step, if all others are multiples of it, as in a record full of gaps."""
    rounded = np.round(steps, 3 if dated else 12)
    lengths, counts = np.unique(rounded, return_counts=True)
    length = lengths[counts.argmax()]
    if not length or counts.max() == 1:
        return None
    multiples = steps / length
    if (np.abs(multiples - multiples.round()) >= TOLERANCE).any():
        return None
    return Step(float(length), dated)


def _monthly(times):
    """One frame a month, or every few months, as `Months`."""
    months, offsets, lengths = months_of(times)
    distances, counts = np.unique(np.diff(months), return_counts=True)
    return Months(max(1, int(distances[counts.argmax()])), (_place(offsets, lengths),))


def _places_of(times, count, shift):
    """Several frames a month, as `Months`; those of a place are found by a shift in days. None if
    a place has no frames.
    """
    _, offsets, lengths = months_of(times)
    which = (offsets + shift * DAY + 1) // (NOMINAL_MONTH / count)
    which = np.minimum(which, count - 1)
    groups = [which == k for k in range(count)]
    if not all(group.any() for group in groups):
        return None
    return Months(1, tuple(_place(offsets[group], lengths[group]) for group in groups))


def _yearly(times, length):
    """A fixed step that begins anew with each year, as `YearStep`."""
    begin = first_of(times[0], int(months_of(times[:1])[0][0]) // 12, 0)
    clock = (as_numbers(times[:1]) - as_numbers(np.array([begin])))[0] % length
    return YearStep(length, float(np.round(clock, 3)))


def _place(offsets, lengths):
    """The `Place` at which most frames are, by their seconds since the beginning of the month."""
    days, clocks = offsets // DAY + 1, np.round(offsets % DAY, 3)
    day, clock = int(_most_common(days)), float(_most_common(clocks))
    candidates = [Place(CENTRE, None), Place(day, clock), Place(LAST, clock)]
    candidates += [Place(int(days.max()), clock), Place(CENTRE, clock)]
    errors = [np.abs(offsets - place.offset(lengths)) for place in candidates]
    exact = [(error <= NEAR).sum() for error in errors]
    if max(exact) <= len(offsets) / 2 and (errors[0] <= NEAR_CENTRE).mean() > 0.5:
        return candidates[0]
    if day > 28:
        exact[1] = 0
    return candidates[int(np.argmax(exact))]


def _most_common(values):
    found, counts = np.unique(values, return_counts=True)
    return found[counts.argmax()]


def months_of(times):
    """The month of each date, counted from year 0, and in seconds its distance from the month's
    beginning and the month's length; three arrays (T,).
    """
    if times.dtype.kind == "M":
        months = times.astype("datetime64[M]")
        offsets = (times - months.astype(times.dtype)) / np.timedelta64(1, "ms") / 1e3
        lengths = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(
            int
        )
        return months.astype(int) + 12 * 1970, np.round(offsets, 3), lengths * DAY
    found = [
        (
            12 * t.year + t.month - 1,
            (t.day - 1) * DAY + t.hour * 3600 + t.minute * 60 + t.second + t.microsecond / 1e6,
            t.daysinmonth * DAY,
        )
        for t in times
    ]
    months, offsets, lengths = np.array(found, float).T
    return months.astype(int), np.round(offsets, 3), lengths
