from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sinks.net_changes import decided, first_load, item_key, net_changes, rows_of_keys, snapshot, with_open_keys
from tailrace.definitions import Count, Feature, FeatureView, Last, NewestIs, Type
from tailrace.schemas.ids import key_text
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tailrace.store.codec import Codec
from tailrace.store.keys import item_keys

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


def decisions(rows, view=VIEW, *, suppress):
    """What becomes of each key, and the first feature of the value that is written."""
    found = decided(rows, view, suppress=suppress, as_of=7).collect()
    assert len({row.item_key for row in found}) == len(found)
    return {row.item_key: (row.action, None if row.value is None else first_feature(row.value, view)) for row in found}


def first_feature(value, view):
    [column, *_] = Codec(view.name, view.features).decode([bytes(value)]).columns
    return column.values[0] if column.valid[0] else None


@pytest.fixture(scope="module")
def folded(spark):
    """What becomes of each case, with and without suppression."""
    images = [(case, "u1", events, None, gone, kind, v) for case in CASES for kind, v, events, gone in CASES[case][0]]
    feed = spark.createDataFrame(images[::-1], FEED)  # the feed comes in no order
    rows = net_changes(feed, VIEW)
    assert sorted(row.images for row in rows.collect()) == sorted(len(case[0]) for case in CASES.values())
    found = {suppress: decisions(rows, suppress=suppress) for suppress in (True, False)}
    assert {len(of_keys) for of_keys in found.values()} == {len(CASES)}
    return found


def key(case):
    return f"actor+document|2:u1{len(case)}:{case}"


@pytest.mark.parametrize("case", CASES)
def test_the_change_feed_folds_to_one_decision_per_key(folded, case):
    _, action, value = CASES[case]

    assert folded[True][key(case)] == (action, value)


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_suppressed_where_a_push_was_left_open(folded, case):
    kind, _, value, gone = max(CASES[case][0], key=lambda image: (image[1], image[0] in ("insert", "update_postimage")))
    is_there = kind != "delete" and gone is ON

    assert folded[False][key(case)] == (("write", value) if is_there else ("remove", None))


def test_a_view_without_a_condition_has_every_row_online(spark):
    images: list[tuple[Any, ...]] = [
        ("d1", 1, float("nan"), "update_preimage", 1),
        ("d1", 1, float("nan"), "update_postimage", 1),
    ]
    images += [("d2", None, None, "insert", 1)]
    feed = spark.createDataFrame(
        images, "document_id string, size bigint, rate double, _change_type string, _commit_version bigint"
    )

    actual = decisions(net_changes(feed, ALWAYS), ALWAYS, suppress=True)

    assert actual == {"document|2:d1": ("suppress", None), "document|2:d2": ("write", None)}


GOLD = FEED.split(", _change", maxsplit=1)[0]


def gold_of(spark, **documents):
    """Rows of gold by document, as (events, gone)."""
    return spark.createDataFrame([(name, "u1", events, None, gone) for name, (events, gone) in documents.items()], GOLD)


def keys_of(spark, *names):
    return spark.createDataFrame([(key(name),) for name in names], "item_key string")


def stored_as(spark, gold, names):
    """What a store holds where these documents were pushed from gold, and some other key."""
    first = decided(first_load(gold, VIEW), VIEW, suppress=False, as_of=1)
    there = first.join(keys_of(spark, *names), on="item_key", how="left_semi").select("item_key", "value")
    return there.unionByName(spark.createDataFrame([(key("ghost"), b"x")], "item_key string, value binary"))


def test_a_first_load_writes_the_online_rows(spark):
    gold = gold_of(spark, d1=(1, ON), d2=(2, OFF), d3=(None, ON))

    assert decisions(first_load(gold, VIEW), suppress=True) == {key("d1"): ("write", 1), key("d3"): ("write", None)}


@pytest.mark.parametrize("suppress", [True, False])
def test_a_snapshot_writes_what_differs_and_removes_every_other_key_of_the_store(spark, suppress):
    before = gold_of(spark, same=(1, ON), other=(2, ON), off=(3, ON))
    gold = gold_of(spark, same=(1, ON), other=(5, ON), off=(3, OFF), unknown=(4, UNKNOWN), new=(6, ON))

    changes = decisions(snapshot(gold, stored_as(spark, before, ["same", "other", "off"]), VIEW), suppress=suppress)

    assert changes == {
        key("same"): ("suppress", None) if suppress else ("write", 1),
        key("other"): ("write", 5),
        key("off"): ("remove", None),
        key("new"): ("write", 6),
        key("ghost"): ("remove", None),
    }


@pytest.mark.parametrize("is_snapshot", [True, False])
def test_keys_of_an_open_push_are_written_as_gold_has_them(spark, is_snapshot):
    gold = gold_of(spark, d1=(1, ON), d2=(2, ON), d3=(3, OFF))
    feed = spark.createDataFrame([("d1", "u1", 1, None, ON, "insert", 3)], FEED)
    rows = snapshot(gold, stored_as(spark, gold, []), VIEW) if is_snapshot else net_changes(feed, VIEW)

    found = decisions(with_open_keys(rows, keys_of(spark, "d1", "d2", "d3", "gone"), gold, VIEW), suppress=False)

    found.pop(key("ghost"), None)
    assert found == {
        key("d1"): ("write", 1),
        key("d2"): ("write", 2),
        key("d3"): ("remove", None),
        key("gone"): ("remove", None),
    }


def test_single_keys_are_written_as_gold_has_them(spark):
    gold = gold_of(spark, d1=(1, ON), d2=(2, ON))

    found = decisions(rows_of_keys(keys_of(spark, "d2", "gone"), gold, VIEW), suppress=False)

    assert found == {key("d2"): ("write", 2), key("gone"): ("remove", None)}


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


def test_numbers_and_dates_have_the_same_item_keys_in_spark_and_in_python(spark):
    numbers = [0, 7, -7, 2**63 - 1, -(2**63)]
    days = [date(1, 1, 1), date(999, 12, 31), date(1582, 10, 15), date(2026, 3, 2), date(9999, 12, 31)]
    frame = spark.createDataFrame(list(zip(numbers, days, strict=True)), "product_id bigint, day date")
    entities = {"product": "product_id", "day": "day"}

    rows = frame.select("product_id", "day", item_key(entities.items()).alias("key")).collect()

    texts = {
        "product_id": [key_text(row.product_id, Type.INT64) for row in rows],
        "day": [key_text(row.day, Type.DATE) for row in rows],
    }
    assert [row.key for row in rows] == item_keys(entities, texts)
    assert {"day+product|10:0001-01-011:0", "day+product|10:1582-10-152:-7"} <= {row.key for row in rows}
