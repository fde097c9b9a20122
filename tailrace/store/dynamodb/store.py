"""DynamoDB's implementation of the store port: each method is one or a few requests of the client."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson
import pybase64

from tailrace.store.control import Control, Fields, Transition
from tailrace.store.dynamodb import conditional_writes as writes
from tailrace.store.dynamodb import control_item
from tailrace.store.dynamodb.calls import (
    CONTROL_PREFIX,
    KEY,
    READ_MANY,
    Json,
    StoreClient,
    binary,
    call_if,
    items_answered,
    key_in,
    object_in,
    read_items,
    read_request,
    scan,
    sequence_attribute,
    sequence_in,
    text_in,
    view_of_control,
)
from tailrace.store.failures import PATIENCE_SECONDS, Patience, StoreError, refuse_other_environment
from tailrace.store.order import OrderedValue
from tailrace.store.port import Item, KeptOut, OrderedOutcome, Remembered, Row, Store, Turn

EXPIRES = "expires"
ONCE_PREFIX = "#once|"
ENVIRONMENT, ENVIRONMENT_KEY = "environment", "#environment"
NO_VALUE = {"B": ""}
DAMAGED = "AA=="  # stands for an attribute that is not binary: a value that no codec can read


async def ensure_table(client: StoreClient, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Create the table unless it is there, and wait until it can be used; raises `StoreError` after so many seconds."""
    try:
        await _describe(client)
    except StoreError as error:
        if not error.is_missing:
            raise
        await _create_table(client)
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (status := object_in(await _describe(client), "Table").get("TableStatus")) != "ACTIVE":
        if not isinstance(status, str) or loop.time() > until:
            raise StoreError(
                "TableNotActive", f"table {client.table} cannot be used: DescribeTable says {status!r:.40}"
            )
        await asyncio.sleep(0.5)


async def ensure_environment(client: StoreClient, own: str, *, seconds: float) -> None:
    """Have a table that can be used and is of this environment; raises `OtherEnvironment`, and `StoreError` as `ensure_table`.

    The mark is read in place of the table's description: with one request, as long as the table is there.
    """
    try:
        found = await _environment(client)
    except StoreError as error:
        if not error.is_missing:
            raise
        await ensure_table(client, seconds=seconds)
        found = ""
    if not found and own:
        found = await _mark(client, own)
    refuse_other_environment(client.table, found, own)


async def _environment(client: StoreClient) -> str:
    """The environment that has marked the table; empty where none has."""
    request = {"TableName": client.table, "Key": {KEY: {"S": ENVIRONMENT_KEY}}, "ConsistentRead": True}
    return text_in(object_in(await client.call("GetItem", request), "Item"), ENVIRONMENT) or ""


async def _mark(client: StoreClient, own: str) -> str:
    """Mark a table that has no mark; returns the environment that it is of."""
    item = {KEY: {"S": ENVIRONMENT_KEY}, ENVIRONMENT: {"S": own}}
    request = {"TableName": client.table, "Item": item, "ConditionExpression": f"attribute_not_exists({KEY})"}
    return own if await call_if(client, "PutItem", request) else await _environment(client)


async def item_count(client: StoreClient) -> int:
    """About how many items the table holds; DynamoDB counts them every six hours."""
    count = object_in(await _describe(client), "Table").get("ItemCount")
    return count if isinstance(count, int) else 0


async def _describe(client: StoreClient) -> Json:
    return await client.call("DescribeTable", {"TableName": client.table})


async def _create_table(client: StoreClient) -> None:
    request = {
        "TableName": client.table,
        "AttributeDefinitions": [{"AttributeName": KEY, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    try:
        await client.call("CreateTable", request)
    except StoreError as error:
        if error.code != "ResourceInUseException":  # another process was quicker
            raise


def once_key(key: str) -> str:
    """The item key of a once-only key."""
    return ONCE_PREFIX + key


async def claim_once(
    client: StoreClient, key: str, *, digest: str, orders: str, expires: int, now: int
) -> Remembered | None:
    """Take a key that nobody holds, or whose time is over; returns what is remembered where somebody holds it."""
    item = {KEY: {"S": once_key(key)}, "digest": {"S": digest}, "orders": {"S": orders}, EXPIRES: {"N": str(expires)}}
    request = {
        "TableName": client.table,
        "Item": item,
        "ConditionExpression": f"attribute_not_exists({KEY}) OR #expires < :now",
        "ExpressionAttributeNames": {"#expires": EXPIRES},
        "ExpressionAttributeValues": {":now": {"N": str(now)}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    try:
        await client.call("PutItem", request)
    except StoreError as error:
        if error.code == "ConditionalCheckFailedException":
            return remembered_in(object_in(error.details, "Item") or await _read(client, key))
        raise
    return None


async def _read(client: StoreClient, key: str) -> Item:
    """What was recorded; there are stores that do not return it with the condition that failed."""
    request = {"TableName": client.table, "Key": {KEY: {"S": once_key(key)}}, "ConsistentRead": True}
    return object_in(await client.call("GetItem", request), "Item")


def remembered_in(item: object) -> Remembered:
    """What an item of a once-only key remembers."""
    return Remembered(digest=text_in(item, "digest"), orders=text_in(item, "orders"), results=text_in(item, "results"))


async def keep_results(client: StoreClient, key: str, results: str) -> None:
    """Remember what became of the request, unless that is known already."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": once_key(key)}},
        "UpdateExpression": "SET #results = if_not_exists(#results, :results)",
        "ConditionExpression": f"attribute_exists({KEY})",
        "ExpressionAttributeNames": {"#results": "results"},
        "ExpressionAttributeValues": {":results": {"S": results}},
    }
    await client.call("UpdateItem", request)


async def forget_expired(client: StoreClient, key: str, *, at: int) -> bool:
    """Remove a once-only key whose time is over at a moment, in seconds since 1970; False where it is not."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": once_key(key)}},
        "ConditionExpression": "#expires < :at",
        "ExpressionAttributeNames": {"#expires": EXPIRES},
        "ExpressionAttributeValues": {":at": {"N": str(at)}},
    }
    return await call_if(client, "DeleteItem", request)


class DynamoStore(Store):
    """The whole port, over one table."""

    def __init__(self, client: StoreClient, *, environment: str = "") -> None:
        self._client = client
        self._environment = environment

    @property
    def requests(self) -> int:
        return self._client.requests

    @property
    def bytes_sent(self) -> int:
        return self._client.bytes_sent

    def be_patient(self) -> Patience:
        """For how long one request may be tried."""
        return self._client.be_patient()

    async def ensure_ready(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Make the table unless it is there, and wait so many seconds until it can be used. Raises `OtherEnvironment`.

        A table that no environment has marked is marked with the one that this store was opened for.
        """
        await ensure_environment(self._client, self._environment, seconds=seconds)

    async def item_count(self) -> int:
        """About how many items the table holds; it may be hours old."""
        return await item_count(self._client)

    async def has_items(self) -> bool:
        """Whether the table holds items of any entity."""
        async for items in scan(self._client, ()):
            if any(not key_in(item).startswith((CONTROL_PREFIX, ENVIRONMENT_KEY)) for item in items):
                return True
        return False

    async def read_values(self, view: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of a view for some keys, tombstones among them; a key without one is left out."""
        return values_of((await read_items(self._client, keys, (view,))).values(), view)

    async def scan_values(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, bytes]]:
        """All values of a view in one segment of the table, page by page."""
        async for items in scan(self._client, (view,), segment=segment, segments=segments):
            yield values_of(items, view)

    async def scan_sequences(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, int]]:
        """The sequences under which all values of a view were written in one segment of the table, page by page."""
        attribute = sequence_attribute(view)
        async for items in scan(self._client, (attribute,), segment=segment, segments=segments, having=attribute):
            yield {key_in(item): sequence_in(item, view) for item in items}

    async def write_fenced(self, view: str, key: str, value: bytes, *, sequence: int, as_new: bool = False) -> bool:
        """Write a value unless a later sequence has written one, or `as_new`, unless there is an item; False then."""
        return await writes.write_fenced(self._client, view, key, value, sequence=sequence, as_new=as_new)

    async def write_together(self, view: str, rows: Sequence[Row], *, sequence: int, as_new: bool = False) -> KeptOut:
        """Write values if the push still holds its lease, all or none; returns the rows that are kept out."""
        return await writes.write_together(self._client, view, rows, sequence=sequence, as_new=as_new)

    async def write_ordered(self, rows: Sequence[OrderedValue], *, within: float | None = None) -> OrderedOutcome:
        """Write values, all or none, unless the table has a later order, or a later owner of the view."""
        return await writes.write_ordered(self._client, rows, within=within)

    async def remove_below(self, view: str, key: str, *, below: int) -> bool:
        """Remove a value written under a lower sequence; False where there is none, or a newer one."""
        return await writes.remove_below(self._client, view, key, below=below)

    async def purge_tombstone(self, view: str, key: str, *, sequence: int) -> bool:
        """Remove a tombstone written under this sequence; False where something newer is there."""
        return await writes.purge_tombstone(self._client, view, key, sequence=sequence)

    async def read_controls(self, views: Iterable[str]) -> dict[str, Control]:
        """The control items of several views; a view that was never pushed has none."""
        return await control_item.read_controls(self._client, views)

    async def read_sequence(self, view: str) -> int | None:
        """The newest sequence that a push of the view was given; None where there never was one."""
        return await control_item.read_sequence(self._client, view)

    async def change_control(
        self, view: str, transition: Transition, given: Fields, *, once: bool = False
    ) -> Fields | None:
        """Make a transition in one conditional write; returns the fields that it asks for, None where it is not allowed."""
        return await control_item.change_control(self._client, view, transition, given, attempts=1 if once else None)

    def prepare_read(self, views: Sequence[str], keys: Sequence[str]) -> bytes:
        """A request for the values of some views, encoded once however often it is sent."""
        return orjson.dumps(read_request(self._client.table, keys, views, consistent=False))

    async def send_read(self, request: bytes, *, turn: Turn | None = None) -> tuple[dict[str, Item], list[str]]:
        """Send a request once; returns the items by key, and the keys that the store did not get to."""
        return items_answered(await self._client.send(READ_MANY, request, turn=turn), self._client.table)

    def values_in(
        self, items: Mapping[str, Item], keys: Collection[str], view: str
    ) -> tuple[list[bytes], list[bool] | None]:
        """The values of a view in items that were read, in the order of the keys; then of each key whether it has one."""
        return values_in(items, keys, view)

    async def claim_once(self, key: str, *, digest: str, orders: str, expires: int, now: int) -> Remembered | None:
        """Take a key until a time in seconds; returns what is remembered where somebody holds it at `now`."""
        return await claim_once(self._client, key, digest=digest, orders=orders, expires=expires, now=now)

    async def keep_results(self, key: str, results: str) -> None:
        """Remember what became of the request, unless that is known already."""
        await keep_results(self._client, key, results)

    async def forget_expired(self, key: str, *, at: int) -> bool:
        """Remove a key whose time is over at a moment in seconds; False where it is not."""
        return await forget_expired(self._client, key, at=at)

    async def scan_records(self) -> AsyncIterator[tuple[list[str], list[str]]]:
        """The views that have a control item, and the once-only keys, page by page."""
        async for page in scan(self._client, (EXPIRES,), having=(EXPIRES, "sequence")):
            views = [view for item in page if (view := view_of_control(key_in(item)))]
            keys = [key_in(item) for item in page if EXPIRES in item]
            yield views, [key.removeprefix(ONCE_PREFIX) for key in keys if key.startswith(ONCE_PREFIX)]


def values_of(items: Iterable[Item], view: str) -> dict[str, bytes]:
    """The values that items have of a view."""
    found = ((key_in(item), binary(item, view)) for item in items)
    return {key: value for key, value in found if value is not None}


def values_in(items: Mapping[str, Item], keys: Collection[str], view: str) -> tuple[list[bytes], list[bool] | None]:
    """The values of a view that items have, in the order of the keys; then of each key whether it has one, None if all have."""
    item, none = items.get, {view: NO_VALUE}
    attributes = [item(key, none).get(view, NO_VALUE) for key in keys]
    try:
        texts = [attribute["B"] for attribute in attributes]
        values = [pybase64.b64decode(text) for text in texts if text]  # an empty value is a tombstone
    except (KeyError, TypeError, ValueError):
        texts = [attribute["B"] if is_binary(attribute) else DAMAGED for attribute in attributes]
        values = [pybase64.b64decode(text) for text in texts if text]
    return values, None if len(values) == len(texts) else list(map(bool, texts))


def is_binary(attribute: Any) -> bool:
    """Whether an attribute is a binary value."""
    try:
        pybase64.b64decode(attribute["B"])
    except (KeyError, TypeError, ValueError):
        return False
    return True
