"""What an extreme that was lost is computed from."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.gold.incremental import losses_of, since_when
from tailrace.definitions import Last, Max
from tailrace.definitions.aggregations.sql import LOST
from tests.jobs.gold.test_every_aggregation import VIEW

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lost", "since"),
    [
        (["_lost_largest_1h"], T - timedelta(hours=1)),
        (["_lost_largest_1h", "_lost_smallest_24h"], T - timedelta(hours=24)),
        (["_lost_largest_1h", "_lost_largest_total"], None),
        (["_lost_largest_1h", LOST], None),
    ],
)
def test_a_key_is_settled_from_events_as_far_back_as_the_longest_window_that_lost_its_extreme(lost, since):
    counts = dict.fromkeys(losses_of(VIEW).values(), 0) | dict.fromkeys(lost, 3)

    assert since_when(VIEW, counts, as_of=T) == since


def test_an_extreme_of_a_window_is_settled_by_its_own_loss_and_one_of_all_time_by_any():
    losses = losses_of(VIEW)

    assert losses["last_view_2h"] == "_lost_last_view_2h"
    assert losses["_last_amount_1h_at"] == losses["last_amount_1h"] == "_lost_last_amount_1h"
    assert losses["last_odd"] == LOST
    assert {Last, Max} <= {type(line) for line in VIEW.aggregations}
