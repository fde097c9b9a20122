"""Which lane a view belongs in."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tailrace.shipped.document_activity import document_activity
from tailrace.shipped.document_profile import document_profile
from tailrace.shipped.document_recent import document_recent
from tailrace.shipped.document_relevance import document_relevance
from tailrace.workspace.lane_plan import Observed, Terms, plan

QUARTER = timedelta(minutes=15)
TERMS = Terms(interval=QUARTER, price=1.0)
SEEN = Observed(
    rows=10_000,
    runs=4,
    writes_per_run=300.0,
    value_bytes=200.0,
    age_at_end=timedelta(minutes=5),
    events_per_day=50_000.0,
    direct_per_day=7.0,
)


def test_a_view_that_a_refresh_has_fresh_enough_belongs_in_batch():
    told = plan(document_activity, SEEN, TERMS)

    assert (told["lane"], told["recommended"], told["is_right"]) == ("batch", "batch", True)
    assert told["batch_age_seconds"] == 20 * 60
    assert told["reasons"] == [
        "values are to be at most 30 min old, and a refresh has them at most 20 min old",
        "3.00% of 10,000 rows are written in a refresh, on average of 4 runs",
    ]


@pytest.mark.parametrize(("freshness", "lane"), [(timedelta(minutes=20), "batch"), (timedelta(minutes=19), "stream")])
def test_a_view_that_is_wanted_fresher_than_a_refresh_has_it_is_flagged(freshness, lane):
    told = plan(replace(document_activity, freshness=freshness), SEEN, TERMS)

    assert (told["recommended"], told["is_right"]) == (lane, lane == "batch")


def test_without_a_run_to_go_by_a_refresh_is_taken_to_last_its_interval():
    assert plan(document_activity, Observed(), TERMS)["batch_age_seconds"] == 30 * 60


def test_a_transform_stays_in_batch_and_says_what_can_be_done():
    told = plan(replace(document_profile, freshness=timedelta(seconds=10)), SEEN, TERMS)

    assert (told["recommended"], told["is_right"]) == ("batch", True)
    assert "10 s old" in told["reasons"][0]
    assert "written directly" in told["reasons"][0]


def test_what_comes_from_outside_is_written_directly():
    told = plan(document_relevance, SEEN, TERMS)

    assert (told["recommended"], told["is_right"]) == ("direct", True)


def test_a_lane_costs_what_it_writes():
    told = plan(document_activity, SEEN, TERMS)

    assert told["writes_per_day"] == {"batch": 28_800.0, "stream": 50_000.0, "direct": 7.0}
    assert told["dollars_per_month"] == {"batch": 0.864, "stream": 1.5, "direct": 0.0002}
    larger = plan(document_activity, replace(SEEN, value_bytes=1_025.0), TERMS)
    assert larger["dollars_per_month"]["batch"] == 2 * told["dollars_per_month"]["batch"]
    assert plan(document_activity, Observed(), TERMS)["dollars_per_month"]["batch"] is None


def test_a_stream_whose_values_may_be_as_old_as_a_refresh_belongs_in_batch():
    assert plan(document_recent, SEEN, TERMS)["is_right"]
    told = plan(replace(document_recent, freshness=timedelta(hours=1)), SEEN, TERMS)

    assert (told["recommended"], told["is_right"]) == ("batch", False)
