"""Once-only keys: the store remembers a request for a time, and what became of it."""

from tailrace.store.dynamodb.items import KEY, object_in, text_in
from tailrace.store.dynamodb.wire import StoreClient, call_if
from tailrace.store.failures import StoreError
from tailrace.store.port import Item, Remembered

EXPIRES = "expires"


async def claim_once(
    client: StoreClient, key: str, *, digest: str, orders: str, expires: int, now: int
) -> Remembered | None:
    """Take a key that nobody holds, or whose time is over; returns what is remembered where somebody holds it."""
    item = {KEY: {"S": key}, "digest": {"S": digest}, "orders": {"S": orders}, EXPIRES: {"N": str(expires)}}
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
    request = {"TableName": client.table, "Key": {KEY: {"S": key}}, "ConsistentRead": True}
    return object_in(await client.call("GetItem", request), "Item")


def remembered_in(item: object) -> Remembered:
    """What an item of a once-only key remembers."""
    return Remembered(digest=text_in(item, "digest"), orders=text_in(item, "orders"), results=text_in(item, "results"))


async def keep_results(client: StoreClient, key: str, results: str) -> None:
    """Remember what became of the request, unless that is known already."""
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": key}},
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
        "Key": {KEY: {"S": key}},
        "ConditionExpression": "#expires < :at",
        "ExpressionAttributeNames": {"#expires": EXPIRES},
        "ExpressionAttributeValues": {":at": {"N": str(at)}},
    }
    return await call_if(client, "DeleteItem", request)
