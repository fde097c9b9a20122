"""A write that is sent again under its `Idempotency-Key` is answered as it was, and written under the same orders.

The store keeps an item for each key of each caller for a day: a digest of the body, the orders that its values were given
and, once they were written, what became of them. Whoever finds no outcome there writes again, which does no harm.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from multidict import CIMultiDictProxy

from serving.common.interface import IDEMPOTENCY_HEADER
from serving.common.request import BadRequest, only_value
from tailrace.errors import UsageError
from tailrace.store.direct.pending import Value, Written
from tailrace.store.direct.sender import Overwritten, Result
from tailrace.store.direct.writer import DirectWriter
from tailrace.store.failures import StoreError
from tailrace.store.order import Order
from tailrace.store.port import Refused, Remembered, Stale, Store

LONGEST = 255
KEPT_SECONDS = 24 * 60 * 60


class KeyReused(UsageError):
    """The key came with another body before."""

    http_status = 422


def key_of(headers: CIMultiDictProxy[str]) -> str | None:
    """The key of a request, None if it has none; raises `BadRequest`."""
    key = only_value(headers, IDEMPOTENCY_HEADER)
    if key is not None and not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise BadRequest(f"header {IDEMPOTENCY_HEADER} has to have 1 to {LONGEST} printable ASCII characters")
    return key


class Once:
    """Writes through a `DirectWriter` what was not written under its key before."""

    def __init__(self, store: Store, writer: DirectWriter) -> None:
        self._store, self._writer = store, writer

    async def write(self, values: Sequence[Value], *, key: str, caller: str, body: bytes) -> list[Written]:
        """As `DirectWriter.write`; raises `KeyReused` too."""
        await self._writer.have_table()
        once = hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()
        digest = hashlib.sha256(body).hexdigest()
        view = values[0].view
        given = await self._store.take_revisions(view.name, view.features, count=len(values))
        orders = [Order(value.occurred_at, revision) for revision, value in enumerate(values, given.first)]
        before = await self._claim(once, digest, orders)
        if before is not None:
            orders = orders_of(before, digest, len(values))
            if (kept := before.results) is not None:
                return [
                    Written(order, result) for order, result in zip(orders, results_of(kept, len(orders)), strict=True)
                ]
        written = await self._writer.write(values, orders=orders)
        await self._keep(once, written)
        return written

    async def _claim(self, once: str, digest: str, orders: list[Order]) -> Remembered | None:
        """Record the orders; returns what is there already."""
        recorded, now = orjson.dumps([tuple(order) for order in orders]).decode(), int(time.time())
        expires = now + KEPT_SECONDS
        return await self._store.claim_once(once, digest=digest, orders=recorded, expires=expires, now=now)

    async def _keep(self, once: str, written: list[Written]) -> None:
        results = orjson.dumps([recorded_of(one.result) for one in written]).decode()
        await self._store.keep_results(once, results)


def orders_of(before: Remembered, digest: str, count: int) -> list[Order]:
    if before.digest not in {digest, None}:
        raise KeyReused(f"header {IDEMPOTENCY_HEADER}: this key came with another body before; take a new one")
    with understanding("orders"):
        if before.digest is None:
            raise ValueError("no digest")
        orders = [order_of(one) for one in orjson.loads(before.orders or "")]
    if len(orders) != count:
        raise KeyReused(f"header {IDEMPOTENCY_HEADER}: of this body other entities were valid before; take a new key")
    return orders


def order_of(recorded: Any) -> Order:
    occurred_at, revision = map(int, recorded)
    order = Order.checked(occurred_at, revision)
    if order is None:
        raise ValueError("no order")
    return order


@contextmanager
def understanding(what: str) -> Iterator[None]:
    """Raise `StoreError` for what was recorded under a key and cannot be understood."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        message = f"header {IDEMPOTENCY_HEADER}: the {what} recorded under this key cannot be understood: {type(error).__name__}"
        raise StoreError("Unreadable", message) from error


def recorded_of(result: Result) -> Any:
    if isinstance(result, Stale):
        return {"stored": None if result.stored is None else tuple(result.stored)}
    if isinstance(result, Overwritten):
        return {"overwritten": True}
    return {"refused": result.why} if isinstance(result, Refused) else None


def results_of(kept: str, count: int) -> list[Result]:
    with understanding("results"):
        results = [result_of(recorded) for recorded in orjson.loads(kept)]
        if len(results) != count:
            raise ValueError("not of as many values")
        return results


def result_of(recorded: dict[str, Any] | None) -> Result:
    if recorded is None:
        return None
    if "overwritten" in recorded:
        return Overwritten()
    if "refused" in recorded:
        return Refused(str(recorded["refused"]))
    return Stale(None if recorded["stored"] is None else order_of(recorded["stored"]))
