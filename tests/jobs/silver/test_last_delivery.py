from datetime import UTC, datetime, timedelta

import pytest
from chispa import assert_df_equality

from jobs.silver import merge
from jobs.silver.merge import last_deliveries, merge_unread
from tests import feeds

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)

EVENT = {"event_id": "e1", "event_type": "edit", "actor_id": "u1", "document_id": "d1", "occurred_at": NINE}
EVENT |= {"source": "drive", "attributes": '{"turn":2}'}
DOCUMENT = {"document_id": "d1", "title": "Plan", "type": "pdf", "size_bytes": 7, "folder": "/a", "owner": "u1"}
DOCUMENT |= {"updated_at": NINE}

# Deliveries of one thing from first to last: by time, then by file, line and batch, each against all that follow.
ORDER = (
    {"delivered_at": TEN, "file": "z", "line": 9, "batch": 9},
    {"delivered_at": TEN + MILLISECOND, "file": "a", "line": 10, "batch": 8},
    {"delivered_at": TEN + MILLISECOND, "file": "b", "line": 2, "batch": 7},
    {"delivered_at": TEN + MILLISECOND, "file": "b", "line": 10, "batch": 5},
    {"delivered_at": TEN + MILLISECOND, "file": "b", "line": 10, "batch": 6},
)


def event(name, delivery):
    """The delivery's place in the order is what the row says, so that the winner shows."""
    return EVENT | {"event_id": name, "source": f"delivery {ORDER.index(delivery)}"} | delivery | {"ingested_at": TEN}


def document(name, delivery):
    return DOCUMENT | {"document_id": name, "title": f"delivery {ORDER.index(delivery)}"} | delivery | {"ingested_at": TEN}  # fmt: skip


FEEDS = {
    "events": (feeds.EVENTS, feeds.INTERACTIONS, event, "source"),
    "documents": (feeds.DOCUMENTS, feeds.DOCUMENT_FACTS, document, "title"),
}


def frame(spark, table, rows):
    return spark.createDataFrame([tuple(row[name] for name in table.columns) for row in rows], table.ddl)


@pytest.mark.parametrize("feed", FEEDS)
def test_the_last_delivery_wins_in_whatever_order_they_are_read(spark, feed):
    of, target, make, _ = FEEDS[feed]
    source = of.table
    pairs = [(first, last) for last in range(len(ORDER)) for first in range(last + 1)]
    rows = [make(f"{pair}", ORDER[n]) for pair in pairs for n in sorted(set(pair), reverse=hash(pair) % 2 == 0)]

    actual = last_deliveries(frame(spark, source, rows), target)

    expected = frame(spark, target, [make(f"{pair}", ORDER[pair[1]]) for pair in pairs])
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)


@pytest.mark.slow
def test_an_older_delivery_that_is_processed_later_does_not_win(spark, lake):
    of, target, make, told = FEEDS["events"]
    source = of.table
    pairs = [(n, n + 1) for n in range(len(ORDER) - 1)]
    early = [make(f"{pair} in order", ORDER[pair[0]]) for pair in pairs]
    early += [make(f"{pair} turned", ORDER[pair[1]]) for pair in pairs]
    late = [make(f"{pair} in order", ORDER[pair[1]]) for pair in pairs]
    late += [make(f"{pair} turned", ORDER[pair[0]]) for pair in pairs]

    # Bronze numbers its loads; here the batch is only the last word of the order.
    numbers = {"batch": 1}, {"batch": 2}
    for rows, number in zip((early, late), numbers, strict=True):
        same_batch = [row for row in rows if row["file"] != "b" or row["line"] != 10]
        lake.append_once(source, frame(spark, source, [row | number for row in same_batch]), number=number["batch"])
        merge_unread(lake, of)

    (key,) = target.key
    found = {row[key]: row[told] for row in lake.read(target).select(key, told).collect()}
    assert found == {
        **{f"{pair} in order": f"delivery {pair[1]}" for pair in pairs[:2]},
        **{f"{pair} turned": f"delivery {pair[1]}" for pair in pairs[:2]},
        f"{pairs[2]} in order": "delivery 2",
        f"{pairs[2]} turned": "delivery 2",
    }
    assert lake.state(target).values == {"batch": 2}


@pytest.mark.slow
def test_only_batches_not_read_yet_are_read_and_nothing_new_commits_nothing(spark, lake, monkeypatch):
    seen = []

    def record(deliveries, table):
        seen.append(sorted(row.event_id for row in deliveries.select("event_id").collect()))
        return last_deliveries(deliveries, table)

    monkeypatch.setattr(merge, "last_deliveries", record)

    def merge_new():
        merge_unread(lake, feeds.EVENTS)
        return lake.version(feeds.INTERACTIONS), lake.state(feeds.INTERACTIONS)

    empty, state = merge_new()
    assert (state, merge_new()) == (None, (empty, None))

    for number, name in ((1, "e1"), (2, "e2")):
        rows = frame(spark, feeds.BRONZE_EVENTS, [event(name, ORDER[0]) | {"batch": number}])
        lake.append_once(feeds.BRONZE_EVENTS, rows, number=number)
    after, state = merge_new()
    assert (after, state.values) == (empty + 1, {"batch": 2})
    assert merge_new()[0] == after

    rows = frame(spark, feeds.BRONZE_EVENTS, [event(name, ORDER[1]) | {"batch": 5} for name in ("e2", "e3")])
    lake.append_once(feeds.BRONZE_EVENTS, rows, number=5)
    assert merge_new()[1].values == {"batch": 5}
    assert seen == [["e1", "e2"], ["e2", "e3"]]
