from datetime import UTC, datetime

import numpy as np

from tailrace.events.draws import HOUR, Draws, times_within
from tailrace.schemas.slots import from_micros, to_micros

MONDAY = to_micros(datetime(2026, 3, 2, tzinfo=UTC))


def test_times_begin_after_the_start_and_reach_the_end():
    times = times_within(MONDAY + 5, MONDAY + 8, draws=Draws("x", 1), count=100)

    assert set(times.tolist()) == {MONDAY + 6, MONDAY + 7, MONDAY + 8}


def test_ends_inside_an_hour_are_kept():
    start, end = MONDAY + HOUR // 2, MONDAY + 5 * HOUR // 2

    times = times_within(start, end, draws=Draws("x", 1), count=5_000)

    assert start < times.min() < start + HOUR // 50
    assert end - HOUR // 50 < times.max() <= end
    assert np.bincount((times - MONDAY - 1) // HOUR)[1] > 2_000  # the only whole hour of the three


def test_days_are_busier_than_nights_and_weekends():
    times = times_within(MONDAY, MONDAY + 14 * 24 * HOUR, draws=Draws("x", 1), count=20_000)

    moments = [from_micros(time) for time in times.tolist()]
    nights = sum(moment.hour < 6 for moment in moments)
    weekend = sum(moment.weekday() >= 5 for moment in moments)
    assert 0.005 < nights / len(moments) < 0.06
    assert 0.02 < weekend / len(moments) < 0.10
