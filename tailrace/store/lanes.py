"""Whose the values of a view are: one lane writes them, and the control item says which."""

from typing import Any

from tailrace.definitions import BATCH
from tailrace.errors import ConflictError
from tailrace.store.control import Control, read_controls
from tailrace.store.dynamodb.items import KEY
from tailrace.store.dynamodb.wire import StoreClient, call_if
from tailrace.store.keys import control_key

# In place of a lane: the view is being removed, and no lane writes it.
NO_LANE = "dropped"


class OtherLane(ConflictError):
    """A view's values are another lane's to write; the message says which, and how they change hands."""

    retryable = False


def owner_of(control: Control) -> str | None:
    """The lane that a view's values are of; None where it may be any. One that was pushed before lanes were told has a
    cursor.
    """
    return BATCH if control.lane is None and control.cursor is not None else control.lane


async def check_lane(client: StoreClient, view: str, lane: str) -> None:
    """Raise `OtherLane` where the view's values are those of another lane than this."""
    control = (await read_controls(client, [view])).get(view)
    owner = None if control is None else owner_of(control)
    if owner not in {None, lane}:
        raise OtherLane(
            f"view {view}: its values in the online store are those of the lane {owner}, and this would write them "
            f"as the lane {lane}; if its definition has changed, `tailrace rebuild {view}` hands it over"
        )


async def give_to_lane(client: StoreClient, view: str, lane: str, *, found: Control) -> bool:
    """Make a lane the owner of a view's values, under a sequence of its own; False where the control item has changed.

    What was pushed before is forgotten with its cursor: the new owner writes everything it has.
    """
    before = "#lane = :before" if found.lane else "attribute_not_exists(#lane)"
    names = ("lane", "sequence", "owned_from", "open", "cursor", "watermark", "lease_until")
    values: dict[str, Any] = {
        ":lane": {"S": lane},
        ":sequence": {"N": str(found.sequence)},
        ":next": {"N": str(found.sequence + 1)},
    }
    values |= {":false": {"BOOL": False}, ":zero": {"N": "0"}}
    values |= {":before": {"S": found.lane}} if found.lane else {}
    request = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": (
            "SET #lane = :lane, #sequence = :next, #owned_from = :next, #open = :false, #lease_until = :zero "
            "REMOVE #cursor, #watermark"
        ),
        "ConditionExpression": f"#sequence = :sequence AND {before}",
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
        "ExpressionAttributeValues": values,
    }
    return await call_if(client, "UpdateItem", request)
