"""What the control item of a direct view gives out: revisions, and the sequence under which the lane owns the view."""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tailrace.definitions import DIRECT
from tailrace.schemas.tables import Column
from tailrace.store.control import sequence_before_first
from tailrace.store.direct.order import REVISIONS
from tailrace.store.dynamodb.attributes import object_in, whole_in
from tailrace.store.dynamodb.items import KEY
from tailrace.store.dynamodb.wire import Json, StoreClient, StoreError, call_if
from tailrace.store.keys import control_key
from tailrace.store.lanes import check_lane

NAMES = ("revision", "lane", "features", "schemas", "sequence", "open", "lease_owner", "lease_until", "cursor")


class Revisions(NamedTuple):
    """So many revisions from `first` on, and the `sequence` that every write carries."""

    sequence: int
    first: int


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
    schema = json.dumps([(feature.name, feature.type.value) for feature in features])
    request: dict[str, Any] = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": action,
        # A view that was pushed before lanes were told has a cursor.
        "ConditionExpression": "#lane = :lane OR (attribute_not_exists(#lane) AND attribute_not_exists(#cursor))",
        "ExpressionAttributeNames": {f"#{name}": name for name in NAMES},
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


async def move_watermark(client: StoreClient, view: str, *, to: int) -> None:
    """Tell readers that writes of the view were acknowledged up to a time, in microseconds; never back."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": "SET #watermark = :to",
        "ConditionExpression": "#lane = :lane AND (attribute_not_exists(#watermark) OR #watermark < :to)",
        "ExpressionAttributeNames": {"#watermark": "watermark", "#lane": "lane"},
        "ExpressionAttributeValues": {":to": {"N": str(to)}, ":lane": {"S": DIRECT}},
    }
    await call_if(client, "UpdateItem", request)
