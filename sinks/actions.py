"""The actions on one item that writes consist of, as the store's protocol spells them."""

from typing import Any

from sinks.rows import Row, Sequenced
from tailrace.store.dynamodb.items import KEY, sequence_attribute, to_binary
from tailrace.store.dynamodb.wire import StoreClient
from tailrace.store.keys import control_key

Action = dict[str, Any]


def update(client: StoreClient, row: Row, push: Sequenced) -> Action:
    """Set this view's two attributes, the rest of the item being other views' and other lanes'."""
    key, value = row
    change: Action = {"TableName": client.table, "Key": {KEY: {"S": key}}}
    change["UpdateExpression"] = "SET #v = :v, #s = :s"
    change["ConditionExpression"] = "attribute_not_exists(#s) OR #s <= :s"
    change["ExpressionAttributeNames"] = {"#v": push.view, "#s": sequence_attribute(push.view)}
    change["ExpressionAttributeValues"] = {":v": to_binary(value), ":s": {"N": str(push.sequence)}}
    return change


def put_new(client: StoreClient, row: Row, push: Sequenced) -> Action:
    """Write a whole item where there is none; it has what `update` would have made of nothing."""
    key, value = row
    item = {KEY: {"S": key}, push.view: to_binary(value), sequence_attribute(push.view): {"N": str(push.sequence)}}
    return {"TableName": client.table, "Item": item, "ConditionExpression": f"attribute_not_exists({KEY})"}


def lease_check(client: StoreClient, push: Sequenced) -> Action:
    """Refuse the transaction that this is part of if another push took over."""
    check: Action = {"TableName": client.table, "Key": {KEY: {"S": control_key(push.view)}}}
    check["ConditionExpression"] = "#sequence = :sequence"
    check["ExpressionAttributeNames"] = {"#sequence": "sequence"}
    check["ExpressionAttributeValues"] = {":sequence": {"N": str(push.sequence)}}
    return check
