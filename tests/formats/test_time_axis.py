"""How series of times go on."""

import cftime
import numpy as np

from src.formats.time_axis import times_after


def test_an_even_step():
    times = np.array(["2001-02-28T23:50", "2001-02-28T23:55"], "datetime64[ns]")
    following = np.array(["2001-03-01T00:00", "2001-03-01T00:05"], "datetime64[ns]")
    np.testing.assert_array_equal(times_after(times, 2), following)
    np.testing.assert_array_equal(times_after(np.array([1.0, 1.5, 2.0]), 3), [2.5, 3, 3.5])


def test_thirty_days_are_no_month():
    """Though each of them ends in the next one."""
    times = np.array(["2001-01-10", "2001-02-09", "2001-03-11"], "datetime64[D]")
    assert times_after(times, 1)[0] == np.datetime64("2001-04-10")


def test_months_go_on_as_months():
    """First days and middles; across the leap day and the year."""
    first = np.array(["2003-11-01", "2003-12-01"], "datetime64[ns]")
    assert [str(t)[:10] for t in times_after(first, 3)] == [
        "2004-01-01",
        "2004-02-01",
        "2004-03-01",
    ]
    middle = np.array(["2003-12-16T12", "2004-01-16T12"], "datetime64[h]")
    assert [str(t)[:13] for t in times_after(middle, 2)] == ["2004-02-15T12", "2004-03-16T12"]


def test_years_and_model_calendars():
    years = np.array(["2002-07-01", "2003-07-01", "2004-07-01"], "datetime64[D]")
    assert [str(t)[:10] for t in times_after(years, 2)] == ["2005-07-01", "2006-07-01"]
    months = np.array([cftime.DatetimeNoLeap(2004, m, d) for m, d in ((10, 1), (11, 1), (12, 1))])
    expected = [cftime.DatetimeNoLeap(2005, 1, 1), cftime.DatetimeNoLeap(2005, 2, 1)]
    assert times_after(months, 2).tolist() == expected
    days = np.array([cftime.Datetime360Day(2004, 2, d) for d in (28, 29, 30)])
    assert times_after(days, 1)[0] == cftime.Datetime360Day(2004, 3, 1)
