"""Values that callers want written, on their way through a `DirectWriter`."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from tailrace.definitions import FeatureView
from tailrace.store.direct.log import Intent
from tailrace.store.direct.replay import ordered
from tailrace.store.direct.sender import Result
from tailrace.store.order import Order, OrderedValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value to be written, checked: None in place of `values` where the key is to go; times in microseconds."""

    view: FeatureView
    keys: dict[str, str]
    occurred_at: int
    values: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a value: its order, and None where it was written or why it was not."""

    order: Order
    result: Result


@dataclass(slots=True, eq=False)
class Wanted:
    """A value that waits, with where its caller waits; `order` is given where this is a repetition."""

    value: Value
    done: asyncio.Future[Written]
    since: float = 0.0  # in the event loop's time
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Numbered:
    """Values of one view that have their orders, and the sequence under which the lane owns the view."""

    view: FeatureView
    wanted: list[Wanted]
    sequence: int

    def intents(self, numbers: "count[int]") -> list[Intent]:
        now = time.time_ns() // 1000
        return [
            Intent(
                number=next(numbers),
                view=self.view.name,
                keys=one.value.keys,
                occurred_at=one.order.occurred_at,
                revision=one.order.revision,
                values=one.value.values,
                accepted_at=now,
            )
            for one in self.wanted
            if one.order is not None
        ]

    def rows(self, intents: Sequence[Intent]) -> list[OrderedValue]:
        return ordered(self.view, intents, sequence=self.sequence)


def fail(wanted: Sequence[Wanted], error: Exception) -> None:
    for one in wanted:
        if not one.done.done():
            one.done.set_exception(error)
