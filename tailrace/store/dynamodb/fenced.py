"""Writes of a push: each sets a value under the push's sequence, unless a later push has written the item."""

from collections.abc import Iterable

from tailrace.store.dynamodb.items import KEY, sequence_attribute, to_binary
from tailrace.store.dynamodb.wire import Json, StoreClient
from tailrace.store.keys import control_key

ROWS_PER_TRANSACTION = 99  # TransactWriteItems takes 100 actions, and one checks the lease
BYTES_PER_TRANSACTION = 3_000_000  # it takes 4 MB, of which one last row may be 400 KB


async def update_fenced(client: StoreClient, key: str, value: bytes, *, view: str, sequence: int) -> None:
    """Write one value once, unless a later push has."""
    request = fenced_update(client.table, key, value, view=view, sequence=sequence)
    await client.call("UpdateItem", request, attempts=1)


async def put_fenced(client: StoreClient, key: str, value: bytes, *, view: str, sequence: int) -> None:
    """Write one value once as a whole item, unless there is an item."""
    request = fenced_put(client.table, key, value, view=view, sequence=sequence)
    await client.call("PutItem", request, attempts=1)


async def transact_fenced(
    client: StoreClient, rows: Iterable[tuple[str, bytes]], *, view: str, sequence: int, as_new: bool
) -> None:
    """Write values once, all or none, if the push still holds its lease; `as_new` writes them as whole items."""
    table, kind, action = client.table, *(("Put", fenced_put) if as_new else ("Update", fenced_update))
    writes = [{kind: action(table, key, value, view=view, sequence=sequence)} for key, value in rows]
    actions = [{"ConditionCheck": lease_check(table, view=view, sequence=sequence)}, *writes]
    await client.call("TransactWriteItems", {"TransactItems": actions}, attempts=1)


def fenced_update(table: str, key: str, value: bytes, *, view: str, sequence: int) -> Json:
    """Set this view's two attributes, the rest of the item being other views' and other lanes'."""
    return {
        "TableName": table,
        "Key": {KEY: {"S": key}},
        "UpdateExpression": "SET #v = :v, #s = :s",
        "ConditionExpression": "attribute_not_exists(#s) OR #s <= :s",
        "ExpressionAttributeNames": {"#v": view, "#s": sequence_attribute(view)},
        "ExpressionAttributeValues": {":v": to_binary(value), ":s": {"N": str(sequence)}},
    }


def fenced_put(table: str, key: str, value: bytes, *, view: str, sequence: int) -> Json:
    """Write a whole item where there is none; it has what `fenced_update` would have made of nothing."""
    item = item_of(key, value, view=view, sequence=sequence)
    return {"TableName": table, "Item": item, "ConditionExpression": f"attribute_not_exists({KEY})"}


def item_of(key: str, value: bytes, *, view: str, sequence: int) -> Json:
    """An item with one view's value."""
    return {KEY: {"S": key}, view: to_binary(value), sequence_attribute(view): {"N": str(sequence)}}


def lease_check(table: str, *, view: str, sequence: int) -> Json:
    """Refuse the transaction that this is part of if another push took over."""
    return {
        "TableName": table,
        "Key": {KEY: {"S": control_key(view)}},
        "ConditionExpression": "#sequence = :sequence",
        "ExpressionAttributeNames": {"#sequence": "sequence"},
        "ExpressionAttributeValues": {":sequence": {"N": str(sequence)}},
    }
