"""Large changes are stopped before anything is written."""

import pytest

from sinks.net_changes import BreakerOpen, check_share
from sinks.protocol import CHANGES, FIRST_LOAD, NEW_FEATURES, SNAPSHOT, Plan

BY_CHANGES = Plan(CHANGES, suppress=True)


def check(online_now, plan=BY_CHANGES, **counts):
    check_share("visits", plan, {"inserts": 0, "updates": 0, "removals": 0} | counts, lambda: online_now)


@pytest.mark.parametrize(
    ("online_now", "counts"),
    [
        (1_000, {"updates": 401}),
        (599, {"removals": 401}),
        (6_100, {"inserts": 1_100, "updates": 1_701, "removals": 500}),  # of 5,500
    ],
)
def test_more_than_two_fifths_of_the_online_rows_are_stopped(online_now, counts):
    with pytest.raises(BreakerOpen, match=r"view visits: .* more than 40%; nothing was written"):
        check(online_now, **counts)


def test_the_message_tells_how_much_and_what_to_do():
    with pytest.raises(BreakerOpen) as stopped:
        check(9_000, updates=3_900, removals=1_000)

    assert "3,900 of 10,000 online rows would change and 1,000 would go" in str(stopped.value)
    assert "--allow-large-change" in str(stopped.value)


@pytest.mark.parametrize(
    ("online_now", "counts"),
    [
        (1_000, {"updates": 400}),
        (600, {"removals": 400}),
        (999, {"updates": 999}),  # too small a view
        (99_000, {"inserts": 98_000, "updates": 400}),
    ],
)
def test_what_happens_by_itself_goes_through(online_now, counts):
    check(online_now, **counts)


@pytest.mark.parametrize("plan", [Plan(FIRST_LOAD, suppress=False), Plan(SNAPSHOT, suppress=True, why=NEW_FEATURES)])
def test_a_first_load_and_new_features_may_change_everything(plan):
    check(5_000, plan, updates=5_000)


def test_a_snapshot_for_another_reason_may_not():
    with pytest.raises(BreakerOpen):
        check(5_000, Plan(SNAPSHOT, suppress=True, why="the table was created anew"), updates=5_000)


def test_rows_are_counted_only_where_it_may_matter():
    check_share("visits", BY_CHANGES, {"inserts": 9, "updates": 200, "removals": 200}, pytest.fail)
