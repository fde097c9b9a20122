"""Values on their way through a `DirectWriter`, and how many go together."""

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

VALUES_AT_ONCE = 1_000  # in a group; fewer where the store is slow
LEAST_AT_ONCE = 1
VALUES_WAITING = 20_000
GROUPS_AT_ONCE = 4
SLOW_SECONDS = 2.0  # for a group, after which the next ones are smaller
WAIT_SECONDS = 10.0  # for the turn to be logged; what waits for longer is given up


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
class Pending:
    """A value that waits, with where its caller waits; `order` is given where this is a repetition."""

    value: Value
    done: asyncio.Future[Written]
    since: float = 0.0  # in the event loop's time
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Numbered:
    """Values of one view that have their orders, and the sequence under which the lane owns the view."""

    view: FeatureView
    pending: list[Pending]
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
            for one in self.pending
            if one.order is not None
        ]

    def rows(self, intents: Sequence[Intent]) -> list[OrderedValue]:
        return ordered(self.view, intents, sequence=self.sequence)


def fail(pending: Sequence[Pending], error: Exception) -> None:
    """Fail the values whose callers still wait."""
    for one in pending:
        if not one.done.done():
            one.done.set_exception(error)


@dataclass(slots=True)
class GroupSize:
    """How many values go together: so many as the store takes in a moment: what is logged is soon written.

    Where it takes longer for a single value, fewer groups are under way at once.
    """

    values: int = VALUES_AT_ONCE
    groups: int = GROUPS_AT_ONCE
    may_wait: int = VALUES_WAITING  # so many that the last of them is written in time

    def learn(self, values: int, known: int, seconds: float, *, is_busy: bool) -> None:
        """Learn from a group: the store took `known` of its values in so many seconds; `is_busy` says that more wait."""
        rate = known / max(seconds, 0.001)
        if seconds > SLOW_SECONDS and values <= LEAST_AT_ONCE:
            self.groups = max(1, self.groups - 1)
        elif seconds < SLOW_SECONDS / 2:
            self.groups = min(GROUPS_AT_ONCE, self.groups + 1)
        if is_busy or seconds > SLOW_SECONDS:
            self.values = max(LEAST_AT_ONCE, min(VALUES_AT_ONCE, 2 * self.values, int(rate * SLOW_SECONDS)))
            self.may_wait = min(VALUES_WAITING, int(rate * self.groups * WAIT_SECONDS / 2))
        elif seconds < SLOW_SECONDS / 2:
            self.may_wait = min(VALUES_WAITING, max(LEAST_AT_ONCE, self.may_wait * 2))
            if values >= self.values:
                self.values = min(VALUES_AT_ONCE, self.values * 2)
