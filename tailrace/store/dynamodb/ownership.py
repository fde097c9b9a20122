"""What changes on a control item without a push: the lane that owns the view, revisions, and watermarks."""

import json
import time
from collections.abc import Sequence
from typing import Any

from tailrace.definitions import DIRECT, STREAM
from tailrace.schemas.tables import Column
from tailrace.store.control import Control, sequence_before_first
from tailrace.store.dynamodb.attributes import object_in, whole_in
from tailrace.store.dynamodb.control_item import read_controls
from tailrace.store.dynamodb.items import KEY
from tailrace.store.dynamodb.wire import Json, StoreClient, StoreError, call_if
from tailrace.store.keys import control_key
from tailrace.store.lanes import NO_LANE, refuse_other_lane
from tailrace.store.order import REVISIONS, Revisions

# The last who took the lease is this stream, and has ended; a micro-batch that begins meanwhile, or has ended later than
# `to`, makes the request one that changes nothing.
STANDS = "#lane = :lane AND begins_with(#lease_owner, :owner) AND #closed = #sequence AND #open = :false AND #watermark < :to"
STANDS_NAMES = ("lane", "lease_owner", "closed", "sequence", "open", "watermark")
GIVEN_NAMES = ("lane", "sequence", "owned_from", "open", "cursor", "watermark", "lease_until")
REVISION_NAMES = (
    "revision", "lane", "features", "schemas", "sequence", "open", "lease_owner", "lease_until", "cursor",
)  # fmt: skip


async def check_lane(client: StoreClient, view: str, lane: str) -> None:
    """Raise `OtherLane` where the view's values are those of another lane than this."""
    refuse_other_lane((await read_controls(client, [view])).get(view), view, lane)


async def give_to_lane(client: StoreClient, view: str, lane: str, *, found: Control) -> bool:
    """Make a lane the owner of a view's values, under a sequence of its own; False where the control item has changed.

    What was pushed before is forgotten with its cursor: the new owner writes everything it has.
    """
    before = "#lane = :before" if found.lane else "attribute_not_exists(#lane)"
    values: dict[str, Any] = {
        ":lane": {"S": lane},
        ":sequence": {"N": str(found.sequence)},
        ":next": {"N": str(found.sequence + 1)},
    }
    values |= {":false": {"BOOL": False}, ":zero": {"N": "0"}}
    values |= {":before": {"S": found.lane}} if found.lane else {}
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": (
            "SET #lane = :lane, #sequence = :next, #owned_from = :next, #open = :false, #lease_until = :zero "
            "REMOVE #cursor, #watermark"
        ),
        "ConditionExpression": f"#sequence = :sequence AND {before}",
        "ExpressionAttributeNames": {f"#{name}": name for name in GIVEN_NAMES},
        "ExpressionAttributeValues": values,
    }
    return await call_if(client, "UpdateItem", request)


async def remove_control(client: StoreClient, view: str, *, sequence: int) -> bool:
    """Remove the control item of a view that no lane owns; False where a definition has been given the view again."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "ConditionExpression": "#lane = :none AND #sequence = :sequence",
        "ExpressionAttributeNames": {"#lane": "lane", "#sequence": "sequence"},
        "ExpressionAttributeValues": {":none": {"S": NO_LANE}, ":sequence": {"N": str(sequence)}},
    }
    return await call_if(client, "DeleteItem", request)


async def take_revisions(client: StoreClient, view: str, features: Sequence[Column], *, count: int) -> Revisions:
    """Take revisions higher than any given out before, and note the schema; makes the control item if need be.

    `schemas` has every schema that values were written under, for readers to decode them with: several are in use while a
    definition rolls out. `features` is the first of them, or what an earlier version wrote last.
    The first of a control item is the clock's microseconds: one that was lost with its store gave lower ones.
    Raises `OtherLane` where the view's values are those of another lane.
    """
    action = (
        "SET #revision = if_not_exists(#revision, :start) + :count, #lane = :lane, "
        "#features = if_not_exists(#features, :features), "
        "#sequence = if_not_exists(#sequence, :before), #open = if_not_exists(#open, :false), "
        "#lease_owner = if_not_exists(#lease_owner, :nobody), #lease_until = if_not_exists(#lease_until, :zero) "
        "ADD #schemas :schemas"
    )
    schema = json.dumps([(feature.name, str(feature.type)) for feature in features])
    request: dict[str, Any] = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": action,
        # A view that was pushed before lanes were told has a cursor.
        "ConditionExpression": "#lane = :lane OR (attribute_not_exists(#lane) AND attribute_not_exists(#cursor))",
        "ExpressionAttributeNames": {f"#{name}": name for name in REVISION_NAMES},
        "ExpressionAttributeValues": {
            ":start": {"N": str(time.time_ns() // 1000)},
            ":count": {"N": str(count)},
            ":lane": {"S": DIRECT},
            ":features": {"S": schema},
            ":schemas": {"SS": [schema]},
            ":before": {"N": str(sequence_before_first())},
            ":false": {"BOOL": False},
            ":nobody": {"S": ""},
            ":zero": {"N": "0"},
        },
        "ReturnValues": "UPDATED_NEW",
    }
    try:
        answer = await client.call("UpdateItem", request)
    except StoreError as error:
        if error.code == "ConditionalCheckFailedException":
            await check_lane(client, view, DIRECT)
        raise
    return given_by(answer, view, count=count)


def given_by(answer: Json, view: str, *, count: int) -> Revisions:
    """What the control item gave; raises `StoreError` for what no value can be ordered by, so that none is logged."""
    given = object_in(answer, "Attributes")
    sequence, last = whole_in(given, "sequence"), whole_in(given, "revision")
    if sequence is None or last is None or sequence not in REVISIONS or last not in REVISIONS or last < count:
        raise StoreError("Unreadable", f"UpdateItem gave view {view} no sequence and revisions that order its values")
    return Revisions(sequence=sequence, first=last - count + 1)


async def move_direct_watermark(client: StoreClient, view: str, *, to: int) -> None:
    """Record that writes of a direct view were acknowledged up to a time, in microseconds since 1970; never back."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": "SET #watermark = :to",
        "ConditionExpression": "#lane = :lane AND (attribute_not_exists(#watermark) OR #watermark < :to)",
        "ExpressionAttributeNames": {"#watermark": "watermark", "#lane": "lane"},
        "ExpressionAttributeValues": {":to": {"N": str(to)}, ":lane": {"S": DIRECT}},
    }
    await call_if(client, "UpdateItem", request)


async def move_stream_watermark(client: StoreClient, view: str, *, owner: str, to: int) -> bool:
    """Move the watermark of a stream's view to a moment, in microseconds since 1970; False where another stream owns it.

    Its values stand while no events come, and hold for a later moment all the same. Tried once: the next comes soon.
    """
    request: dict[str, Any] = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": "SET #watermark = :to",
        "ConditionExpression": STANDS,
        "ExpressionAttributeNames": {f"#{name}": name for name in STANDS_NAMES},
        "ExpressionAttributeValues": {
            ":lane": {"S": STREAM},
            ":owner": {"S": f"{owner} "},
            ":false": {"BOOL": False},
            ":to": {"N": str(to)},
        },
    }
    try:
        await client.call("UpdateItem", request, attempts=1)
    except StoreError as error:
        if error.code in {"ConditionalCheckFailedException", "ResourceNotFoundException"}:
            return False  # nor is there anything to move before the first micro-batch
        raise
    return True
