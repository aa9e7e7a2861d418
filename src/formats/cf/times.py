"""Times of frames: decoded from a file's numbers, joined over files, and put in order."""

import datetime
import re
import warnings

import numpy as np

from src.errors import InputError

# Calendars whose dates are the same since 15 October 1582.
REAL = ("standard", "gregorian", "proleptic_gregorian")
SINCE_1583 = 1583
# The Julian day of 1 January 1970.
EPOCH = 2440588
# What files call the calendars of model years.
ALIASES = {"360": "360_day", "365": "365_day", "366": "366_day"}
# CDO's absolute time axes: the number is the date.
ABSOLUTE = re.compile(r"(day|month|year)s? as (%Y(?:%m(?:%d)?)?)\.%f")
MONTHS = re.compile(r"(month|year)s? since (.+)", re.IGNORECASE)
# Numbers such as 200101, 20010131 or 2001013112 without units that say so.
DATE = re.compile(
    r"(1[5-9]|2[0-4])\d\d(0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])([0-5]\d){0,2})?)?"
)
# A step longer than this many median steps changes a record's fingerprint.
GAP = 1.5


def decode_cf(dataset):
    """A Dataset of xarray decoded by CF, with the time axes that xarray does not know.

    What had to be assumed is in the encoding of the times, as "assumed".

    Args:
        dataset: the undecoded Dataset.

    Raises:
        ValueError: times cannot be decoded.
    """
    import xarray

    known = {
        name: _in_known_units(variable, name)
        for name, variable in dataset.variables.items()
        if variable.ndim < 2 and variable.dtype.kind in "iuf"
    }
    changed = {name: new for name, new in known.items() if new is not None}
    if changed:
        parts = (dataset.data_vars, dataset.coords)
        values, coordinates = ({n: changed.get(n, p[n].variable) for n in p} for p in parts)
        new = xarray.Dataset(values, coordinates, dataset.attrs)
        new.set_close(dataset.close)
        dataset = new
    with warnings.catch_warnings():
        # Dates beyond nanoseconds become cftime objects, which are as good here.
        warnings.simplefilter("ignore", xarray.SerializationWarning)
        return xarray.decode_cf(dataset, decode_timedelta=False)


def _in_known_units(variable, coordinate):
    """An undecoded variable in units and a calendar that xarray knows; None if it has them, or
    holds no times.
    """
    units = str(variable.attrs.get("units", ""))
    absolute, months = ABSOLUTE.fullmatch(units), MONTHS.fullmatch(units)
    if not absolute and " since " not in units:
        if re.search(r"\bas %", units):
            raise ValueError(f"its units, {units!r}, are not known; 'day as %Y%m%d.%f' are")
        return None
    name = str(variable.attrs.get("calendar", "standard")).lower()
    calendar = ALIASES.get(name, name)
    notes = [f"calendar {name} is read as {calendar}"] if name != calendar else []
    if not absolute and not months and calendar in REAL:
        return None
    variable = _unpacked(variable, coordinate)
    variable.attrs["calendar"] = calendar
    if absolute:
        _set_dates(variable, _absolute_dates(variable.values, absolute[1], calendar))
    elif months and (months[1].lower(), calendar) != ("month", "360_day"):
        _set_dates(variable, _calendar_months(variable.values, *months.groups(), calendar))
        notes.append(f"{units} are read as {months[1].lower()}s of the calendar")
    elif months:
        # Months of 30 days can be decoded, but not written.
        variable.values = variable.values * np.float64(30)
        variable.attrs["units"] = f"days since {months[2]}"
    if notes:
        variable.encoding["assumed"] = "; ".join(notes)
    return variable


def _unpacked(variable, coordinate):
    """A variable of times with its numbers as they are meant, still undecoded.

    Raises:
        ValueError: some are missing: xarray would take them for a model calendar's first day.
    """
    from xarray.conventions import decode_cf_variable

    options = {"decode_times": False, "decode_timedelta": False}
    new = decode_cf_variable(coordinate, variable.to_base_variable(), **options).load()
    if np.isnan(new.values).any():
        raise ValueError(f"{coordinate} has missing times")
    return new


def _set_dates(variable, dates):
    """Gives an undecoded variable other times: in days if they are exact, else in seconds."""
    import cftime

    first = dates[0].strftime("%Y-%m-%d")
    numbers = cftime.date2num(dates, f"seconds since {first}", variable.attrs["calendar"])
    unit, size = ("seconds", 1) if (numbers % 21600).any() else ("days", 86400)
    variable.values = np.reshape(numbers / size, variable.shape)
    variable.attrs["units"] = f"{unit} since {first}"


def _absolute_dates(values, unit, calendar):
    """The dates of CDO's absolute axes, in which 20010228.5 is noon, (T,)."""
    import cftime

    values = np.atleast_1d(values).astype(float)
    numbers = np.floor(values + 1e-9).astype(int)
    if unit != "day" and (values != numbers).any():
        raise ValueError(f"{values[values != numbers][0]:.10g} is not a whole {unit}")
    dates = []
    for value, number in zip(values, numbers, strict=True):
        full = int(number) * {"day": 1, "month": 100, "year": 10000}[unit]
        full += {"day": 0, "month": 1, "year": 101}[unit]
        year, month, day = full // 10000, full // 100 % 100, full % 100
        seconds = round((value - number) * 86400)
        try:
            date = cftime.datetime(year, month, day, calendar=calendar)
        except ValueError:
            raise ValueError(f"{number} is no date of the calendar {calendar}") from None
        dates.append(date + datetime.timedelta(seconds=seconds))
    return np.array(dates)


def _calendar_months(values, unit, reference, calendar):
    """The dates of whole or half months since a date, as months of the calendar, (T,).

    CF takes a month for a twelfth of 365.2425 days, which is not what such files mean.
    """
    import cftime

    start = cftime.num2date(0, f"days since {reference}", calendar)
    months = np.atleast_1d(values).astype(float) * (12 if unit.lower() == "year" else 1)
    whole = np.floor(months)
    halves = months - whole
    at_begin = start == start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if not np.isin(halves, (0, 0.5) if at_begin else (0,)).all() or start.day > 28:
        raise ValueError(
            f"{unit}s of the calendar {calendar} differ in length, and not all times are whole "
            f"{unit}s since its beginning: give them as days (with CDO: cdo setreftime,"
            f"{start.strftime('%Y-%m-%d')},00:00:00,1day), or with calendar = 360_day"
        )
    dates = []
    for number, half in zip(whole, halves, strict=True):
        year, month = divmod(12 * start.year + start.month - 1 + int(number), 12)
        date = start.replace(year=year, month=month + 1)
        dates.append(date + half * datetime.timedelta(days=date.daysinmonth))
    return np.array(dates)


def is_dated(times):
    """Whether times are dates, rather than plain numbers."""
    return times.dtype.kind in "MO"


def as_numbers(times):
    """Times as numbers, (T,), float64: dates in seconds, plain numbers unchanged."""
    if times.dtype.kind == "M":
        return times.astype("datetime64[us]").astype(np.int64) / 1e6
    if times.dtype == object:
        # As cftime.date2num has them, but for the day that they are counted from: ten times faster.
        days = [time.toordinal() - EPOCH for time in times]
        clocks = [
            time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 1e6
            for time in times
        ]
        return np.array(days, np.float64) * 86400 + np.array(clocks)
    return times.astype(np.float64)


def joined(readers):
    """The times of a record's files, one after the other; None if they have none.

    Raises:
        InputError: times are missing, or the files have several kinds or calendars.
    """
    without = [reader for reader in readers if reader.times is None]
    if len(without) == len(readers):
        return None
    if without:
        raise InputError(f"{without[0].path}: has no times, and other files of the record have")
    kinds = []
    for reader in readers:
        _check_times(reader)
        kinds.append(_calendar_of(reader.times))
        if not _agree(kinds[0], kinds[-1]):
            raise InputError(
                f"{reader.path}: has {kinds[-1]}, and {readers[0].path.name} {kinds[0]}: the files "
                "of a record must have one calendar"
            )
    times = [reader.times for reader in readers]
    if len(set(kinds)) > 1 or len({array.dtype for array in times if is_dated(array)}) > 1:
        times = [_as_datetime64(reader) for reader in readers]
    return np.concatenate(times)


def _check_times(reader):
    """Raises `InputError` unless a file's times are all there, and are dates or plain numbers."""
    times, name = reader.times, f"{reader.path}: {reader.grid.time_name}"
    if times.dtype.kind not in "MOiuf" or any(isinstance(time, str) for time in times[:1]):
        what = times.dtype if times.dtype.kind in "mbc" else "text"
        raise InputError(
            f"{name} holds {what}; times are numbers with units such as 'hours since 2001-01-01'"
        )
    if times.dtype.kind == "M":
        missing = np.isnat(times).any()
    elif times.dtype == object:
        missing = not all(hasattr(time, "calendar") for time in times)
    else:
        missing = not np.isfinite(times).all()
    if missing:
        raise InputError(f"{name} has missing times")
    if not is_dated(times) and all(DATE.fullmatch(f"{time // 1:.0f}") for time in times):
        raise InputError(
            f"{name} holds numbers that look like dates, {times[0]:.14g} for example: state them "
            "as 'hours since' a date, or give numbers of year, month and day the attribute units = "
            "'day as %Y%m%d.%f'"
        )


def _calendar_of(times):
    """The calendar of times in words; that of plain numbers is none."""
    if times.dtype.kind == "M":
        return "the calendar standard"
    calendars = sorted({time.calendar for time in times}) if times.dtype == object else []
    return f"the calendar {' and '.join(calendars)}" if calendars else "times without dates"


def _agree(first, other):
    real = {f"the calendar {name}" for name in REAL}
    return first == other or {first, other} <= real


def _as_datetime64(reader):
    """Times of a real calendar as datetime64[us], which reaches further than nanoseconds."""
    times = reader.times
    if times.dtype.kind == "M":
        return times.astype("datetime64[us]")
    if times.min().year < SINCE_1583:
        raise InputError(
            f"{reader.path}: has dates before {SINCE_1583}, when calendars differed, and the other "
            "files have another calendar: give all of them one"
        )
    return np.array([time.isoformat() for time in times], "datetime64[us]")


def time_order(numbers):
    """Sorts frames by time and drops duplicates.

    Args:
        numbers: (T,), the times of the frames as numbers, in any order.

    Returns:
        The indices of the remaining frames in order of time; whether each of them had a duplicate;
        and the number of steps longer than 1.5 median ones. Of frames at the same time only the
        first remains.
    """
    order = np.argsort(numbers, kind="stable")
    first = np.concatenate(([True], np.diff(numbers[order]) > 0))
    remaining = order[first]
    has_duplicate = np.concatenate((~first[1:], [False]))[first]
    steps = np.diff(numbers[remaining])
    long = steps > GAP * np.median(steps) if len(steps) else np.zeros(0, bool)
    return remaining, has_duplicate, int(long.sum())
