"""A write that is sent again under its `Idempotency-Key` is answered as it was, and written under the same orders.

The store keeps an item for each key of each caller for a day: a digest of the body, the orders that its values were given
and, once they were written, what became of them. Whoever finds no outcome there writes again, which does no harm.
"""

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web
from multidict import CIMultiDictProxy

from online.direct.order import Order
from online.direct.revisions import take_revisions
from online.direct.rivals import Overwritten, Refused, Result, Stale
from online.direct.wanted import Value, Written
from online.direct.writer import DirectWriter
from online.items import KEY, Item
from online.keys import once_key
from online.wire import StoreClient, StoreError
from serving.headers import only_value
from serving.request import BadRequest

HEADER = "Idempotency-Key"
LONGEST = 255
KEPT_SECONDS = 24 * 60 * 60


class KeyReused(web.HTTPUnprocessableEntity):
    """The key came with another body before."""


def key_of(headers: CIMultiDictProxy[str]) -> str | None:
    """The key of a request, None where it has none; raises `BadRequest`."""
    key = only_value(headers, HEADER)
    if key is not None and not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise BadRequest(f"header {HEADER} has to have 1 to {LONGEST} printable ASCII characters")
    return key


class Once:
    """Writes through a `DirectWriter` what was not written under its key before."""

    def __init__(self, client: StoreClient, writer: DirectWriter) -> None:
        self._client, self._writer = client, writer

    async def write(self, values: Sequence[Value], *, key: str, caller: str, body: bytes) -> list[Written]:
        """As `DirectWriter.write`; raises `KeyReused` too."""
        await self._writer.have_table()
        item_key = once_key(hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest())
        digest = hashlib.sha256(body).hexdigest()
        view = values[0].view
        given = await take_revisions(self._client, view.name, view.features, count=len(values))
        orders = [Order(value.occurred_at, revision) for revision, value in enumerate(values, given.first)]
        before = await self._claim(item_key, digest, orders)
        if before is not None:
            orders = orders_of(before, digest, len(values))
            if "results" in before:
                results = map(result_of, orjson.loads(before["results"]["S"]))
                return [Written(order, result) for order, result in zip(orders, results, strict=True)]
        written = await self._writer.write(values, orders=orders)
        await self._keep(item_key, written)
        return written

    async def _claim(self, item_key: str, digest: str, orders: list[Order]) -> Item | None:
        """Record the orders; returns what is there already."""
        item = {
            KEY: {"S": item_key},
            "digest": {"S": digest},
            "orders": {"S": orjson.dumps([tuple(order) for order in orders]).decode()},
            "expires": {"N": str(int(time.time()) + KEPT_SECONDS)},
        }
        request = {
            "TableName": self._client.table,
            "Item": item,
            "ConditionExpression": f"attribute_not_exists({KEY}) OR #expires < :now",
            "ExpressionAttributeNames": {"#expires": "expires"},
            "ExpressionAttributeValues": {":now": {"N": str(int(time.time()))}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            await self._client.call("PutItem", request)
        except StoreError as error:
            if error.code == "ConditionalCheckFailedException":
                before: Item = error.details["Item"]
                return before
            raise
        return None

    async def _keep(self, item_key: str, written: list[Written]) -> None:
        results = orjson.dumps([told_of(one.result) for one in written]).decode()
        request = {
            "TableName": self._client.table,
            "Key": {KEY: {"S": item_key}},
            "UpdateExpression": "SET #results = if_not_exists(#results, :results)",
            "ConditionExpression": f"attribute_exists({KEY})",
            "ExpressionAttributeNames": {"#results": "results"},
            "ExpressionAttributeValues": {":results": {"S": results}},
        }
        await self._client.call("UpdateItem", request)


def orders_of(item: Item, digest: str, count: int) -> list[Order]:
    if item["digest"]["S"] != digest:
        raise KeyReused(text=f"header {HEADER}: this key came with another body before; take a new one")
    orders = [Order(*order) for order in orjson.loads(item["orders"]["S"])]
    if len(orders) != count:
        raise KeyReused(text=f"header {HEADER}: of this body other entities were valid before; take a new key")
    return orders


def told_of(result: Result) -> Any:
    if isinstance(result, Stale):
        return {"stored": None if result.stored is None else tuple(result.stored)}
    if isinstance(result, Overwritten):
        return {"overwritten": True}
    return {"refused": result.why} if isinstance(result, Refused) else None


def result_of(told: dict[str, Any] | None) -> Result:
    if told is None:
        return None
    if "overwritten" in told:
        return Overwritten()
    if "refused" in told:
        return Refused(told["refused"])
    return Stale(None if told["stored"] is None else Order(*told["stored"]))
