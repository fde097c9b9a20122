import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from chispa import assert_df_equality

from jobs.gold.compute import aggregate
from tailrace.definitions import BatchView, Count, Distinct, First, Last, NewestIs, Sum, load_definitions
from tailrace.shipped.actor_activity import actor_activity
from tailrace.shipped.document_activity import document_activity
from tailrace.shipped.entities import DOCUMENT
from tests import feeds

actor_document_affinity = load_definitions().batch_views["actor_document_affinity"]
T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

INTERACTION = {"event_id": "e1", "event_type": "view", "actor_id": "u1", "document_id": "d1", "occurred_at": T}
INTERACTION |= {"source": "drive", "attributes": "{}", "delivered_at": T + HOUR, "file": "f", "line": 2, "batch": 3}


def interactions(spark, *changes):
    rows = [INTERACTION | {"event_id": f"e{n}"} | change for n, change in enumerate(changes)]
    return spark.createDataFrame([tuple(row.values()) for row in rows], feeds.INTERACTIONS.ddl)


def view(*lines):
    freshness = timedelta(hours=1)
    return BatchView(
        name="tested", entities=(DOCUMENT,), owner="tests", description="", freshness=freshness, aggregations=lines
    )


def assert_rows(actual, expected, tested):
    columns = [*tested.keys, *tested.feature_names]
    ddl = ", ".join(f"{field.name} {field.type}" for field in tested.table.fields if field.name in columns)
    expected = actual.sparkSession.createDataFrame(expected, ddl)
    assert_df_equality(actual.select(*columns), expected, ignore_row_order=True, ignore_nullable=True)


def test_a_window_leaves_out_its_first_moment_and_holds_its_last(spark):
    tested = view(Count(name="events", over=("1h", "7d", "total")))
    times = {"t": T, "after": T + TICK, "1h": T - HOUR, "in 1h": T - HOUR + TICK, "7d": T - 7 * DAY}
    times |= {"in 7d": T - 7 * DAY + TICK, "old": datetime(1, 1, 2, tzinfo=UTC)}
    rows = interactions(spark, *({"document_id": name, "occurred_at": time} for name, time in times.items()))

    actual = aggregate(rows, tested, as_of=T, base_rows={})

    expected = [("t", 1, 1, 1), ("1h", 0, 1, 1), ("in 1h", 1, 1, 1), ("7d", 0, 0, 1), ("in 7d", 0, 1, 1)]
    assert_rows(actual, [*expected, ("old", 0, 0, 1)], tested)


def test_events_after_the_as_of_count_nowhere(spark):
    tested = view(Count(name="events", over=("total",)), First(name="first"), Last(name="last"), NewestIs(name="is_deleted", type="delete"))  # fmt: skip
    rows = interactions(spark, {}, {"occurred_at": T + TICK, "event_type": "delete"}, {"document_id": "d2", "occurred_at": T + DAY})  # fmt: skip

    assert_rows(aggregate(rows, tested, as_of=T, base_rows={}), [("d1", 1, T, T, False)], tested)


def test_lines_with_types_see_these_types_only_and_are_null_without_one(spark):
    tested = view(
        Count(name="changes", types=("create", "edit"), over=("1h",)),
        First(name="first", types=("create", "edit")),
        Last(name="last", types=("create", "edit")),
    )
    edits = [{"event_type": "create", "occurred_at": T - DAY}, {"event_type": "edit", "occurred_at": T - TICK}]
    rows = interactions(spark, *edits, {"event_type": "view"}, {"event_type": "edit_", "document_id": "d2"})

    actual = aggregate(rows, tested, as_of=T, base_rows={})

    assert_rows(actual, [("d1", 1, T - DAY, T - TICK), ("d2", 0, None, None)], tested)


def test_types_are_taken_as_they_are_written_in_definitions(spark):
    odd = ["it's", "a\\b", "\\'", "${spark.app.name}", "$", "\\u0041", "a\nb", "%_", "ß漢", '"']
    lines = [Count(name=f"odd_{number}", types=(text,), over=("1h",)) for number, text in enumerate(odd)]
    rows = interactions(spark, *({"event_type": text} for text in odd))

    assert_rows(aggregate(rows, view(*lines), as_of=T, base_rows={}), [("d1", *[1] * len(odd))], view(*lines))


def test_the_newest_event_is_the_last_by_time_and_then_by_id(spark):
    tested = view(NewestIs(name="is_deleted", type="delete"))
    deleted = {"event_type": "delete", "occurred_at": T - HOUR}
    cases = [
        {"document_id": "gone", "occurred_at": T - 2 * HOUR, "event_id": "z"},
        deleted | {"document_id": "gone"},
        deleted | {"document_id": "back", "event_id": "z"},
        {"document_id": "back", "occurred_at": T - HOUR + TICK, "event_id": "a"},
        deleted | {"document_id": "tie, deleted", "event_id": "b"},
        {"document_id": "tie, deleted", "occurred_at": T - HOUR, "event_id": "a10"},
        deleted | {"document_id": "tie, there", "event_id": "a10"},
        {"document_id": "tie, there", "occurred_at": T - HOUR, "event_id": "a9"},
    ]

    actual = aggregate(interactions(spark, *cases), tested, as_of=T, base_rows={})

    assert_rows(actual, [("gone", True), ("back", False), ("tie, deleted", True), ("tie, there", False)], tested)


def test_distinct_counts_are_the_active_rows_of_the_finer_view(spark):
    tested = view(Distinct(name="actors", rows_of="pairs", active="events", over=("1h", "7d")), Last(name="last"))
    pairs = [("u1", "d1", 5, 5), ("u2", "d1", 0, 1), ("u3", "d1", 0, 0), ("u1", "d2", 0, 0), ("u1", "d9", 1, 1)]
    rows = interactions(spark, {}, {"document_id": "d2"}, {"document_id": "no pair"})

    actual = aggregate(rows, tested, as_of=T, base_rows={"pairs": spark.createDataFrame(pairs, "actor_id string, document_id string, events_1h bigint, events_7d bigint")})  # fmt: skip

    assert_rows(actual, [("d1", 1, 2, T), ("d2", 0, 0, T), ("no pair", 0, 0, T)], tested)


def test_sums_are_exact_to_six_decimals_and_take_what_is_no_number_for_0(spark):
    tested = view(Sum(name="seconds", of="dwell", types=("view", "open"), over=("1h", "total")))
    texts: list[str | None] = [
        '{"dwell": 0.1}',
        '{"dwell": 0.2}',
        '{"dwell": "0.3000004"}',
        '{"dwell": -1e-7}',
        '{"dwell": "soon"}',
    ]
    texts += ['{"dwell": 1e-99999999}', '{"dwell": "1e99999999"}']  # Java would write out every digit of the first
    texts += ['{"dwell": 1e18}', '{"dwell": NaN}', '{"dwell": null}', '{"dwell": [1]}', "{}", "", "no JSON", None]
    rows: list[dict[str, Any]] = [{"attributes": text} for text in texts]
    rows += [
        {"event_type": "edit", "attributes": '{"dwell": 5}'},
        {"occurred_at": T - HOUR, "attributes": '{"dwell": 7}'},
    ]
    rows += [{"document_id": "d2", "event_type": "edit"}]

    actual = aggregate(interactions(spark, *rows), tested, as_of=T, base_rows={})

    assert_rows(actual, [("d1", 0.6, 7.6), ("d2", 0.0, 0.0)], tested)
    assert {tuple(row) for row in actual.select("_interactions", "_seconds_1h").collect()} == {(17, Decimal("0.600000")), (1, Decimal("0.000000"))}  # fmt: skip


def test_a_view_may_count_nothing_but_partners(spark):
    tested = view(Distinct(name="actors", rows_of="pairs", active="events", over=("1h",)))
    pairs = spark.createDataFrame([("u1", "d1", 5)], "actor_id string, document_id string, events_1h bigint")

    actual = aggregate(interactions(spark, {}, {"document_id": "d2"}), tested, as_of=T, base_rows={"pairs": pairs})

    assert_rows(actual, [("d1", 1), ("d2", 0)], tested)


WINDOWS = {"15m": timedelta(minutes=15), "1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "total": None}
EDGES = [T - length + step * TICK for length in WINDOWS.values() if length for step in (-1, 0, 1)]
EDGES += [T - TICK, T, T + TICK, T - 400 * DAY]
HISTORIES = 300
IDS = ("a", "", " ", "a ", "A", "é", "e\u0301", "日", "\U0001f600", "\uffff", "|", "'\"\\")


def histories():
    """Small random histories in one table: every id begins with the number of its history."""
    rng = random.Random(20260302)
    for number in range(HISTORIES):
        times = rng.sample(EDGES, 4)
        for n in range(rng.randint(1, 9)):
            yield INTERACTION | {
                "event_id": f"{number}:{rng.choice(IDS)}{n}",
                "event_type": rng.choice(("view", "view", "edit", "create", "delete", "share")),
                "actor_id": f"{number}:{rng.choice(IDS[number % 10 :][:2])}",
                "document_id": f"{number}:{rng.choice(IDS[number % 7 :][:3])}",
                "occurred_at": rng.choice(times),
            }


def happened(events, keys):
    """Events up to T by key, in order; UTF-8 order is what Spark compares by."""
    groups = defaultdict(list)
    for event in sorted(events, key=lambda event: (event["occurred_at"], event["event_id"].encode())):
        if event["occurred_at"] <= T:
            groups[tuple(event[key] for key in keys)].append(event)
    return groups


def within(events, window, *types):
    length = WINDOWS[window]
    return [
        event
        for event in events
        if (length is None or T - event["occurred_at"] < length) and (not types or event["event_type"] in types)
    ]


def partners(events, window, key):
    return len({event[key] for event in within(events, window)})


def last_at(events):
    return max((event["occurred_at"].replace(tzinfo=None) for event in events), default=None)


def reference_document_activity(events):
    for (document,), own in happened(events, ["document_id"]).items():
        yield (
            document,
            *(len(within(own, window)) for window in WINDOWS),
            *(len(within(own, window, "view")) for window in WINDOWS),
            *(len(within(own, window, "create", "edit")) for window in WINDOWS),
            *(partners(own, window, "actor_id") for window in ("24h", "7d", "30d")),
            own[0]["occurred_at"].replace(tzinfo=None),
            last_at(own),
            last_at(within(own, "total", "create", "edit")),
            own[-1]["event_type"] == "delete",
        )


def reference_actor_activity(events):
    for (actor,), own in happened(events, ["actor_id"]).items():
        counts = (len(within(own, window)) for window in ("24h", "7d", "30d"))
        yield (actor, *counts, *(partners(own, window, "document_id") for window in ("7d", "30d")), last_at(own))


def reference_actor_document_affinity(events):
    for (actor, document), own in happened(events, ["actor_id", "document_id"]).items():
        counts = (len(within(own, window)) for window in ("24h", "7d", "30d", "total"))
        yield (actor, document, *counts, len(within(own, "30d", "create", "edit")), last_at(own))


@pytest.fixture(scope="module")
def random_events():
    return list(histories())


@pytest.fixture(scope="module")
def random_interactions(spark, random_events):
    frame = spark.createDataFrame([tuple(event.values()) for event in random_events], feeds.INTERACTIONS.ddl)
    return frame.persist()


@pytest.mark.parametrize(
    ("tested", "reference"),
    [
        (document_activity, reference_document_activity),
        (actor_activity, reference_actor_activity),
        (actor_document_affinity, reference_actor_document_affinity),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_shipped_views_agree_with_a_plain_reference(random_events, random_interactions, tested, reference):
    affinity = aggregate(random_interactions, actor_document_affinity, as_of=T, base_rows={})

    actual = aggregate(random_interactions, tested, as_of=T, base_rows={"actor_document_affinity": affinity})

    features = actual.select(*tested.keys, *tested.feature_names)
    assert sorted(map(tuple, features.collect())) == sorted(reference(random_events))
