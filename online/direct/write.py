"""Write values of direct views, each under the condition that the store holds no later one for its key."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from online.direct.order import Order, order_attribute
from online.items import KEY, sequence_attribute, to_binary
from online.wire import Json, StoreClient, StoreError, is_transient

ROWS_PER_TRANSACTION = 100
BYTES_PER_TRANSACTION = 3_000_000  # of the 4 MB that a transaction may have
# How long after its revision was given a value may still be sent: a view that changes hands waits that out.
SEND_SECONDS = 10.0

# What says that one row cannot be written, whatever becomes of the others.
OWN_REFUSALS = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException", "413"})
RETRIED_REASONS = frozenset({"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
CONDITION_FAILED = "ConditionalCheckFailedException"
CANCELED = "TransactionCanceledException"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedValue:
    """A packed value of one key, empty where the key is to go; `sequence` is that of the lane's owning the view."""

    view: str
    item_key: str
    value: bytes
    order: Order
    sequence: int


@dataclass(frozen=True, slots=True)
class Stale:
    """The store kept what it has: its order, or None where the view has changed hands."""

    stored: Order | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The store will never take this value; `why` is what it said."""

    why: str


Result = Stale | Refused | None  # None where the value was written


def boot_time() -> float:
    """Seconds that passed, suspended ones too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def write_values(
    client: StoreClient, rows: Sequence[OrderedValue], *, transactions: bool, until: float
) -> list[Result]:
    """Write rows and tell what became of each; of rows with one key, later ones are written after earlier ones.

    Nothing is sent after `until`, by `boot_time`. Raises `StoreError` where the store cannot be reached or refuses:
    then any of the rows may have been written, and writing them again does no harm.
    """
    results: list[Result] = [None] * len(rows)
    for wave in waves(rows):
        parts = list(chunks(rows, wave)) if transactions else [[i] for i in wave]
        answers = await asyncio.gather(*(write_part(client, [rows[i] for i in part], until) for part in parts))
        for part, answer in zip(parts, answers, strict=True):
            for i, result in zip(part, answer, strict=True):
                results[i] = result
    return results


def waves(rows: Sequence[OrderedValue]) -> list[list[int]]:
    """Rows in groups, by place, none of which has two of one item, which no transaction takes."""
    found: list[list[int]] = []
    seen: dict[str, int] = {}
    for i, row in enumerate(rows):
        wave = seen[row.item_key] = seen.get(row.item_key, -1) + 1
        if wave == len(found):
            found.append([])
        found[wave].append(i)
    return found


def chunks(rows: Sequence[OrderedValue], wave: Iterable[int]) -> Iterable[list[int]]:
    """As many rows together as one transaction takes, by number and by bytes."""
    part: list[int] = []
    size = 0
    for i in wave:
        bytes_ = len(rows[i].item_key.encode()) + 2 * len(rows[i].value)
        if part and (len(part) == ROWS_PER_TRANSACTION or size + bytes_ > BYTES_PER_TRANSACTION):
            yield part
            part, size = [], 0
        part.append(i)
        size += bytes_
    if part:
        yield part


async def write_part(client: StoreClient, rows: list[OrderedValue], until: float) -> list[Result]:
    """One row by itself, or several in a transaction that leaves out those that are stale."""
    results: list[Result] = [None] * len(rows)
    left = list(range(len(rows)))
    patience = client.be_patient()
    while left:
        sent = [rows[i] for i in left]
        try:
            await send(client, sent, until)
            break
        except StoreError as error:
            if is_refused_whole(error):
                await write_apart(client, sent, until, error, into=results, places=left)
                break
            stale = stale_of(error, sent)
            if not stale:
                if not (is_transient(error) or error.code == CANCELED):
                    raise
                await patience.wait_after(error)
        for at, order in stale.items():
            results[left[at]] = Stale(order)
        left = [place for at, place in enumerate(left) if at not in stale]
    return results


async def send(client: StoreClient, rows: list[OrderedValue], until: float) -> None:
    """Send rows once; raises `StoreError` unless all of them were written."""
    left = until - boot_time()
    try:
        if left > 0:
            async with asyncio.timeout(left):  # a place among the connections may have to be waited for
                operation, request = request_of(client, rows)
                await client.call(operation, request, attempts=1)
                return
    except TimeoutError:
        pass
    raise StoreError("TooLate", f"a write was held up for over {SEND_SECONDS:g} s and given up; send it again")


async def write_apart(
    client: StoreClient,
    rows: list[OrderedValue],
    until: float,
    error: StoreError,
    *,
    into: list[Result],
    places: list[int],
) -> None:
    """Find the rows that made the store refuse all: what it refuses alone as well is to blame."""
    if len(rows) == 1:
        into[places[0]] = Refused(error.message)
        return
    for row, place in zip(rows, places, strict=True):
        [into[place]] = await write_part(client, [row], until)


def request_of(client: StoreClient, rows: list[OrderedValue]) -> tuple[str, Json]:
    actions = [update(client, row) for row in rows]
    if len(actions) == 1:
        return "UpdateItem", actions[0]
    return "TransactWriteItems", {"TransactItems": [{"Update": action} for action in actions]}


def update(client: StoreClient, row: OrderedValue) -> dict[str, Any]:
    """Set the view's three attributes unless the item has a later order, or a later owner of the view."""
    return {
        "TableName": client.table,
        "Key": {KEY: {"S": row.item_key}},
        "UpdateExpression": "SET #v = :v, #s = :s, #t = :t",
        "ConditionExpression": (
            "attribute_not_exists(#s) OR #s < :s OR (#s = :s AND (attribute_not_exists(#t) OR #t <= :t))"
        ),
        "ExpressionAttributeNames": {
            "#v": row.view,
            "#s": sequence_attribute(row.view),
            "#t": order_attribute(row.view),
        },
        "ExpressionAttributeValues": {
            ":v": to_binary(row.value),
            ":s": {"N": str(row.sequence)},
            ":t": row.order.to_attribute(),
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def is_refused_whole(error: StoreError) -> bool:
    """Whether waiting will not help, because of what a row is."""
    if error.code == CANCELED:
        codes = {reason.get("Code", "None") for reason in error.details.get("CancellationReasons") or [{}]}
        return not codes <= {*RETRIED_REASONS, "ConditionalCheckFailed"}
    return error.code in OWN_REFUSALS


def stale_of(error: StoreError, rows: list[OrderedValue]) -> dict[int, Order | None]:
    """The rows whose own condition failed, by place, with the orders that the store has."""
    if error.code == CONDITION_FAILED:
        return {0: order_in(error.details.get("Item", {}), rows[0])}
    if error.code != CANCELED:
        return {}
    reasons = error.details.get("CancellationReasons") or []
    return {
        i: order_in(reason.get("Item", {}), row)
        for i, (row, reason) in enumerate(zip(rows, reasons, strict=False))
        if reason.get("Code") == "ConditionalCheckFailed"
    }


def order_in(item: dict[str, Any], row: OrderedValue) -> Order | None:
    order, sequence = item.get(order_attribute(row.view)), item.get(sequence_attribute(row.view))
    if order is None or sequence is None or int(sequence["N"]) != row.sequence:
        return None
    return Order.of_attribute(order)
