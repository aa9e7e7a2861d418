"""The rule of a series of times: found from all of it, written as a text, and how it goes on."""

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from src.errors import InputError
from src.formats.cf import frequency


def dates(step, count, start="2001-01-01"):
    return pd.date_range(start, periods=count, freq=step).values


def days_of_months(*days, months=30, start="2001-01"):
    """Some days of each month; 0 is its centre, 31 its last day."""
    found = []
    for month in np.datetime64(start) + np.arange(months):
        first, end = month.astype("M8[D]"), (month + 1).astype("M8[D]")
        for day in days:
            place = first.astype("M8[h]") + (end - first).astype("m8[h]") // 2
            found.append(min(first + day - 1, end - 1).astype("M8[h]") if day else place)
    return np.array(found)


def following(times, count):
    """The next times of a series, as text."""
    rule = frequency.find(times)
    again = frequency.parse(str(rule))
    assert again == rule
    return str(rule), [str(time)[:16].replace(" ", "T") for time in again.after(times[-1], count)]


@pytest.mark.parametrize(
    ("times", "rule", "expected"),
    [
        (dates("5min", 3, "2001-02-28T23:50"), "5min", ["2001-03-01T00:05", "2001-03-01T00:10"]),
        (dates("6h", 9), "6h", ["2001-01-03T06:00", "2001-01-03T12:00"]),
        (dates("D", 9, "2004-02-20"), "D", ["2004-02-29T00:00", "2004-03-01T00:00"]),
        (dates("599s", 9), "599s", ["2001-01-01T01:29", "2001-01-01T01:39"]),
        (dates("MS", 40), "MS", ["2004-05-01T00:00", "2004-06-01T00:00"]),
        (dates("MS", 3, "2001-12-01"), "MS", ["2002-03-01T00:00", "2002-04-01T00:00"]),
        (dates("ME", 25), "ME", ["2003-02-28T00:00", "2003-03-31T00:00"]),
        (dates("ME", 3, "2003-11-30"), "ME", ["2004-02-29T00:00", "2004-03-31T00:00"]),
        (dates("QS", 12), "3MS", ["2004-01-01T00:00", "2004-04-01T00:00"]),
        (dates("YS-JUL", 3), "12MS", ["2004-07-01T00:00", "2005-07-01T00:00"]),
        (dates("YE", 6), "12ME", ["2007-12-31T00:00", "2008-12-31T00:00"]),
        (dates("30D", 3, "2001-01-10"), "30D", ["2001-04-10T00:00", "2001-05-10T00:00"]),
        (days_of_months(15), "M15", ["2003-07-15T00:00", "2003-08-15T00:00"]),
        (days_of_months(20) + np.timedelta64(6, "h"), "M20T06:00",
         ["2003-07-20T06:00", "2003-08-20T06:00"]),
        (days_of_months(30, months=25), "M30", ["2003-02-28T00:00", "2003-03-30T00:00"]),
        (days_of_months(0, months=25), "MC", ["2003-02-15T00:00", "2003-03-16T12:00"]),
        (days_of_months(0).astype("M8[D]"), "MCT00:00", ["2003-07-16T00:00", "2003-08-16T00:00"]),
        (days_of_months(1, 11, 21), "MS/11/21", ["2003-07-01T00:00", "2003-07-11T00:00"]),
        (days_of_months(10, 20, 31), "M10/20/E", ["2003-07-10T00:00", "2003-07-20T00:00"]),
        (days_of_months(1, 16), "MS/16", ["2003-07-01T00:00", "2003-07-16T00:00"]),
        (days_of_months(15, 31), "M15/E", ["2003-07-15T00:00", "2003-07-31T00:00"]),
        (np.concatenate([dates("8D", 46, f"{year}-01-01") for year in (2003, 2004)]), "Y8D",
         ["2005-01-01T00:00", "2005-01-09T00:00"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_rules_of_dates(times, rule, expected):
    """Steps across the end of a month, months at any day, parts of months, and of years."""
    assert following(times, 2) == (rule, expected)
    assert frequency.find(times).regular(times).all()


@pytest.mark.parametrize("calendar", ["noleap", "julian", "360_day", "all_leap", "standard"])
@pytest.mark.parametrize("step", ["6h", "D", "MS", "ME"])
def test_rules_of_model_calendars(calendar, step):
    """As xarray continues them, across the end of a February."""
    times = xr.date_range("2004-01-30", periods=33, freq=step, calendar=calendar, use_cftime=True)
    known, expected = times[:-4].values, times[-4:].values
    rule = frequency.find(known)
    assert str(rule) == step
    assert rule.after(known[-1], 4).tolist() == expected.tolist()


def test_rules_of_numbers():
    assert str(frequency.find(np.arange(8) * 0.1)) == "0.1"
    times = np.array([1.0, 1.5, 2.0, 2.5, 4.0])
    rule = frequency.find(times)
    np.testing.assert_array_equal(rule.after(times[-1], 3), [4.5, 5, 5.5])
    assert rule.regular(times).tolist() == [True, True, True, False]
    assert frequency.parse("0.5") == rule


def test_a_series_with_gaps_has_the_step_of_its_rest():
    months = np.delete(dates("MS", 60), [4, 5, 17, 30])
    assert str(frequency.find(months)) == "MS"
    assert np.flatnonzero(~frequency.find(months).regular(months)).tolist() == [3, 14, 26]
    pairs = np.sort(np.concatenate([dates("h", 20), dates("h", 20) + np.timedelta64(10, "m")]))
    assert str(frequency.find(pairs)) == "10min"
    assert str(frequency.find(dates("B", 50))) == "D"


def test_steps_that_are_too_short():
    """A scan repeated one second later; five-minute frames among those of ten minutes."""
    times = dates("10min", 30)
    repeated = np.sort(np.append(times, times[7] + np.timedelta64(1, "s")))
    rule = frequency.find(repeated)
    assert str(rule) == "10min"
    assert np.flatnonzero(~rule.regular(repeated)).tolist() == [7]
    denser = np.sort(np.append(times, times[5:9] + np.timedelta64(5, "m")))
    assert str(frequency.find(denser)) == "10min"
    assert np.flatnonzero(~frequency.find(denser).regular(denser)).tolist() == list(range(5, 13))


def test_scans_that_begin_some_seconds_early_or_late():
    """Their step is the round one; one of 6 minutes is none of theirs."""
    seconds = np.random.default_rng(0).integers(-9, 10, 99).astype("m8[s]")
    times = dates("5min", 99) + seconds
    assert str(frequency.find(times)) == "5min"
    assert frequency.find(times).regular(times).all()
    times[50:] += np.timedelta64(1, "m")
    assert np.flatnonzero(~frequency.find(times).regular(times)).tolist() == [49]
    assert str(frequency.find(np.float32(np.arange(1e6, 1e6 + 50)))) == "1"


def test_what_has_no_rule():
    random = np.random.default_rng(0)
    assert frequency.find(np.sort(random.integers(0, 10**6, 40)).astype("M8[s]")) is None
    days = days_of_months(1, months=40) + random.integers(0, 27, 40).astype("m8[D]")
    assert frequency.find(days) is None
    assert frequency.find(np.array([0.0, 1.0, 3.0, 7.0, 15.0])) is None
    assert frequency.find(dates("D", 1)) is None
    with pytest.raises(InputError, match="frequency is 'often', which is no rule"):
        frequency.parse("often")


@pytest.mark.parametrize(
    ("first", "other", "alike"),
    [
        ("5min", "5min", True),
        ("5min", "10min", False),
        ("h", "61min", True),
        ("MS", "M15", True),
        ("MS", "3MS", False),
        ("MS", "30D", False),
        ("MS/11/21", "M10/20/E", True),
        ("MS/11/21", "10D", False),
        ("8D", "Y8D", True),
        ("Y8D", "8D", True),
        ("5", "5min", False),
    ],
)
def test_which_rules_have_the_same_step(first, other, alike):
    assert frequency.parse(first).is_like(frequency.parse(other)) == alike


def test_times_beyond_2262():
    """Nanoseconds would begin anew in 1677."""
    assert following(dates("MS", 30, "2259-11-01"), 1) == ("MS", ["2262-05-01T00:00"])
    noleap = np.array([cftime.DatetimeNoLeap(2262, m, 1) for m in (2, 3, 4)])
    assert following(noleap, 1) == ("MS", ["2262-05-01T00:00"])
    assert following(dates("h", 24, "2262-04-11T00"), 1) == ("h", ["2262-04-12T00:00"])
