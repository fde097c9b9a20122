"""What orders direct writes of one key: event time, then a revision that the store gave.

A direct view has three attributes on an item: its value, `<view>#s`, the sequence under which the lane owns the view, and
`<view>#t`, the order. As 16 bytes, big-endian, orders compare as DynamoDB compares binary values, byte by byte.
"""

from datetime import UTC, datetime
from typing import NamedTuple, Self

import pybase64

from tailrace.schemas.slots import to_micros
from tailrace.store.dynamodb.attributes import binary_in, whole_in
from tailrace.store.dynamodb.items import sequence_attribute

BYTES = 8
REVISIONS = range(2 ** (8 * BYTES))  # that an order has room for
TIMES = range(to_micros(datetime.max.replace(tzinfo=UTC)) + 1)  # that there are dates for


class Order(NamedTuple):
    """`occurred_at` is in microseconds since 1970, not before; of equal times the newer revision wins."""

    occurred_at: int
    revision: int

    @classmethod
    def checked(cls, occurred_at: int, revision: int) -> Self | None:
        """The order; None where no value can have it."""
        return cls(occurred_at, revision) if occurred_at in TIMES and revision in REVISIONS else None

    def to_attribute(self) -> dict[str, str]:
        raw = self.occurred_at.to_bytes(BYTES, "big") + self.revision.to_bytes(BYTES, "big")
        return {"B": pybase64.b64encode(raw).decode()}

    @classmethod
    def of_attribute(cls, attribute: dict[str, str]) -> Self:
        return cls.of_bytes(pybase64.b64decode(attribute["B"]))

    @classmethod
    def of_bytes(cls, raw: bytes) -> Self:
        return cls(int.from_bytes(raw[:BYTES], "big"), int.from_bytes(raw[BYTES:], "big"))


def order_attribute(view: str) -> str:
    return f"{view}#t"


def order_in(item: object, view: str, sequence: int) -> Order | None:
    """The order of an item's value of a view; None where it has none, or one of another owner of the view."""
    raw = binary_in(item, order_attribute(view))
    if raw is None or len(raw) != 2 * BYTES or whole_in(item, sequence_attribute(view)) != sequence:
        return None
    return Order.checked(*Order.of_bytes(raw))
