from collections import Counter
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events.busiest import busiest_ticks, occurred_at_of, split
from tailrace.events.files import NoReadableTimeError
from tailrace.schemas.slots import EPOCH, GRID

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def at(minutes):
    return NINE + timedelta(minutes=minutes)


def at_the_end_of_a_file(times):
    """Put nine times as many events long before, so that `times` are the last tenth."""
    return [at(-100_000)] * 9 * len(times) + times


def busiest_by_trying_all(times):
    """The definition, word by word."""
    counts = Counter(-((EPOCH - time) // GRID) for time in times)
    tail = sorted(times)[-max(1, -(-len(times) // 10)) :]
    first, last = -((EPOCH - tail[0]) // GRID), -((EPOCH - tail[-1]) // GRID)
    choices = []
    for start in range(first, max(first, last - 3) + 1):
        four = [counts[slot] for slot in range(start, start + 4)]
        choices.append((sum(count > 0 for count in four), sum(four), start))
    return EPOCH + max(choices)[2] * GRID


@given(st.lists(st.integers(0, 80) | st.integers(0, 4_000), min_size=1, max_size=150).map(sorted))
def test_choice_is_the_best_of_all(quarters_of_slots):
    times = [NINE + number * GRID / 4 for number in quarters_of_slots]

    assert busiest_ticks(times) == busiest_by_trying_all(times)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.randoms())
def test_choice_does_not_depend_on_the_order_of_lines(minutes, random):
    times = [at(number) for number in minutes] + [None]
    shuffled = random.sample(times, len(times))

    assert busiest_ticks(shuffled) == busiest_ticks(times)


def test_a_slot_holds_its_end_and_not_its_start():
    assert busiest_ticks([at(0)]) == at(0)
    assert busiest_ticks([at(0) + MICROSECOND]) == at(15)


def test_only_the_last_tenth_of_the_events_is_looked_at():
    earlier = [at(-1_000 + 15 * number) for number in range(36)]

    assert busiest_ticks([*earlier, at(1), at(1), at(1), at(1)]) == at(15)
    assert busiest_ticks(earlier) == at(-510)  # the slots of the last four of the 36


def test_most_slots_with_events_win_over_most_events():
    assert busiest_ticks(at_the_end_of_a_file([at(1), at(16), at(31), at(46), *[at(500)] * 10])) == at(15)


def test_most_events_win_among_equally_many_slots():
    assert busiest_ticks(at_the_end_of_a_file([at(1), at(200), at(200), at(400), at(1_000)])) == at(210)


def test_the_latest_slots_win_a_tie():
    assert busiest_ticks(at_the_end_of_a_file([at(1), at(200), at(460)])) == at(465 - 45)


def test_slots_before_the_first_of_them_are_never_needed():
    assert busiest_ticks(at_the_end_of_a_file([at(1), at(1), at(17)])) == at(15)


def test_gaps_of_centuries_cost_nothing():
    ages = [datetime(year, 1, 1, tzinfo=UTC) for year in (1, 1500, 1970, 5000, 9999)]

    assert busiest_ticks(ages * 10) == datetime(9999, 1, 1, tzinfo=UTC)


def test_times_before_1970_are_counted_as_others():
    assert busiest_ticks([datetime(1969, 12, 31, 23, 50, tzinfo=UTC)]) == EPOCH


@pytest.mark.parametrize("times", [[], [None, None]])
def test_a_file_without_times_is_refused(times):
    with pytest.raises(NoReadableTimeError, match="none of the events has a readable occurred_at"):
        busiest_ticks(times)


def test_lines_are_divided_at_the_ends_of_the_slots():
    times = [at(-999), at(0), at(0) + MICROSECOND, at(15), at(15) + MICROSECOND, at(31), at(45), at(45) + MICROSECOND]
    lines = [(str(number).encode(), time) for number, time in enumerate(times)]

    assert split(lines, at(0)) == [[b"0", b"1"], [b"2", b"3"], [b"4"], [b"5", b"6"]]


def test_unreadable_lines_belong_to_the_first_part_and_order_is_kept():
    lines = [(b"late", at(15)), (b"?", None), (b"early", at(-15)), (b"later", at(14)), (b"??", None)]

    assert split(lines, at(0)) == [[b"?", b"early", b"??"], [b"late", b"later"], [], []]


def test_time_of_a_line_is_read():
    line = orjson.dumps({"event_id": "e1", "occurred_at": "2026-03-01T09:00:00.000001Z"})

    assert occurred_at_of(line) == NINE + MICROSECOND


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{", b"\xff", b"[]", b'"2026-03-01T09:00:00Z"', b"null", b"{}", b"[" * 5_000),
        *(b'{"occurred_at": null}', b'{"occurred_at": 5}', b'{"occurred_at": "soon"}'),
        b'{"occurred_at": "9999-12-31T23:50:00Z"}',
    ],
)
def test_line_without_a_time_has_none(line):
    assert occurred_at_of(line) is None
