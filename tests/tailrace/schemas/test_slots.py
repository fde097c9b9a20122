import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.schemas.slots import (
    EPOCH,
    GRID,
    AsOfError,
    check_on_grid,
    check_within_reach,
    from_micros,
    last_tick,
    parse_as_of,
    times_between,
    to_micros,
    to_text,
)

NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NINE, NINE),
        (NINE + MICROSECOND, NINE),
        (NINE + GRID - MICROSECOND, NINE),
        (NINE + GRID, NINE + GRID),
        (NINE - MICROSECOND, NINE - GRID),
    ],
)
def test_last_tick_is_the_newest_grid_time_not_after_now(now, expected):
    assert last_tick(now) == expected


@given(TIMES)
def test_last_tick_lies_on_a_quarter_of_an_hour_and_less_than_a_slot_back(now):
    tick = last_tick(now)

    assert (tick.minute % 15, tick.second, tick.microsecond) == (0, 0, 0)
    assert timedelta(0) <= now - tick < GRID


def test_times_before_1970_have_a_grid_too():
    assert last_tick(EPOCH - MICROSECOND) == EPOCH - GRID


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T09:00:00Z",
        "2026-01-31T09:00",
        "2026-01-31 09:00:00",
        "2026-01-31T10:00:00+01:00",
        "2026-01-31T14:45:00+05:45",
        "2026-01-30T23:00:00-10:00",
    ],
)
def test_a_time_is_read_in_utc_and_without_an_offset_is_utc(text):
    actual = parse_as_of(text)

    assert (actual, actual.utcoffset()) == (NINE, timedelta(0))


def test_a_time_without_an_offset_is_utc_wherever_the_machine_stands(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert parse_as_of("2026-01-31T09:00") == NINE
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_offset_decides_what_is_on_the_grid():
    with pytest.raises(AsOfError, match=r"the neighbours are 2026-01-31T09:00:00Z and 2026-01-31T09:15:00Z$"):
        parse_as_of("2026-01-31T09:15:00+00:10")


@pytest.mark.parametrize("text", ["2026-01-31T09:07:30Z", "2026-01-31T09:00:00.000001Z", "2026-01-31T09:14:59.999999"])
def test_a_time_off_the_grid_is_refused_with_both_neighbours(text):
    with pytest.raises(AsOfError) as refusal:
        parse_as_of(text)

    assert str(refusal.value) == (
        f"as-of {to_text(datetime.fromisoformat(text).replace(tzinfo=UTC))} is not on the 15-minute grid; "
        "the neighbours are 2026-01-31T09:00:00Z and 2026-01-31T09:15:00Z"
    )


@pytest.mark.parametrize("text", ["", "now", "2026-02-30T09:00:00Z", "1769850000", "09:00", "2026-01-31T25:00:00Z"])
def test_rubbish_is_refused_with_an_example(text):
    with pytest.raises(AsOfError) as refusal:
        parse_as_of(text)

    assert str(refusal.value) == f"{text!r} is not a time; write it as 2026-01-31T09:15:00Z"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:45:00-05:00", "9999-12-31T23:50:00Z"])
def test_a_time_that_no_calendar_holds_is_refused_like_any_other(text):
    with pytest.raises(AsOfError):
        parse_as_of(text)


def test_what_is_on_the_grid_passes_the_check():
    check_on_grid(NINE)


@given(TIMES)
def test_micros_come_back_as_the_same_time(moment):
    assert from_micros(to_micros(moment)) == moment


def test_micros_count_from_1970_in_any_zone():
    assert to_micros(EPOCH + MICROSECOND) == 1
    assert to_micros(EPOCH - MICROSECOND) == -1
    assert to_micros(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert from_micros(-1).utcoffset() == timedelta(0)


def test_a_text_has_a_z_and_microseconds_only_where_there_are_some():
    assert to_text(NINE) == "2026-01-31T09:00:00Z"
    assert to_text(NINE + MICROSECOND) == "2026-01-31T09:00:00.000001Z"
    assert to_text(NINE.astimezone(timezone(timedelta(hours=-3)))) == "2026-01-31T09:00:00Z"


@given(TIMES.map(last_tick))
def test_a_text_on_the_grid_is_read_back(tick):
    assert parse_as_of(to_text(tick)) == tick


EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("as_of", [EARLIEST, NINE - GRID, NINE, NINE + GRID])
def test_times_from_1900_to_the_next_tick_are_within_reach(as_of):
    check_within_reach(as_of, now=NINE + MICROSECOND)


@pytest.mark.parametrize(
    ("as_of", "said"),
    [
        (EARLIEST - GRID, "1899-12-31T23:45:00Z lies before 1900"),
        (NINE + 2 * GRID, r"beyond the next tick, 2026-01-31T09:15:00Z; refresh to 2026-01-31T09:00:00Z"),
        (datetime(9999, 12, 31, 23, 45, tzinfo=UTC), "beyond the next tick"),
        (datetime(1, 1, 1, tzinfo=UTC), "before 1900"),
    ],
)
def test_other_times_are_refused_with_the_time_to_take_and_the_option_for_tests(as_of, said):
    with pytest.raises(AsOfError, match=rf"{said}.*--any-as-of"):
        check_within_reach(as_of, now=NINE + GRID - MICROSECOND)


def test_a_range_begins_in_1900_at_the_earliest():
    assert times_between(EARLIEST, EARLIEST + GRID, every=GRID) == [EARLIEST, EARLIEST + GRID]
    with pytest.raises(AsOfError, match="1899-12-31T23:45:00Z lies before 1900"):
        times_between(EARLIEST - GRID, NINE, every=GRID)
