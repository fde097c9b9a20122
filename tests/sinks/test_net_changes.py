from datetime import timedelta
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from features.entities import ACTOR, DOCUMENT
from features.language import Count, Feature, FeatureView, Last, NewestIs, Type
from online.keys import item_keys
from sinks.net_changes import item_key, net_changes, snapshot_changes

VIEW = FeatureView(
    name="affinity",
    entities=(DOCUMENT, ACTOR),
    owner="tests",
    description="Two entities and a condition.",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="events", over=("7d",)), Last(name="at"), NewestIs(name="gone", type="delete")),
    online_when="not gone",
)
ALWAYS = FeatureView(
    name="always",
    entities=(DOCUMENT,),
    owner="tests",
    description="No condition.",
    freshness=timedelta(hours=1),
    transform=lambda documents: documents,
    transform_features=(Feature("size", Type.INT64, "size"), Feature("rate", Type.FLOAT64, "rate")),
)

FEED = "document_id string, actor_id string, events_7d bigint, at timestamp, gone boolean"
FEED += ", _change_type string, _commit_version bigint"

ON, OFF, UNKNOWN = False, True, None

# Images per case, in order: (change type, version, events_7d, gone), then what is done and the value written.
CASES: dict[str, tuple[list[tuple[Any, ...]], str, int | None]] = {
    "insert": ([("insert", 3, 1, ON)], "write", 1),
    "insert offline": ([("insert", 3, 1, OFF)], "suppress", None),
    "insert of unknown state": ([("insert", 3, 1, UNKNOWN)], "suppress", None),
    "insert of nulls": ([("insert", 3, None, ON)], "write", None),
    "update": ([("update_preimage", 3, 1, ON), ("update_postimage", 3, 2, ON)], "write", 2),
    "update to null": ([("update_preimage", 3, 1, ON), ("update_postimage", 3, None, ON)], "write", None),
    "update from null": ([("update_preimage", 3, None, ON), ("update_postimage", 3, 0, ON)], "write", 0),
    "update and back": (
        [
            ("update_preimage", 3, 1, ON),
            ("update_postimage", 3, 2, ON),
            ("update_preimage", 4, 2, ON),
            ("update_postimage", 4, 1, ON),
        ],
        "suppress",
        None,
    ),
    "null and back": (
        [
            ("update_preimage", 3, None, ON),
            ("update_postimage", 3, 2, ON),
            ("update_preimage", 4, 2, ON),
            ("update_postimage", 4, None, ON),
        ],
        "suppress",
        None,
    ),
    "three versions": (
        [
            ("insert", 3, 1, ON),
            ("update_preimage", 9, 1, ON),
            ("update_postimage", 9, 2, ON),
            ("update_preimage", 10, 2, ON),
            ("update_postimage", 10, 3, ON),
        ],
        "write",
        3,
    ),
    "delete": ([("delete", 3, 1, ON)], "remove", None),
    "delete offline": ([("delete", 3, 1, OFF)], "suppress", None),
    "insert and delete": ([("insert", 3, 1, ON), ("delete", 4, 1, ON)], "suppress", None),
    "delete and insert equal": ([("delete", 3, 1, ON), ("insert", 4, 1, ON)], "suppress", None),
    "delete and insert other": ([("delete", 3, 1, ON), ("insert", 4, 2, ON)], "write", 2),
    "delete and insert in one commit": ([("insert", 3, 2, ON), ("delete", 3, 1, ON)], "write", 2),
    "update and delete": (
        [("update_preimage", 3, 1, ON), ("update_postimage", 3, 2, ON), ("delete", 4, 2, ON)],
        "remove",
        None,
    ),
    "turned off": ([("update_preimage", 3, 1, ON), ("update_postimage", 3, 1, OFF)], "remove", None),
    "turned unknown": ([("update_preimage", 3, 1, ON), ("update_postimage", 3, 1, UNKNOWN)], "remove", None),
    "turned on": ([("update_preimage", 3, 1, OFF), ("update_postimage", 3, 1, ON)], "write", 1),
    "off all along": ([("update_preimage", 3, 1, OFF), ("update_postimage", 3, 2, OFF)], "suppress", None),
    "off and on again": (
        [
            ("update_preimage", 3, 1, ON),
            ("update_postimage", 3, 1, OFF),
            ("update_preimage", 4, 1, OFF),
            ("update_postimage", 4, 1, ON),
        ],
        "suppress",
        None,
    ),
}


@pytest.fixture(scope="module")
def folded(spark):
    """What becomes of each case, with and without suppression."""
    images = [(case, "u1", events, None, gone, kind, v) for case in CASES for kind, v, events, gone in CASES[case][0]]
    feed = spark.createDataFrame(images[::-1], FEED)  # the feed comes in no order
    both = [net_changes(feed, VIEW, suppress=suppress).withColumn("s", F.lit(suppress)) for suppress in (True, False)]
    rows = both[0].unionByName(both[1]).collect()
    values = {row: row.events_7d if row.action == "write" else None for row in rows}  # others are not read
    found = {(row.s, row.item_key): (row.action, values[row]) for row in rows}
    assert len(found) == len(rows) == 2 * len(CASES)
    return found


def key(case):
    return f"actor+document|2:u1{len(case)}:{case}"


@pytest.mark.parametrize("case", CASES)
def test_the_change_feed_folds_to_one_decision_per_key(folded, case):
    _, action, value = CASES[case]

    assert folded[True, key(case)] == (action, value)


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_suppressed_where_a_push_was_left_open(folded, case):
    kind, _, value, gone = max(CASES[case][0], key=lambda image: (image[1], image[0] in ("insert", "update_postimage")))
    is_there = kind != "delete" and gone is ON

    assert folded[False, key(case)] == (("write", value) if is_there else ("remove", None))


def test_a_view_without_a_condition_has_every_row_online(spark):
    images: list[tuple[Any, ...]] = [
        ("d1", 1, float("nan"), "update_preimage", 1),
        ("d1", 1, float("nan"), "update_postimage", 1),
    ]
    images += [("d2", None, None, "insert", 1)]
    feed = spark.createDataFrame(
        images, "document_id string, size bigint, rate double, _change_type string, _commit_version bigint"
    )

    actual = net_changes(feed, ALWAYS, suppress=True).select("item_key", "action")

    expected = [("document|2:d1", "suppress"), ("document|2:d2", "write")]
    expected = spark.createDataFrame(expected, "item_key string, action string")
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)


def test_a_snapshot_writes_every_online_row_and_removes_every_other_key_of_the_store(spark):
    gold = [("d1", "u1", 1, None, ON), ("d2", "u1", 2, None, OFF), ("d3", "u1", 3, None, UNKNOWN)]
    gold += [("d4", "u1", 4, None, ON)]
    rows = spark.createDataFrame(gold, FEED.split(", _change")[0])
    stored = spark.createDataFrame(
        [(key(name), b"x") for name in ("d1", "d2", "d3", "d9")], "item_key string, value binary"
    )

    changes = snapshot_changes(rows, stored, VIEW).select("item_key", "action", "events_7d").collect()

    assert sorted(map(tuple, changes)) == [
        (key("d1"), "write", 1),
        (key("d2"), "remove", None),
        (key("d3"), "remove", None),
        (key("d4"), "write", 4),
        (key("d9"), "remove", None),
    ]


def odd_ids():
    """Ids as hypothesis makes them: found once, so that one DataFrame checks them all."""
    found = ["", "1", "12", "3:1", "|", "+", "é", "e\u0301", "日本", "\U0001f600", " ", "\n", "\x00", "1:1", "\ufeff"]

    @settings(max_examples=100, database=None, derandomize=True, phases=[Phase.generate])
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
    def collect(text):
        found.append(text)

    collect()
    return found


def test_an_item_key_is_the_same_in_spark_and_in_python(spark):
    ids = odd_ids()
    actors, documents = ids, ids[::-1]
    frame = spark.createDataFrame(list(zip(actors, documents, strict=True)), "actor_id string, document_id string")

    two = item_key([("document", "document_id"), ("actor", "actor_id")])
    rows = frame.select("actor_id", "document_id", two.alias("two"), item_key([("actor", "actor_id")]).alias("one"))

    both = {"document": "document_id", "actor": "actor_id"}
    expected_two = item_keys(both, {"actor_id": actors, "document_id": documents})
    expected_one = item_keys({"actor": "actor_id"}, {"actor_id": actors})
    expected = zip(actors, documents, expected_two, expected_one, strict=True)
    assert sorted(map(tuple, rows.collect())) == sorted(expected)
