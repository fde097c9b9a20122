"""Conditional writes in DynamoDB's protocol, one by one and in transactions, and what its refusals of them mean.

A view has a value on an item and `<view>#s`, the sequence under which it was written; a view of the lane direct also has
`<view>#t`, the order, a binary value, which DynamoDB compares byte by byte.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pybase64

from tailrace.store.control import LeaseLost
from tailrace.store.dynamodb.calls import (
    KEY,
    Json,
    StoreClient,
    binary_in,
    call_if,
    control_key,
    list_in,
    object_in,
    sequence_attribute,
    to_binary,
    whole_in,
)
from tailrace.store.failures import NoTransactions, StoreError
from tailrace.store.order import BYTES, Order, OrderedValue
from tailrace.store.port import KeptOut, OrderedOutcome, Refused, Row, Stale

CONDITION_FAILED = "ConditionalCheckFailedException"
CANCELED = "TransactionCanceledException"
LATE_REASON = "ConditionalCheckFailed"
THROTTLED_REASONS = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
RETRIED_REASONS = THROTTLED_REASONS | {"None", "TransactionConflict"}
OWN_REASONS = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})  # the row itself is at fault
UNKNOWN_OPERATION = frozenset({"UnknownOperationException", "UnknownOperation", "NotImplementedException", "501"})


async def write_fenced(
    client: StoreClient, view: str, key: str, value: bytes, *, sequence: int, as_new: bool = False
) -> bool:
    """Write one value once, unless a later push has or, `as_new`, as a whole item, unless there is an item; False then."""
    request = (fenced_put if as_new else fenced_update)(client.table, key, value, view=view, sequence=sequence)
    try:
        await client.call("PutItem" if as_new else "UpdateItem", request, attempts=1)
    except StoreError as error:
        if error.code == CONDITION_FAILED:
            return False
        raise
    return True


async def write_together(
    client: StoreClient, view: str, rows: Sequence[Row], *, sequence: int, as_new: bool = False
) -> KeptOut:
    """Write values once, all or none, if the push still holds its lease; `as_new` writes them as whole items."""
    table, kind, action = client.table, *(("Put", fenced_put) if as_new else ("Update", fenced_update))
    writes = [{kind: action(table, key, value, view=view, sequence=sequence)} for key, value in rows]
    try:
        await transact(client, [{"ConditionCheck": lease_check(table, view=view, sequence=sequence)}, *writes])
    except StoreError as error:
        reasons = reasons_of(error)
        if reasons and reasons[0].is_late:
            raise LeaseLost(f"view {view}: another push took over from sequence {sequence}") from error
        return kept_out(error, reasons[1:], count=len(rows))
    return {}


async def write_ordered(client: StoreClient, rows: Sequence[OrderedValue], *, within: float | None) -> OrderedOutcome:
    """Write rows once, all or none, each of another item; a connection has to be free within so many seconds."""
    actions = [ordered_update(client.table, row) for row in rows]
    try:
        if len(actions) > 1:
            await transact(client, [{"Update": action} for action in actions], within=within)
            return OrderedOutcome({})
        request = actions[0] | {"ReturnValues": "UPDATED_OLD"}
        answer = await client.call("UpdateItem", request, attempts=1, within=within)
    except StoreError as error:
        if error.code == CONDITION_FAILED:
            return OrderedOutcome({0: Stale(stored_order(object_in(error.details, "Item"), rows[0]))})
        reasons = reasons_of(error)
        late = kept_out(error, reasons, count=len(rows))
        orders = {
            place: Stale(stored_order(reasons[place].item, rows[place])) for place in late if reasons[place].is_late
        }
        return OrderedOutcome({**late, **orders}, is_throttled=any(reason.is_throttling for reason in reasons))
    return OrderedOutcome({}, stored_order(object_in(answer, "Attributes"), rows[0]))


async def transact(client: StoreClient, actions: Sequence[Json], *, within: float | None = None) -> None:
    """Make several writes once, all or none; raises `NoTransactions` where the store knows no such thing."""
    try:
        await client.call("TransactWriteItems", {"TransactItems": actions}, attempts=1, within=within)
    except StoreError as error:
        if error.code in UNKNOWN_OPERATION:
            why = "the store does not know this operation; set TAILRACE_STORE_WRITES=updates, it is set to transactions"
            raise NoTransactions(error.code, f"TransactWriteItems: {why} ({error.message})") from error
        raise


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


def ordered_update(table: str, row: OrderedValue) -> Json:
    """Set the view's three attributes unless the item has a later order, or a later owner of the view."""
    return {
        "TableName": table,
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
            ":t": to_attribute(row.order),
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def order_attribute(view: str) -> str:
    """The attribute with the order of a view's value."""
    return f"{view}#t"


def to_attribute(order: Order) -> dict[str, str]:
    """An order as an attribute of an item."""
    return {"B": pybase64.b64encode(order.to_bytes()).decode()}


def of_attribute(attribute: dict[str, str]) -> Order:
    """The order that an attribute of an item is."""
    return Order.of_bytes(pybase64.b64decode(attribute["B"]))


def order_in(item: object, view: str, sequence: int) -> Order | None:
    """The order of an item's value of a view; None where it has none, or one of another owner of the view."""
    raw = binary_in(item, order_attribute(view))
    if raw is None or len(raw) != 2 * BYTES or whole_in(item, sequence_attribute(view)) != sequence:
        return None
    return Order.checked(*Order.of_bytes(raw))


def stored_order(item: object, row: OrderedValue) -> Order | None:
    """The order of what an item has in a row's place."""
    return order_in(item, row.view, row.sequence)


class Reason(NamedTuple):
    """Why one action of a transaction was canceled; the code is `None` for one that was not to blame."""

    code: str
    message: str
    item: object = None

    @property
    def is_late(self) -> bool:
        """Whether the action's own condition does not hold."""
        return self.code == LATE_REASON

    @property
    def is_passing(self) -> bool:
        """Whether the same action may succeed later."""
        return self.code in RETRIED_REASONS

    @property
    def is_throttling(self) -> bool:
        """Whether the store takes fewer writes than it is sent."""
        return self.code in THROTTLED_REASONS

    @property
    def is_known(self) -> bool:
        """Whether it is known what the reason means for the action."""
        return self.is_late or self.is_passing or self.code in OWN_REASONS


def reasons_of(error: StoreError) -> list[Reason]:
    """Why a transaction was canceled, an entry per action; empty where the store does not say. Some stores give texts."""
    if error.code != CANCELED:
        return []
    return [reason_of(reason) for reason in list_in(error.details, "CancellationReasons")]


def reason_of(reason: object) -> Reason:
    if isinstance(reason, dict):
        message = str(reason.get("Message") or "no message")
        return Reason(str(reason.get("Code") or "None"), message, object_in(reason, "Item"))
    return Reason(str(reason or "None"), "no message")


def kept_out(error: StoreError, reasons: Sequence[Reason], *, count: int) -> KeptOut:
    """The rows of a transaction that canceled it; raises what concerns all of them, or may pass.

    A store that does not say which of them are to blame, or why, refuses them together.
    """
    if error.code != CANCELED:
        raise error
    if len(reasons) != count or not all(reason.is_known for reason in reasons):
        raise StoreError(error.code, error.message, error.details, is_refusal=True) from error
    found = {
        place: Stale() if reason.is_late else Refused(reason.message, code=reason.code)
        for place, reason in enumerate(reasons)
        if not reason.is_passing
    }
    if not found:
        is_throttling = any(reason.is_throttling for reason in reasons)
        raise StoreError(
            error.code, error.message, error.details, is_transient=True, is_throttling=is_throttling
        ) from error
    return found
