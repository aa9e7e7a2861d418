"""Lead times in the units of a record."""

import cftime
import numpy as np
import pandas as pd
import pytest

from src.data.dataset import Dataset, First, LeadStep, lead_step
from src.formats.cf import frequency
from src.formats.cf.grid import Grid


class Times(Dataset):
    """A dataset of one sequence at some times."""

    shape, normalizer, name = (2, 1, 8, 8), None, "times"

    def __init__(self, times, units=None):
        self.all = np.asarray(times)
        self.grid = Grid(time_attributes={"units": units} if units else {})

    def times(self, index):
        return self.all[:2]

    @property
    def frequency(self):
        return frequency.find(self.all)


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("5min", LeadStep(5, "minutes")),
        ("90min", LeadStep(90, "minutes")),
        ("h", LeadStep(1, "hours")),
        ("6h", LeadStep(6, "hours")),
        ("30s", LeadStep(30, "seconds")),
        ("D", LeadStep(1, "days")),
        ("5D", LeadStep(5, "days")),
        ("MS", LeadStep(1, "months")),
        ("ME", LeadStep(1, "months")),
        ("3MS", LeadStep(3, "months")),
        ("YS", LeadStep(12, "months")),
        ("30D", LeadStep(30, "days")),
    ],
)
def test_the_step_of_dates(freq, expected):
    """Over a leap day and a year's end; for the whole record and its first windows."""
    source = Times(pd.date_range("2003-10-31", periods=12, freq=freq))
    assert lead_step(source) == expected
    assert lead_step(First(source, 1)) == expected


def test_the_step_of_other_calendars():
    months = [cftime.Datetime360Day(2000 + k // 12, k % 12 + 1, 16) for k in range(14)]
    assert lead_step(Times(months)) == LeadStep(1, "months")
    days = [cftime.DatetimeNoLeap(2001, 2, day) for day in (26, 27, 28)]
    assert lead_step(Times(days)) == LeadStep(1, "days")


def test_the_step_of_numbers():
    """Known where they have a unit of time."""
    assert lead_step(Times([0.0, 5, 10], "minutes")) == LeadStep(5, "minutes")
    assert lead_step(Times([0.0, 5, 10])) is None
    assert lead_step(Times([0.0, 5, 10], "frames")) is None
    assert lead_step(Dataset()) is None


def test_lead_times_after_frames():
    assert LeadStep(6, "hours").lead(4) == 24
    np.testing.assert_array_equal(LeadStep(0.5, "hours").lead(np.arange(1, 4)), [0.5, 1, 1.5])
