"""A stream's watermark while nothing comes: the values stand, and hold for a later moment all the same."""

from typing import Any

from tailrace.definitions import STREAM
from tailrace.store.dynamodb.items import KEY
from tailrace.store.dynamodb.wire import StoreClient, StoreError
from tailrace.store.keys import control_key

# The last who took the lease is this stream, and has ended; a micro-batch that begins meanwhile, or has ended later than
# `to`, makes the request one that changes nothing.
STANDS = "#lane = :lane AND begins_with(#lease_owner, :owner) AND #closed = #sequence AND #open = :false AND #watermark < :to"
NAMES = ("lane", "lease_owner", "closed", "sequence", "open", "watermark")


async def move_watermark(client: StoreClient, view: str, *, owner: str, to: int) -> bool:
    """Move the watermark of a stream's view to a moment, in microseconds since 1970; False where it is not this stream's
    to move. Tried once: the next comes soon.
    """
    request: dict[str, Any] = {
        "TableName": client.table,
        "Key": {KEY: {"S": control_key(view)}},
        "UpdateExpression": "SET #watermark = :to",
        "ConditionExpression": STANDS,
        "ExpressionAttributeNames": {f"#{name}": name for name in NAMES},
        "ExpressionAttributeValues": {
            ":lane": {"S": STREAM},
            ":owner": {"S": f"{owner} "},
            ":false": {"BOOL": False},
            ":to": {"N": str(to)},
        },
    }
    try:
        await client.call("UpdateItem", request, attempts=1)
    except StoreError as error:
        if error.code in {"ConditionalCheckFailedException", "ResourceNotFoundException"}:
            return False  # nor is there anything to move before the first micro-batch
        raise
    return True
