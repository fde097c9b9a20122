"""What orders direct writes of one key: event time, then a revision that the store gave.

As 16 bytes, big-endian, orders compare as the values do: byte by byte. Any store can compare them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self

from tailrace.schemas.slots import to_micros

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

    def to_bytes(self) -> bytes:
        """As 16 bytes that compare as orders do."""
        return self.occurred_at.to_bytes(BYTES, "big") + self.revision.to_bytes(BYTES, "big")

    @classmethod
    def of_bytes(cls, raw: bytes) -> Self:
        """The order that these 16 bytes are."""
        return cls(int.from_bytes(raw[:BYTES], "big"), int.from_bytes(raw[BYTES:], "big"))


class Revisions(NamedTuple):
    """So many revisions from `first` on, and the `sequence` that every write carries."""

    sequence: int
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedValue:
    """A packed value of one key, empty where the key is to go; `sequence` is that of the lane's owning the view."""

    view: str
    item_key: str
    value: bytes
    order: Order
    sequence: int
