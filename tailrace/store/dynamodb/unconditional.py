"""Writes without a condition, as a client does that knows no leases: what benchmarks compare with and fill stores by."""

from collections.abc import Iterable, Iterator, Sequence

import orjson

from tailrace.store.dynamodb.calls import KEY, Json, StoreClient, sequence_attribute, to_binary
from tailrace.store.dynamodb.conditional_writes import item_of
from tailrace.store.dynamodb.store import ensure_table

SEQUENCE = 1


async def put_anyhow(client: StoreClient, rows: Iterable[tuple[str, bytes]], *, view: str) -> None:
    """Write whole items in one transaction, whatever is there."""
    actions = [{"Put": unconditional_put(client.table, key, value, view=view)} for key, value in rows]
    await client.call("TransactWriteItems", {"TransactItems": actions}, attempts=1)


def unconditional_update(table: str, key: str, value: bytes, *, view: str) -> Json:
    """Set a view's attributes, whatever is there."""
    return {
        "TableName": table,
        "Key": {KEY: {"S": key}},
        "UpdateExpression": "SET #v = :v, #s = :s",
        "ExpressionAttributeNames": {"#v": view, "#s": sequence_attribute(view)},
        "ExpressionAttributeValues": {":v": to_binary(value), ":s": {"N": str(SEQUENCE)}},
    }


def unconditional_put(table: str, key: str, value: bytes, *, view: str) -> Json:
    """Write a whole item, whatever is there."""
    return {"TableName": table, "Item": item_of(key, value, view=view, sequence=SEQUENCE)}


def boto_update(table: str, key: str, value: bytes, *, view: str) -> Json:
    """As `unconditional_update`, for boto3, which encodes binary values itself."""
    request = unconditional_update(table, key, b"", view=view)
    request["ExpressionAttributeValues"][":v"] = {"B": value}
    return request


def unconditional_requests(
    table: str, rows: Sequence[tuple[str, bytes]], *, view: str, whole_items: bool, per_transaction: int | None
) -> Iterator[tuple[str, bytes]]:
    """Operations and encoded requests that write rows: so many rows in a transaction, or each in a request of its own."""
    kind, action = ("Put", unconditional_put) if whole_items else ("Update", unconditional_update)
    actions = [action(table, key, value, view=view) for key, value in rows]
    if per_transaction is None:
        yield from ((f"{kind}Item", orjson.dumps(one)) for one in actions)
        return
    for start in range(0, len(actions), per_transaction):
        part = [{kind: one} for one in actions[start : start + per_transaction]]
        yield "TransactWriteItems", orjson.dumps({"TransactItems": part})


async def remove_table(client: StoreClient) -> None:
    """Remove the table and everything in it."""
    await ensure_table(client)
    await client.call("DeleteTable", {"TableName": client.table})
