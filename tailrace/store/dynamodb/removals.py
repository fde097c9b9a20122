"""Removals of values, each on condition that nothing newer is there."""

from tailrace.store.dynamodb.items import KEY, sequence_attribute
from tailrace.store.dynamodb.ordered import order_attribute
from tailrace.store.dynamodb.wire import StoreClient, call_if


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
