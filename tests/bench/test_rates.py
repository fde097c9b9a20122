"""Which rates count as held, which one is tried next, and the figures that come of them."""

import pytest

from bench.timed import Measured, highest_kept, next_rate, summary


def measured(rate, *, seconds=1.0, growing=0.0, made=1.0, unreadable=0):
    """A rate at which each event takes so many seconds, and so much more for each second that has passed."""
    waits = [(100 + due / 10, seconds + growing * due / 10) for due in range(200)]
    return Measured(rate=rate, produced_per_second=made * rate, waits=waits, unreadable=unreadable)


MISSED = {
    "as it was made": ({}, None),
    "just below 5 s": ({"seconds": 4.9}, None),
    "at 5 s": ({"seconds": 5.0}, "p95"),
    "slower by little": ({"growing": 0.14}, None),
    "slower and slower": ({"growing": 0.16}, "backlog grew"),
    "faster and faster": ({"growing": -0.1}, None),
    "nearly made": ({"made": 0.98}, None),
    "not made": ({"made": 0.96}, "not produced"),
    "one lost": ({"unreadable": 1}, "not all readable"),
}


@pytest.mark.parametrize(("how", "missed"), MISSED.values(), ids=MISSED)
def test_a_rate_is_held_where_it_was_made_all_was_readable_in_time_and_no_backlog_grew(how, missed):
    assert measured(100, **how).missed == missed


def test_growth_of_less_than_a_micro_batch_in_all_is_none():
    short = [(due / 10, due / 20) for due in range(29)]

    assert Measured(rate=100, produced_per_second=100, waits=short).missed is None
    assert Measured(rate=100, produced_per_second=100, waits=[(due, 2 * wait) for due, wait in short]).missed


def test_micro_batches_that_grow_to_their_size_at_first_are_no_backlog():
    waits = [(due / 10, 1.0 + min(due, 66) / 50) for due in range(200)]

    assert Measured(rate=100, produced_per_second=100, waits=waits).growth == pytest.approx(0)


def test_percentiles_are_in_milliseconds():
    waits = [(float(number), number / 100) for number in range(1, 101)]

    assert Measured(rate=1, produced_per_second=1, waits=waits).percentiles == {
        "p50_ms": 500,
        "p95_ms": 950,
        "p99_ms": 990,
    }


HELD: dict[str, float] = {}
TOO_HIGH = {"seconds": 9.0}


@pytest.mark.parametrize(
    ("tried", "following"),
    [
        ([(100, HELD), (1_000, HELD), (5_000, TOO_HIGH)], 2_240),
        ([(100, HELD), (1_000, HELD), (5_000, TOO_HIGH), (2_240, HELD)], 3_350),
        ([(100, HELD), (1_000, HELD), (5_000, TOO_HIGH), (2_240, TOO_HIGH)], 1_500),
        ([(1_000, HELD), (5_000, HELD)], 10_000),
        ([(5_000, HELD), (10_000, HELD)], 20_000),
        ([(5_000, HELD), (10_000, TOO_HIGH)], 7_070),
        ([(5_000, HELD), (1_000, TOO_HIGH)], 10_000),
        ([(1_000, HELD), (1_150, TOO_HIGH)], None),
        ([(1, HELD), (2, TOO_HIGH)], None),
        ([(100, TOO_HIGH)], None),
    ],
)
def test_the_next_rate_is_between_held_and_not_held_until_they_are_close(tried, following):
    assert next_rate([measured(rate, **how) for rate, how in tried]) == following


def test_the_highest_rate_held_is_0_where_none_was():
    assert highest_kept([measured(100, **TOO_HIGH)]) == 0
    assert highest_kept([measured(100), measured(1_000), measured(5_000, **TOO_HIGH)]) == 1_000


def test_figures_are_flat_and_set_beside_the_naive_way():
    fixed, naive = (
        [measured(100), measured(1_000)],
        [measured(100, seconds=0.1), measured(1_000, seconds=30, unreadable=7)],
    )

    shown = summary(fixed, [measured(1_500, seconds=2)], naive, naive_per_second=200.0)

    assert [shown.pop(name)[0]["rate"] for name in ("rates", "searched", "naive_rates")] == [100, 1_500, 100]
    ours = {f"{part}_ms_{rate}": 1_000 for rate in (100, 1_000) for part in ("p50", "p95", "p99")}
    theirs = {
        f"naive_{part}_ms_{rate}": took
        for rate, took in ((100, 100), (1_000, 30_000))
        for part in ("p50", "p95", "p99")
    }
    assert shown == ours | theirs | {
        "highest_rate_held": 1_500,
        "naive_events_per_second": 200.0,
        "ratio_to_naive": 7.5,
        "p95_ratio_100": 0.1,
        "p95_ratio_1000": 30.0,
        "naive_unreadable_100": 0,
        "naive_unreadable_1000": 7,
    }
