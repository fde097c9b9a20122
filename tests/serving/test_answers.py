"""The answer to a well-formed request: names, values, statuses and times."""

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from tailrace.shipped.actor_activity import actor_activity
from tailrace.shipped.actor_document_affinity import actor_document_affinity
from tailrace.shipped.document_activity import document_activity
from tailrace.shipped.document_profile import document_profile
from tailrace.store.dynamodb.calls import StoreClient

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
HALF_PAST_TEN = datetime(2026, 3, 1, 10, 30, 0, 250, tzinfo=UTC)
EPOCH = "1970-01-01T00:00:00Z"
DOCUMENT = {"document_id": "d1"}
ACTIVITY = {
    "events_24h": 24,
    "events_7d": 70,
    "views_24h": 11,
    "is_deleted": False,
    "last_edit_at": HALF_PAST_TEN.replace(tzinfo=None),
}
PROFILE = {"type": "pdf", "size_bytes": 2**53 + 1, "folder_depth": 2, "owner": "ümlaut 🦊", "title_length": 5}


def test_answer_has_the_shape_of_feasts(store, reader):
    store.put(document_activity, DOCUMENT, ACTIVITY, as_of=NINE)
    store.push(document_activity, watermark=NINE)

    answer = reader.ask(features=["document_activity:views_24h"], entities={"document_id": ["d1"]})

    assert list(answer) == ["metadata", "results"]
    assert answer["metadata"]["feature_names"] == ["document_id", "views_24h"]
    assert answer["results"] == [
        {"values": ["d1"], "statuses": ["PRESENT"], "event_timestamps": [EPOCH]},
        {"values": [11], "statuses": ["PRESENT"], "event_timestamps": ["2026-03-01T09:00:00Z"]},
    ]


def test_features_come_in_the_order_asked_for_after_the_keys_in_theirs(store, reader):
    keys = {"document_id": ["d1"], "actor_id": ["a1"]}
    store.put(document_activity, DOCUMENT, ACTIVITY, as_of=NINE)
    asked = ["document_activity:views_24h", "document_profile:type", "document_activity:events_24h"]

    answer = reader.ask(features=asked, entities=keys)

    assert answer["metadata"]["feature_names"] == ["document_id", "actor_id", "views_24h", "type", "events_24h"]
    assert [one["values"] for one in answer["results"]] == [["d1"], ["a1"], [11], [None], [24]]


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("document_activity:events_24h", 24),
        ("document_activity:is_deleted", False),
        ("document_activity:last_edit_at", "2026-03-01T10:30:00.000250Z"),
        ("document_profile:type", "pdf"),
        ("document_profile:owner", "ümlaut 🦊"),
        ("document_profile:size_bytes", 2**53 + 1),
    ],
)
def test_every_type_is_told_as_json_has_it(store, reader, feature, expected):
    store.put(document_activity, DOCUMENT, ACTIVITY, as_of=NINE)
    store.put(document_profile, DOCUMENT, PROFILE, as_of=NINE)

    [(value, status)] = reader.values(feature, entities={"document_id": ["d1"]})

    assert (value, type(value), status) == (expected, type(expected), "PRESENT")


@pytest.mark.parametrize("feature", ["document_activity:events_1h", "document_activity:last_event_at"])
def test_a_null_is_not_an_unknown_key_and_neither_is_zero(store, reader, feature):
    store.put(document_activity, DOCUMENT, ACTIVITY, as_of=NINE)

    cells = reader.cells(feature, entities={"document_id": ["d1", "unknown"]})

    assert cells == [(None, "NULL_VALUE", "2026-03-01T09:00:00Z"), (None, "NOT_FOUND", EPOCH)]


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("document_profile:type", "pdf"),
        ("document_profile:size_bytes", 2**53 + 1),
        ("document_activity:last_edit_at", "2026-03-01T10:30:00.000250Z"),
        ("document_activity:is_deleted", False),
    ],
)
def test_a_value_stands_beside_nulls_and_unknown_keys(store, reader, feature, expected):
    store.put(document_activity, DOCUMENT, ACTIVITY, as_of=NINE)
    store.put(document_profile, DOCUMENT, PROFILE, as_of=NINE)
    store.put(document_activity, {"document_id": "empty"}, {}, as_of=NINE)
    store.put(document_profile, {"document_id": "empty"}, {}, as_of=NINE)

    values = reader.values(feature, entities={"document_id": ["unknown", "d1", "empty"]})

    assert values == [(None, "NOT_FOUND"), (expected, "PRESENT"), (None, "NULL_VALUE")]


def test_nulls_of_one_feature_leave_the_others_alone(store, reader):
    store.put(document_activity, DOCUMENT, ACTIVITY, as_of=NINE)
    asked = ["document_activity:events_24h", "document_activity:events_1h", "document_activity:views_24h"]

    answer = reader.ask(features=asked, entities={"document_id": ["d1"]})

    assert [one["values"] for one in answer["results"][1:]] == [[24], [None], [11]]
    assert [one["statuses"] for one in answer["results"][1:]] == [["PRESENT"], ["NULL_VALUE"], ["PRESENT"]]


def test_a_tombstone_is_not_found(store, reader):
    store.put(document_activity, DOCUMENT, ACTIVITY, as_of=NINE)
    store.put(document_profile, DOCUMENT, PROFILE, as_of=NINE)
    store.put_raw(document_activity, DOCUMENT, b"")

    answer = reader.ask(
        features=["document_activity:events_24h", "document_profile:type"], entities={"document_id": ["d1"]}
    )

    assert [one["statuses"] for one in answer["results"]] == [["PRESENT"], ["NOT_FOUND"], ["PRESENT"]]
    assert [one["values"] for one in answer["results"]] == [["d1"], [None], ["pdf"]]


def test_composite_keys_do_not_run_together(store, reader):
    store.put(actor_document_affinity, {"actor_id": "1", "document_id": "23"}, {"events_7d": 7}, as_of=NINE)

    keys = {"actor_id": ["1", "12"], "document_id": ["23", "3"]}

    assert reader.values("actor_document_affinity:events_7d", entities=keys) == [(7, "PRESENT"), (None, "NOT_FOUND")]


def test_keys_may_come_in_any_order(store, reader):
    store.put(actor_document_affinity, {"actor_id": "a1", "document_id": "d1"}, {"events_7d": 7}, as_of=NINE)

    keys = {"document_id": ["d1"], "actor_id": ["a1"]}

    assert reader.values("actor_document_affinity:events_7d", entities=keys) == [(7, "PRESENT")]


def test_views_of_the_same_entities_are_read_as_one_item_per_key(store, reader, monkeypatch):
    asked = []
    send = StoreClient.send

    async def observed(client, operation, body, **options):
        asked.append(orjson.loads(body)["RequestItems"][client.table])
        return await send(client, operation, body, **options)

    monkeypatch.setattr(StoreClient, "send", observed)
    reader.ask(features=["document_activity", "document_profile"], entities={"document_id": ["d1", "d2", "d1"]})

    reads = [one for one in asked if "|" in one["Keys"][0]["pk"]["S"] and not one["Keys"][0]["pk"]["S"].startswith("#")]
    assert [[key["pk"]["S"] for key in one["Keys"]] for one in reads] == [["document|2:d1", "document|2:d2"]]
    assert reads[0]["ConsistentRead"] is False  # half the price on AWS
    assert set(reads[0]["ExpressionAttributeNames"].values()) == {"pk", "document_activity", "document_profile"}


def test_a_repeated_key_is_answered_in_every_row(store, reader):
    for number in (1, 2):
        store.put(actor_activity, {"actor_id": f"a{number}"}, {"events_7d": number}, as_of=NINE)

    values = reader.values("actor_activity:events_7d", entities={"actor_id": ["a2", "a1", "none", "a2", "a1", "a1"]})

    assert [value for value, _ in values] == [2, 1, None, 2, 1, 1]


def test_more_keys_than_one_read_takes_come_in_their_order(store, reader):
    for number in (0, 99, 100, 249):
        store.put(actor_activity, {"actor_id": f"a{number}"}, {"events_7d": number}, as_of=NINE)

    values = reader.values("actor_activity:events_7d", entities={"actor_id": [f"a{i}" for i in range(250)]})

    assert {place: value for place, (value, _) in enumerate(values) if value is not None} == {
        0: 0,
        99: 99,
        100: 100,
        249: 249,
    }


def test_no_rows_are_answered_with_none(store, reader):
    answer = reader.ask(feature_service="ranker", entities={"document_id": [], "actor_id": []})

    assert {tuple(one["values"]) for one in answer["results"]} == {()}


@pytest.mark.parametrize(
    "odd", ["", "é", "日本語", "🦊", 'a"b', "a\\b", "a|b:c", "\x00", "\n", " d1 ", "#control|document_activity"]
)
def test_odd_ids_are_found_as_they_are(store, reader, odd):
    store.put(document_activity, {"document_id": odd}, ACTIVITY, as_of=NINE)

    answer = reader.ask(features=["document_activity:views_24h"], entities={"document_id": [odd, odd + "x"]})

    assert [one["values"] for one in answer["results"]] == [[odd, odd + "x"], [11, None]]


def test_an_integer_id_stands_for_its_digits(store, reader):
    store.put(document_activity, {"document_id": "-7"}, ACTIVITY, as_of=NINE)

    answer = reader.ask(features=["document_activity:views_24h"], entities={"document_id": [-7, "d1"]})

    assert [one["values"] for one in answer["results"]] == [["-7", "d1"], [11, None]]


def test_names_that_collide_are_given_in_full_and_only_those(store, reader):
    keys = {"document_id": ["d1"], "actor_id": ["a1"]}
    names = reader.ask(feature_service="ranker", entities=keys)["metadata"]["feature_names"]

    assert len(set(names)) == len(names)
    assert {"document_activity__events_24h", "actor_activity__events_24h", "actor_document_affinity__events_24h"} < set(
        names
    )
    assert {"views_24h", "distinct_documents_7d", "type", "hours_since_last_edit", "edit_trend"} < set(names)


def test_full_names_are_given_where_asked_for_except_on_demand(store, reader):
    answer = reader.ask(
        features=["document_activity:views_24h", "edit_trend"],
        entities={"document_id": ["d1"]},
        full_feature_names=True,
    )

    assert answer["metadata"]["feature_names"] == ["document_id", "document_activity__views_24h", "edit_trend"]


def test_a_view_stands_for_all_its_features_once(store, reader):
    answer = reader.ask(features=["document_profile", "document_profile:type"], entities={"document_id": ["d1"]})

    assert answer["metadata"]["feature_names"] == ["document_id", *document_profile.feature_names]


def test_each_view_tells_lane_watermark_and_age(store, reader):
    store.push(document_activity, watermark=HALF_PAST_TEN)
    reader.get("/ready")  # reads the control items again

    before = datetime.now(UTC)
    views = reader.ask(features=["document_activity", "document_profile"], entities={"document_id": ["d1"]})[
        "metadata"
    ]["views"]

    after, age = datetime.now(UTC), timedelta(seconds=views["document_activity"].pop("age_seconds"))
    millisecond = timedelta(milliseconds=1)  # ages are rounded
    assert before - HALF_PAST_TEN - millisecond <= age <= after - HALF_PAST_TEN + millisecond
    assert views["document_activity"] == {"lane": "batch", "watermark": "2026-03-01T10:30:00.000250Z"}
    assert views["document_profile"] == {"lane": "batch", "watermark": None, "age_seconds": None}


def test_the_watermark_moves_in_the_background(store, reader):
    store.push(document_activity, watermark=NINE)
    store.runner.run(asyncio.sleep(1.3))  # it is read every second

    views = reader.ask(features=["document_activity"], entities={"document_id": ["d1"]})["metadata"]["views"]

    assert views["document_activity"]["watermark"] == "2026-03-01T09:00:00Z"
