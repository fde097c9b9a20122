"""Removals of values, each on condition that nothing newer has taken their place."""

from collections.abc import AsyncIterator

from tailrace.store.dynamodb.items import KEY, key_in, scan, sequence_attribute, sequence_in
from tailrace.store.dynamodb.ordered import order_attribute
from tailrace.store.dynamodb.wire import StoreClient, call_if


async def keys_below(client: StoreClient, view: str, *, below: int) -> AsyncIterator[list[str]]:
    """The keys of items that have a value of the view under a lower sequence, page by page."""
    async for page in scan(client, (sequence_attribute(view),), having=sequence_attribute(view)):
        yield [key_in(item) for item in page if sequence_in(item, view) < below]


async def remove_below(client: StoreClient, view: str, key: str, *, below: int) -> bool:
    """Remove a value written under a lower sequence; False where there is none, or a newer one."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": key}},
        "UpdateExpression": "REMOVE #v, #s, #t",
        "ConditionExpression": "#s < :below",
        "ExpressionAttributeNames": {"#v": view, "#s": sequence_attribute(view), "#t": order_attribute(view)},
        "ExpressionAttributeValues": {":below": {"N": str(below)}},
    }
    return await call_if(client, "UpdateItem", request)


async def purge_tombstone(client: StoreClient, view: str, key: str, *, sequence: int) -> bool:
    """Remove the view's two attributes from an item, if they are still the tombstone of this sequence."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": key}},
        "UpdateExpression": "REMOVE #v, #s",
        "ConditionExpression": "#s = :s AND size(#v) = :nothing",
        "ExpressionAttributeNames": {"#v": view, "#s": sequence_attribute(view)},
        "ExpressionAttributeValues": {":s": {"N": str(sequence)}, ":nothing": {"N": "0"}},
    }
    return await call_if(client, "UpdateItem", request)
