"""Writes of direct views: each sets a value unless the item has a later order, or a later owner of the view.

A direct view has three attributes on an item: its value, `<view>#s`, the sequence under which the lane owns the view, and
`<view>#t`, the order, a binary value, which DynamoDB compares byte by byte.
"""

from collections.abc import Sequence

import pybase64

from tailrace.store.dynamodb.attributes import binary_in, object_in, whole_in
from tailrace.store.dynamodb.items import KEY, sequence_attribute, to_binary
from tailrace.store.dynamodb.wire import Json, StoreClient
from tailrace.store.order import BYTES, Order, OrderedValue


async def write_ordered(client: StoreClient, rows: Sequence[OrderedValue], *, within: float) -> Order | None:
    """Write rows once, all or none, each of another item; a connection has to be free within so many seconds.

    Returns the order that the store had before, of a single row; None where it had none, or there are several rows.
    """
    actions = [ordered_update(client.table, row) for row in rows]
    if len(actions) > 1:
        request = {"TransactItems": [{"Update": action} for action in actions]}
        await client.call("TransactWriteItems", request, attempts=1, within=within)
        return None
    request = actions[0] | {"ReturnValues": "UPDATED_OLD"}
    answer = await client.call("UpdateItem", request, attempts=1, within=within)
    return order_in(object_in(answer, "Attributes"), rows[0].view, rows[0].sequence)


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
