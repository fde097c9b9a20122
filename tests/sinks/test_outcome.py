"""Outcomes of tasks added up, and what a push says of refused rows."""

import pytest
from pyspark.sql import Row

from sinks.push import PushError, refuse_failures
from sinks.store_values import outcome_of, to_arrow, total
from tailrace.store.writer import Outcome


def test_outcomes_of_tasks_add_up_and_name_the_first_failures():
    one = Outcome(
        written=1,
        removed=2,
        stale=3,
        bytes=4,
        requests=7,
        bytes_sent=60,
        refused=15,
        failed=[(f"a{n}", "why") for n in range(15)],
    )
    other = Outcome(
        written=10,
        removed=20,
        stale=30,
        bytes=40,
        requests=70,
        bytes_sent=600,
        refused=15,
        failed=[(f"b{n}", "why") for n in range(15)],
    )

    together = total([one, other])

    assert (together.written, together.removed, together.stale, together.refused) == (11, 22, 33, 30)
    assert (together.bytes, together.requests, together.bytes_sent) == (44, 77, 660)
    assert [key for key, _ in together.failed] == [f"a{n}" for n in range(15)] + [f"b{n}" for n in range(5)]


def test_an_outcome_survives_the_way_from_the_executors():
    outcome = Outcome(written=1, removed=2, stale=3, bytes=4, refused=1, failed=[("k1", "too large")])
    [row] = to_arrow(outcome).to_pylist()
    failed = [Row(**failure) for failure in row.pop("failed")]

    back = outcome_of(Row(**row, failed=failed))

    assert (back, back.bytes) == (outcome, 4)


def test_refused_rows_stop_the_push_with_keys_and_reasons():
    told = (
        r"^view visits: the store refused 3 rows, the cursor has not moved: "
        r"'k1': too large; 'k2': empty; and 1 more$"
    )

    with pytest.raises(PushError, match=told):
        refuse_failures(Outcome(written=9, refused=3, failed=[("k1", "too large"), ("k2", "empty")]), "visits")


def test_nothing_refused_stops_nothing():
    refuse_failures(Outcome(written=9, stale=3), "visits")
