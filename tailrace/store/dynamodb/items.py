"""Items of the store's one table: an entity key with two attributes per view, its value and its sequence.

Answers are parsed where they enter: a field that is absent, null or of another type is the same.
"""

import asyncio
import binascii
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any

import pybase64

from tailrace.store.dynamodb.wire import Json, StoreClient
from tailrace.store.failures import PATIENCE_SECONDS, StoreError, delay_after
from tailrace.store.port import KEYS_PER_READ, Item

LONGEST_NUMBER = 40  # digits; DynamoDB's numbers have at most 38

KEY = "pk"
CONTROL_PREFIX = "#control|"  # no entity name begins with #
READ_MANY = "BatchGetItem"
NO_VALUE = {"B": ""}
DAMAGED = "AA=="  # stands for an attribute that is not binary: a value that no codec can read
READ_ROUNDS = 8  # how often keys that the store left unprocessed are asked for again


def object_in(answer: object, name: str) -> dict[str, Any]:
    """An object in an object; empty where there is none."""
    found = answer.get(name) if isinstance(answer, Mapping) else None
    return found if isinstance(found, dict) else {}


def list_in(answer: object, name: str) -> list[Any]:
    """A list in an object; empty where there is none."""
    found = answer.get(name) if isinstance(answer, Mapping) else None
    return found if isinstance(found, list) else []


def text_in(item: object, attribute: str) -> str | None:
    """A text of an item; None where it has none."""
    found = object_in(item, attribute).get("S")
    return found if isinstance(found, str) else None


def texts_in(item: object, attribute: str) -> list[str]:
    """The set of texts of an item, in a fixed order; empty where it has none."""
    return sorted(one for one in list_in(object_in(item, attribute), "SS") if isinstance(one, str))


def whole_in(item: object, attribute: str) -> int | None:
    """A whole number of an item; None where it has none."""
    found = object_in(item, attribute).get("N")
    if not isinstance(found, str) or len(found) > LONGEST_NUMBER:
        return None
    try:
        return int(found)
    except ValueError:
        return None


def flag_in(item: object, attribute: str) -> bool | None:
    """True or false of an item; None where it has neither."""
    found = object_in(item, attribute).get("BOOL")
    return found if isinstance(found, bool) else None


def binary_in(item: object, attribute: str) -> bytes | None:
    """Bytes of an item; None where it has none."""
    found = object_in(item, attribute).get("B")
    try:
        return pybase64.b64decode(found, validate=True) if isinstance(found, str) else None
    except (ValueError, binascii.Error):
        return None


def control_key(view: str) -> str:
    """The key of a view's control item."""
    return CONTROL_PREFIX + view


def view_of_control(item_key: str) -> str | None:
    """The view whose control item has this key; None for any other item."""
    return item_key.removeprefix(CONTROL_PREFIX) if item_key.startswith(CONTROL_PREFIX) else None


def sequence_attribute(view: str) -> str:
    """The attribute with the sequence of a view's value."""
    return f"{view}#s"


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


async def read_items(
    client: StoreClient, keys: Iterable[str], attributes: Sequence[str], *, consistent: bool = True
) -> dict[str, Item]:
    """Read some attributes of many items, by item key; what is not in the store is not in the answer.

    A publisher reads its own writes back; a reader that may be a moment behind pays half for each item.
    """
    unique = list(dict.fromkeys(keys))
    parts = [unique[i : i + KEYS_PER_READ] for i in range(0, len(unique), KEYS_PER_READ)]
    answers = await asyncio.gather(*(_read_part(client, part, attributes, consistent=consistent) for part in parts))
    return {key: item for answer in answers for key, item in answer.items()}


async def _read_part(
    client: StoreClient, keys: list[str], attributes: Sequence[str], *, consistent: bool
) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for attempt in range(1, READ_ROUNDS + 1):
        request = read_request(client.table, keys, attributes, consistent=consistent)
        items, keys = items_answered(await client.call(READ_MANY, request), client.table)
        found |= items
        if not keys:
            return found
        await asyncio.sleep(delay_after(attempt))
    raise StoreError("Unprocessed", f"{len(keys)} keys were still unprocessed after {READ_ROUNDS} rounds")


def read_request(table: str, keys: Iterable[str], attributes: Sequence[str], *, consistent: bool) -> Json:
    """One BatchGetItem; of at most `KEYS_PER_READ` keys, none of them twice."""
    names, projection = projected(attributes)
    asked: Json = {"Keys": [{KEY: {"S": key}} for key in keys], "ConsistentRead": consistent}
    asked |= {"ProjectionExpression": projection, "ExpressionAttributeNames": names}
    return {"RequestItems": {table: asked}}


def items_answered(answer: Json, table: str) -> tuple[dict[str, Item], list[str]]:
    """What a BatchGetItem answered: the items by key, and the keys that it left unprocessed."""
    responses = answer.get("Responses")
    if not isinstance(responses, dict):
        raise StoreError("Unreadable", "BatchGetItem answered without Responses")
    unprocessed = object_in(object_in(answer, "UnprocessedKeys"), table)
    try:
        items = {item[KEY]["S"]: item for item in list_in(responses, table)}
        return items, [key[KEY]["S"] for key in list_in(unprocessed, "Keys")]
    except (KeyError, TypeError) as error:
        raise StoreError("Unreadable", f"BatchGetItem answered with an item without its key: {error}") from error


async def scan(
    client: StoreClient,
    attributes: Sequence[str],
    *,
    segment: int = 0,
    segments: int = 1,
    having: str | tuple[str, ...] = (),
) -> AsyncIterator[list[Item]]:
    """Read some attributes of every item of one segment of the table, or of those `having` one of some, page by page."""
    names, projection = projected(attributes)
    request: dict[str, Any] = {"TableName": client.table, "ConsistentRead": True}
    request |= {"ProjectionExpression": projection, "ExpressionAttributeNames": names}
    request |= {"Segment": segment, "TotalSegments": segments}
    if having:
        had = {f"#h{i}": name for i, name in enumerate([having] if isinstance(having, str) else having)}
        names |= had
        request |= {"FilterExpression": " OR ".join(f"attribute_exists({name})" for name in had)}
    while True:
        answer = await client.call("Scan", request)
        if not isinstance(answer.get("Items"), list):
            raise StoreError("Unreadable", "Scan answered without Items")
        yield answer["Items"]
        if not (last := object_in(answer, "LastEvaluatedKey")):
            return
        request["ExclusiveStartKey"] = last


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


def projected(attributes: Sequence[str]) -> tuple[dict[str, str], str]:
    """Names for an expression: a view's name may be a reserved word, and `#` is none of its characters."""
    names = {f"#a{i}": name for i, name in enumerate((KEY, *attributes))}
    return names, ", ".join(names)


def binary(item: Mapping[str, Mapping[str, Any]], attribute: str) -> bytes | None:
    """A binary attribute of an item; None where it has none."""
    value = item.get(attribute)
    return None if value is None else pybase64.b64decode(value["B"])


def key_in(item: Mapping[str, Mapping[str, Any]]) -> str:
    """The key of an item; raises `KeyError`."""
    key: str = item[KEY]["S"]
    return key


def sequence_in(item: Mapping[str, Mapping[str, Any]], view: str) -> int:
    """The sequence under which an item's value of a view was written; raises `KeyError`."""
    return int(item[sequence_attribute(view)]["N"])


def to_binary(value: bytes) -> dict[str, str]:
    return {"B": pybase64.b64encode(value).decode()}
