"""The control item of a view in DynamoDB's protocol: read, leased, and moved on by the push that holds the lease."""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from tailrace.definitions import BATCH
from tailrace.schemas.tables import Column, Type
from tailrace.store.control import Control, Cursor, LeaseLost, sequence_before_first
from tailrace.store.dynamodb.attributes import flag_in, object_in, text_in, texts_in, whole_in
from tailrace.store.dynamodb.items import KEY, Item, read_items
from tailrace.store.dynamodb.wire import StoreClient, StoreError
from tailrace.store.keys import control_key

ATTRIBUTES = (
    "sequence", "open", "closed", "declared", "declared_by", "swept",
    "cursor", "watermark", "lease_owner", "lease_until", "features", "schemas", "lane", "owned_from",
)  # fmt: skip


def control_of(item: Item) -> Control:
    """The control item as the store answered it; raises `StoreError` where that cannot be understood."""
    try:
        return _understood(item)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        why = f"a control item cannot be understood, {type(error).__name__}; upgrade what reads it"
        raise StoreError("Unreadable", why) from error


def _understood(item: Item) -> Control:
    cursor, sequence, is_open = text_in(item, "cursor"), whole_in(item, "sequence"), flag_in(item, "open")
    if sequence is None or is_open is None:
        raise ValueError("no sequence, or no open mark")
    return Control(
        sequence=sequence,
        open=is_open,
        cursor=Cursor(**json.loads(cursor)) if cursor else None,
        watermark=whole_in(item, "watermark"),
        closed=whole_in(item, "closed"),
        declared=whole_in(item, "declared"),
        declared_by=text_in(item, "declared_by"),
        swept=whole_in(item, "swept"),
        features=features_of(text_in(item, "features") or "[]"),
        schemas=schemas_in(item),
        lane=text_in(item, "lane"),
        owned_from=whole_in(item, "owned_from"),
        lease_owner=text_in(item, "lease_owner") or "",
        lease_until=float(object_in(item, "lease_until")["N"]),
    )


def features_of(schema: str) -> tuple[Column, ...]:
    return tuple(Column(name, Type(type_), "") for name, type_ in json.loads(schema))


def schemas_in(item: Item) -> tuple[tuple[Column, ...], ...]:
    """The schemas of a direct view, but for those of a newer version, whose values are then not found."""
    found = []
    for schema in texts_in(item, "schemas"):
        with suppress(KeyError, TypeError, ValueError, RecursionError):
            found.append(features_of(schema))
    return tuple(found)


async def read_controls(client: StoreClient, views: Iterable[str]) -> dict[str, Control]:
    """The control items of several views; a view that was never pushed has none."""
    keys = {control_key(view): view for view in views}
    items = await read_items(client, keys, ATTRIBUTES)
    return {keys[key]: control_of(item) for key, item in items.items() if key in keys}


async def read_sequence(client: StoreClient, view: str) -> int | None:
    """The newest sequence that a push of the view was given; None where there never was one."""
    request: dict[str, Any] = {"TableName": client.table, "Key": {KEY: {"S": control_key(view)}}}
    request |= {"ProjectionExpression": "#sequence", "ExpressionAttributeNames": {"#sequence": "sequence"}}
    answer = await client.call("GetItem", request | {"ConsistentRead": True})
    return whole_in(object_in(answer, "Item"), "sequence")


async def take_lease(
    client: StoreClient,
    view: str,
    *,
    owner: str,
    seconds: float,
    lane: str = BATCH,
    keep_cursor: bool = True,
    clock: Callable[[], float] = time.time,
) -> Control | None:
    """Take the view's lease and raise its sequence in one conditional write.

    Whoever writes what gold does not have drops the cursor with it: it would tell the next push from gold that the store
    holds gold's values.

    `owner` is unique to this push: it may take its own lease again where an
    answer was lost. Returns the control item as it was before, with the sequence and the owner of this lease; None while
    another holds it, or where the values are another lane's.
    """
    now, before_first = clock(), sequence_before_first(clock)
    action = "SET #sequence = if_not_exists(#sequence, :before) + :one, #open = if_not_exists(#open, :false), "
    free = "(attribute_not_exists(#lease_until) OR #lease_until < :now OR #lease_owner = :owner)"
    own = "(attribute_not_exists(#lane) OR #lane = :lane)"
    action += "#lane = :lane, #lease_owner = :owner, #lease_until = :until" + ("" if keep_cursor else " REMOVE #cursor")
    request = _update(client, view, action, f"{free} AND {own}")
    request["ExpressionAttributeValues"] = {
        ":before": {"N": str(before_first)},
        ":one": {"N": "1"},
        ":false": {"BOOL": False},
        ":owner": {"S": owner},
        ":until": {"N": f"{now + seconds:.3f}"},
        ":now": {"N": f"{now:.3f}"},
        ":lane": {"S": lane},
    }
    request["ReturnValues"] = "ALL_OLD"
    try:
        answer = await client.call("UpdateItem", request)
    except StoreError as error:
        if error.code == "ConditionalCheckFailedException":
            return None
        raise
    before = object_in(answer, "Attributes")
    control = control_of(before) if "sequence" in before else Control(sequence=before_first)
    return replace(control, sequence=control.sequence + 1, lease_owner=owner)


async def renew_lease(
    client: StoreClient, view: str, *, sequence: int, seconds: float, clock: Callable[[], float] = time.time
) -> None:
    """Hold the lease of a push for `seconds` more; 0 gives it up and leaves the open mark as it is."""
    until = clock() + seconds if seconds else 0.0
    values = {":until": {"N": f"{until:.3f}"}, ":given_up": {"N": "0"}}
    # A renewal that crosses the end of its own push must not take the lease back.
    condition = "#sequence = :sequence AND #lease_until > :given_up"
    await _update_under(client, view, sequence, "SET #lease_until = :until", values, condition=condition)


async def declare_push(client: StoreClient, view: str, *, sequence: int, owner: str, known: bool = True) -> None:
    """Set the open mark of a push that is about to write, if the lease is still this one's.

    Unless `known`, what open pushes wrote is not all recorded: then the push is not named as the one that tells it.
    """
    values = {":true": {"BOOL": True}, ":given_up": {"N": "0"}}
    # A declaration that is sent twice and crosses the end of its own push must not set the mark again.
    condition = "#sequence = :sequence AND #lease_until > :given_up"
    action = "SET #open = :true" + (", #declared = :sequence, #declared_by = :owner" if known else "")
    await _update_under(client, view, sequence, action, values, condition=condition, owner=owner)


async def raise_sequence(client: StoreClient, view: str, *, sequence: int, to: int, owner: str | None = None) -> None:
    """Have the next push write under a higher sequence than `to`, and give this one's lease up, if it still stands."""
    values = {":to": {"N": str(max(sequence, to))}, ":until": {"N": "0"}}
    await _update_under(client, view, sequence, "SET #sequence = :to, #lease_until = :until", values, owner=owner)


async def mark_purged(client: StoreClient, view: str, *, sequence: int) -> None:
    """Note up to which sequence tombstones are gone; needs no lease."""
    request = _update(client, view, "SET #swept = :swept", "attribute_exists(#sequence)")
    request["ExpressionAttributeValues"] = {":swept": {"N": str(sequence)}}
    await client.call("UpdateItem", request)


async def close_push(
    client: StoreClient,
    view: str,
    *,
    sequence: int,
    cursor: Cursor | None,
    watermark: int,
    features: Iterable[Column],
    owner: str | None = None,
) -> None:
    """Move cursor and watermark, clear the open mark and give up the lease, if it is still this one's.

    A view that is not pushed from gold has no cursor.
    """
    schema = [(feature.name, str(feature.type)) for feature in features]
    values = {
        ":watermark": {"N": str(watermark)},
        ":features": {"S": json.dumps(schema)},
        ":closed": {"N": str(sequence)},
        ":false": {"BOOL": False},
        ":until": {"N": "0"},
    }
    action = "SET #watermark = :watermark, #features = :features, #closed = :closed, #open = :false, "
    action += "#lease_until = :until"
    if cursor is not None:
        values[":cursor"] = {"S": json.dumps(asdict(cursor))}
        action += ", #cursor = :cursor"
    await _update_under(client, view, sequence, action, values, owner=owner)


async def _update_under(
    client: StoreClient,
    view: str,
    sequence: int,
    action: str,
    values: dict[str, Any],
    *,
    condition: str = "#sequence = :sequence",
    owner: str | None = None,
) -> None:
    """Update under a lease by its sequence and, where given, its owner: two may have one sequence after the control item
    was lost and the clock set back.
    """
    if owner is not None:
        condition += " AND #lease_owner = :owner"
        values = values | {":owner": {"S": owner}}
    request = _update(client, view, action, condition)
    request["ExpressionAttributeValues"] = values | {":sequence": {"N": str(sequence)}}
    try:
        await client.call("UpdateItem", request)
    except StoreError as error:
        if error.code == "ConditionalCheckFailedException":
            raise LeaseLost(f"view {view}: another push took over from sequence {sequence}") from error
        raise


def _update(client: StoreClient, view: str, action: str, condition: str) -> dict[str, Any]:
    named = action + condition
    used = [name for name in ATTRIBUTES if f"#{name}" in named]
    return {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": action,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {f"#{name}": name for name in used},
    }
