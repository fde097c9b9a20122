"""What orders direct writes of one key: event time, then a revision that the store gave.

A direct view has three attributes on an item: its value, `<view>#s`, the sequence under which the lane owns the view, and
`<view>#t`, the order. As 16 bytes, big-endian, orders compare as DynamoDB compares binary values, byte by byte.
"""

from typing import NamedTuple, Self

import pybase64

BYTES = 8


class Order(NamedTuple):
    """`occurred_at` is in microseconds since 1970, not before; of equal times the newer revision wins."""

    occurred_at: int
    revision: int

    def to_attribute(self) -> dict[str, str]:
        raw = self.occurred_at.to_bytes(BYTES, "big") + self.revision.to_bytes(BYTES, "big")
        return {"B": pybase64.b64encode(raw).decode()}

    @classmethod
    def of_attribute(cls, attribute: dict[str, str]) -> Self:
        raw = pybase64.b64decode(attribute["B"])
        return cls(int.from_bytes(raw[:BYTES], "big"), int.from_bytes(raw[BYTES:], "big"))


def order_attribute(view: str) -> str:
    return f"{view}#t"
