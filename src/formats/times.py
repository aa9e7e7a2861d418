"""Times of frames: decoded from a file's numbers, joined over files, and put in order."""

import datetime
import re
import warnings

import numpy as np

from src.errors import InputError

# Calendars whose dates are the same since 15 October 1582.
REAL = ("standard", "gregorian", "proleptic_gregorian")
SINCE_1583 = 1583
# What files call the calendars of model years.
ALIASES = {"360": "360_day", "365": "365_day", "366": "366_day"}
# CDO's absolute time axes: the number is the date.
ABSOLUTE = re.compile(r"(day|month|year)s? as (%Y(?:%m(?:%d)?)?)\.%f")
MONTHS = re.compile(r"(month|year)s? since (.+)", re.IGNORECASE)
# A step longer than this many median steps changes a record's fingerprint.
GAP = 1.5


def decoded(dataset):
    """A Dataset of xarray whose times are decoded, with their units in their encoding.

    Times that cannot be decoded stay numbers; why is in their encoding, as "undecoded". What had
    to be assumed is there as "assumed".

    Args:
        dataset: the Dataset, opened with decode_times=False.
    """
    import xarray

    new = {}
    for name, variable in dataset.variables.items():
        units = str(variable.attrs.get("units", ""))
        numeric = variable.ndim < 2 and variable.dtype.kind in "iuf"
        if numeric and (" since " in units or ABSOLUTE.fullmatch(units)):
            new[name] = _decode(variable.to_base_variable(), name)
    if not new:
        return dataset
    values, coordinates = (
        {name: new.get(name, part[name].variable) for name in part}
        for part in (dataset.data_vars, dataset.coords)
    )
    result = xarray.Dataset(values, coordinates, dataset.attrs)
    result.set_close(dataset.close)
    return result


def _decode(variable, name):
    """A variable of times with dates; as it was, with the reason, if that is not possible."""
    from xarray.coders import CFDatetimeCoder

    calendar = str(variable.attrs.get("calendar", "standard")).lower()
    known = ALIASES.get(calendar, calendar)
    assumed = f"calendar {calendar} is read as {known}" if known != calendar else None
    try:
        plain, note = _in_seconds(variable, known)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dates beyond datetime64 are cftime's
            new = CFDatetimeCoder().decode(plain, name=name).load()
    except (ValueError, OverflowError, TypeError) as error:
        variable.encoding["undecoded"] = str(error).split(". Try opening")[0]
        return variable
    if plain is not variable and "units" in new.encoding:
        new.encoding["units"] = f"days since {new.encoding['units'].partition(' since ')[2]}"
    notes = [text for text in (assumed, note) if text]
    if notes:
        new.encoding["assumed"] = "; ".join(notes)
    return new


def _in_seconds(variable, calendar):
    """A variable of times in units that xarray knows, and what was assumed for it, or None."""
    units = str(variable.attrs["units"])
    absolute, months = ABSOLUTE.fullmatch(units), MONTHS.fullmatch(units)
    if absolute:
        dates, note = _absolute_dates(variable.values, absolute[1], calendar), None
    elif months and not (months[1].lower() == "month" and calendar == "360_day"):
        dates, note = _calendar_months(variable.values, *months.groups(), calendar)
    elif months or calendar != variable.attrs.get("calendar", calendar):
        changed = variable.copy()
        changed.attrs["calendar"] = calendar
        return changed, None
    else:
        return variable, None
    import cftime

    first = dates[0].strftime("%Y-%m-%d")
    changed = variable.copy(data=cftime.date2num(dates, f"seconds since {first}", calendar))
    changed.attrs = variable.attrs | {"units": f"seconds since {first}", "calendar": calendar}
    return changed, note


def _absolute_dates(values, unit, calendar):
    """The dates of CDO's absolute axes, in which 20010228.5 is noon, (T,)."""
    import cftime

    values = np.atleast_1d(values).astype(float)
    if not np.isfinite(values).all():
        raise ValueError("it has missing times")
    numbers = np.floor(values + 1e-9).astype(int)
    if unit != "day" and (values != numbers).any():
        raise ValueError(f"{values[values != numbers][0]:g} is not a whole {unit}")
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
    return np.array(dates), f"{unit}s since {reference} are read as {unit}s of the calendar"


def as_numbers(times):
    """Times as numbers, (T,), float64: dates in seconds, plain numbers unchanged."""
    if times.dtype.kind == "M":
        return times.astype("datetime64[us]").astype(np.int64) / 1e6
    if times.dtype == object:
        import cftime

        return np.asarray(cftime.date2num(times, "seconds since 1970-01-01"), np.float64)
    return times.astype(np.float64)


def joined(readers):
    """The times of a record's files, one after the other; None unless all have times.

    Raises:
        InputError: times are missing, or the files have several kinds or calendars.
    """
    if any(reader.times is None for reader in readers):
        return None
    kinds = []
    for reader in readers:
        _check_complete(reader)
        kinds.append(_calendar_of(reader.times))
        if not _agree(kinds[0], kinds[-1]):
            raise InputError(
                f"{reader.path}: has {kinds[-1]}, and {readers[0].path.name} {kinds[0]}: the files "
                "of a record must have one calendar"
            )
    times = [reader.times for reader in readers]
    if len({array.dtype.kind for array in times}) > 1 or len(set(kinds)) > 1:
        times = [_as_datetime64(reader) for reader in readers]
    return np.concatenate(times)


def _check_complete(reader):
    times = reader.times
    if times.dtype.kind == "M":
        missing = np.isnat(times).any()
    elif times.dtype == object:
        missing = not all(hasattr(time, "calendar") for time in times)
    else:
        missing = not np.isfinite(times).all()
    if missing:
        raise InputError(f"{reader.path}: {reader.grid.time_name} has missing times")


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
