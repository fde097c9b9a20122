"""Values written under another schema than the definitions have, as while a changed definition rolls out."""

import asyncio
import logging
from datetime import UTC, datetime

import numpy as np
import pytest

from tailrace.definitions import Feature, Type
from tailrace.shipped.document_activity import document_activity
from tailrace.shipped.document_profile import document_profile
from tailrace.store.codec import Codec, ColumnValues
from tests.serving.conftest import entity_keys

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
TEN = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
EPOCH = "1970-01-01T00:00:00Z"
ROW = {"type": "pdf", "size_bytes": 11, "folder_depth": 2, "owner": "a1", "title_length": 5}
OLDER_ROW = {"size_bytes": 77, "type": "doc", "folder_depth": "deep", "gone": 1.5}
OLDER = (
    Feature("gone", Type.FLOAT64, ""),
    Feature("size_bytes", Type.INT64, ""),
    Feature("folder_depth", Type.STRING, ""),
    Feature("type", Type.STRING, ""),
)


@pytest.fixture
def put(store):
    store.put(document_profile, {"document_id": "new"}, ROW, as_of=TEN)
    store.put(document_profile, {"document_id": "old"}, OLDER_ROW, as_of=NINE, features=OLDER)


KEYS = {"document_id": ["old", "new", "none", "old"]}


def test_values_of_the_schema_last_pushed_are_matched_by_name(store, put, start_reader, definitions):
    store.push(document_profile, watermark=NINE, features=OLDER)
    reader = start_reader(definitions)

    assert reader.cells("document_profile:size_bytes", entities=KEYS) == [
        (77, "PRESENT", "2026-03-01T09:00:00Z"),
        (11, "PRESENT", "2026-03-01T10:00:00Z"),
        (None, "NOT_FOUND", EPOCH),
        (77, "PRESENT", "2026-03-01T09:00:00Z"),
    ]
    assert [value for value, _ in reader.values("document_profile:type", entities=KEYS)] == ["doc", "pdf", None, "doc"]


@pytest.mark.parametrize(("feature", "value"), [("title_length", 5), ("folder_depth", 2)])
def test_features_the_older_schema_lacks_or_has_in_another_type_are_not_found(store, put, reader, feature, value):
    store.push(document_profile, watermark=NINE, features=OLDER)
    reader.get("/ready")

    assert reader.cells(f"document_profile:{feature}", entities=KEYS) == [
        (None, "NOT_FOUND", EPOCH),
        (value, "PRESENT", "2026-03-01T10:00:00Z"),
        (None, "NOT_FOUND", EPOCH),
        (None, "NOT_FOUND", EPOCH),
    ]


def test_an_unknown_schema_is_looked_up_at_once(store, put, reader):
    store.push(document_profile, watermark=NINE, features=OLDER)  # after the reader read the control items

    assert [value for value, _ in reader.values("document_profile:size_bytes", entities=KEYS)] == [77, 11, None, 77]


def test_a_schema_that_was_pushed_over_is_still_read(store, put, start_reader, definitions):
    store.push(document_profile, watermark=NINE, features=OLDER)
    reader = start_reader(definitions)
    store.push(document_profile, watermark=TEN)
    reader.get("/ready")

    assert [value for value, _ in reader.values("document_profile:size_bytes", entities=KEYS)] == [77, 11, None, 77]


def test_values_of_a_schema_nobody_tells_of_are_not_found_and_logged(store, put, reader, caplog):
    with caplog.at_level(logging.WARNING):
        values = reader.values("document_profile:size_bytes", entities=KEYS)
        store.runner.run(wait_for(lambda: caplog.records))

    assert values == [(None, "NOT_FOUND"), (11, "PRESENT"), (None, "NOT_FOUND"), (None, "NOT_FOUND")]
    assert "document_profile: 1 more values were unreadable" in caplog.text


def test_an_unknown_schema_is_looked_up_only_once(store, put, reader, monkeypatch):
    read = []

    async def no_controls(*_):
        read.append(1)
        return {}

    monkeypatch.setattr("tailrace.store.dynamodb.store.DynamoStore.read_controls", no_controls)

    for _ in range(3):
        reader.values("document_profile:size_bytes", entities=KEYS)

    assert len(read) == 1


@pytest.mark.usefixtures("put")
def test_a_schema_that_is_not_told_of_in_time_costs_no_more_than_the_budget(
    store, start_reader, definitions, behind, monkeypatch
):
    monkeypatch.setattr("serving.read.controls.READ_SECONDS", 60)
    hanging = asyncio.Event()

    async def hang_at_the_control_items(request, operation, body):
        if hanging.is_set() and not entity_keys(body):
            await asyncio.sleep(60)

    reader = start_reader(definitions, behind(hang_at_the_control_items).url)
    hanging.set()

    async def ask():
        body = {"features": ["document_profile:size_bytes"], "entities": KEYS}
        headers = {"Tailrace-Budget-Ms": "300"}
        async with asyncio.timeout(20):  # far more than the budget, and less than the store takes
            return await reader.exchange("POST", "/get-online-features", json=body, headers=headers)

    status, answer = store.runner.run(ask())

    assert (status, answer["results"][-1]["values"]) == (200, [None, 11, None, None])


async def wait_for(condition):
    for _ in range(50):
        if condition():
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(("start", "end", "before"), [(0, -1, b""), (0, 10, b""), (2, None, b"XX"), (0, 0, b"?")])
def test_a_damaged_value_is_not_found_and_spares_the_others(store, reader, start, end, before):
    columns = [ColumnValues(*one) for one in values_of_one_row()]
    whole = Codec("document_activity", document_activity.features).encode(columns, as_of=1)[0]
    store.put_raw(document_activity, {"document_id": "whole"}, whole)
    store.put_raw(document_activity, {"document_id": "damaged"}, before + whole[start:end])

    values = reader.values("document_activity:is_deleted", entities={"document_id": ["damaged", "whole"]})

    assert values == [(None, "NOT_FOUND"), (True, "PRESENT")]


@pytest.mark.parametrize("attribute", [{"S": "text"}, {"N": "3"}, {"L": []}, {"NULL": True}])
def test_an_attribute_that_is_no_binary_is_not_found_and_spares_the_others(store, put, reader, attribute):
    store.put_attribute(document_profile, {"document_id": "foreign"}, attribute)

    values = reader.values("document_profile:size_bytes", entities={"document_id": ["foreign", "none", "new"]})

    assert values == [(None, "NOT_FOUND"), (None, "NOT_FOUND"), (11, "PRESENT")]


def values_of_one_row():
    dtypes = {Type.INT64: "i8", Type.BOOL: "?", Type.TIMESTAMP: "M8[us]"}
    for feature in document_activity.features:
        yield np.ones(1, "i8").astype(dtypes[feature.type]), np.ones(1, bool)
