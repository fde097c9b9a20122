"""A direct view whose definition changes while readers of both definitions take writes."""

from dataclasses import replace

import pytest

from tailrace.definitions import Feature, Type
from tailrace.store.dynamodb.calls import KEY, control_key
from tailrace.store.dynamodb.store import DynamoStore
from tests.serving.write.conftest import RELEVANCE, VALUES, Writes, of

LATER = "2026-03-01T10:00:00Z"
CHANGED = replace(
    RELEVANCE,
    written_features=(
        *RELEVANCE.written_features[:2],
        Feature("votes", Type.STRING, ""),
        Feature("rank", Type.INT64, ""),
    ),
)
NEW_VALUES = {"score": 0.75, "model": "m2", "votes": "many", "rank": 3}


def of_new(document, occurred_at=LATER):
    return {"keys": {"document_id": document}, "values": NEW_VALUES, "occurred_at": occurred_at}


@pytest.fixture
def changed(definitions, start_reader, settings):
    """Start a reader of the changed definition, after the old one's."""
    views = definitions.views | {"relevance": CHANGED}
    return lambda: Writes(start_reader(replace(definitions, views=views)), settings)


def unready(*readers):
    """Why a reader says that it cannot serve the view; batch views were never pushed."""
    return [one.http.send("GET", "/ready")[1].get("views", {}).get("relevance") for one in readers]


def test_both_definitions_read_what_the_other_wrote_and_neither_makes_a_reader_unready(store, writes, changed):
    writes.send(of("old", score=0.25))
    store.runner.run(DynamoStore(store.client).move_direct_watermark("relevance", to=10))
    new = changed()
    new.send(of_new("new"))
    writes.send(of("old2", score=0.5))

    assert unready(writes, new) == [None, None]
    for reader in (writes, new):
        assert reader.read("old", "new", "old2") == [0.25, 0.75, 0.5]
        assert reader.read("old", "new", feature="relevance:model") == [VALUES["model"], "m2"]
    assert writes.read("old", "new", feature="relevance:votes") == [7, None]
    assert new.read("old", "new", feature="relevance:votes") == [None, "many"]


def test_a_reader_that_starts_later_reads_values_of_every_schema(writes, changed):
    writes.send(of("old", score=0.25))
    changed().send(of_new("new"))
    later = changed()

    assert unready(later) == [None]
    assert later.read("old", "new") == [0.25, 0.75]


def change_control(store, action, **values):
    """Change the view's control item as another version would have written it."""
    request = {
        "TableName": store.client.table,
        "Key": {KEY: {"S": control_key("relevance")}},
        "UpdateExpression": action,
    }
    request |= {"ExpressionAttributeNames": {"#schemas": "schemas"}}
    request |= {"ExpressionAttributeValues": values} if values else {}
    store.runner.run(store.client.call("UpdateItem", request))


def test_the_schema_of_a_control_item_from_before_schemas_were_kept_is_kept(store, writes, changed):
    writes.send(of("old", score=0.25))
    change_control(store, "REMOVE #schemas")
    changed().send(of_new("new"))

    assert changed().read("old", "new") == [0.25, 0.75]


def test_a_schema_of_a_newer_version_leaves_a_reader_ready_and_other_values_readable(store, writes):
    writes.send(of("old", score=0.25))
    change_control(store, "ADD #schemas :newer", **{":newer": {"SS": ['[["score", "decimal"]]', "[" * 10_000, "7"]}})

    assert unready(writes) == [None]
    assert writes.read("old") == [0.25]
