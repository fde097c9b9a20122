from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events.draws import from_text, to_texts
from tailrace.schemas.slots import to_micros, to_text

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
ANY_TIME = st.datetimes(timezones=st.just(UTC))


@given(ANY_TIME)
def test_a_time_written_is_the_time_read(time):
    assert from_text(to_text(time)) == time


@given(st.lists(ANY_TIME.filter(lambda time: time.year >= 1000)))
def test_many_times_are_written_as_one_is(times):
    micros = np.array([to_micros(time) for time in times], dtype=np.int64)

    assert to_texts(micros) == [to_text(time) for time in times]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.000006Z",
        "2026-01-02 03:04:05.000006",
        "2026-01-02T05:04:05.000006+02:00",
        "2026-01-02T03:04:05.000006789Z",
    ],
)
def test_time_is_read_however_landing_files_write_it(text):
    assert from_text(text) == MOMENT


def test_time_read_is_in_utc():
    time = from_text("2026-01-02T05:04:05+02:00")

    assert time is not None
    assert time.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        *(None, 1767323045, "", "soon", "2026-01-02", "20260102T030405Z", "2026-01-02T03:04:05Z\n"),
        *("2026-01-02T03:04:05.0123456789Z", "2026-01-02T03:04:05+02:00:30"),
        *("2026-02-31T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "٢٠٢٦-01-02T03:04:05Z"),
    ],
)
def test_anything_else_is_no_time(value):
    assert from_text(value) is None
