"""Several values of one key at once: turns, refusals, and which one is sent."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from tailrace.store.dynamodb.refusals import is_throttled
from tailrace.store.dynamodb.wire import StoreError
from tailrace.store.order import Order, OrderedValue
from tailrace.store.pace import Pace

T = TypeVar("T")

REQUESTS_AT_ONCE = 32
EASY_SECONDS, HARD_SECONDS = 1.0, 4.0  # for a request: below the one there may be more at once, above the other fewer
FIRST_RATE = 64.0  # requests a second once a store has throttled for the first time
LEAST_RATE = 0.1
UNBOUND_RATE = 1_000.0  # from which on no rate is kept
FALL, RISE = 0.5, 1.02  # of the rate, for a throttling and for a success


class Turns:
    """Sends requests in turn, and learns from each how many at once, and how many a second, the store takes."""

    def __init__(self, most: int = REQUESTS_AT_ONCE) -> None:
        self._pace = Pace(most)
        self._rate = math.inf
        self._next = -math.inf  # in the event loop's time

    @property
    def delay(self) -> float:
        """Seconds until the next request would be sent."""
        return max(0.0, self._next - asyncio.get_running_loop().time())

    def room(self, seconds: float) -> float:
        """How many more requests would be sent within so many seconds, by the rate; infinity where none is kept."""
        return max(0.0, seconds - self.delay) * self._rate

    async def come_near(self, seconds: float) -> None:
        """Wait until the next request would be sent within so many seconds."""
        if self.delay > seconds:
            await asyncio.sleep(self.delay - seconds)

    async def send(self, request: Callable[[], Awaitable[T]], *, within: float) -> T:
        """Send a request when its turn comes; raises `StoreError`, too where none comes in so many seconds."""
        loop = asyncio.get_running_loop()
        last = loop.time() + within
        async with AsyncExitStack() as until_sent:
            try:
                async with asyncio.timeout_at(last):
                    entered = await until_sent.enter_async_context(self._pace.place())
            except TimeoutError as error:
                raise too_late() from error
            at = max(loop.time(), self._next)
            if at >= last:
                raise too_late()
            rate, self._next = self._rate, at + 1 / self._rate
            await asyncio.sleep(at - loop.time())
            began = loop.time()
            try:
                answer = await request()
            except StoreError as error:
                self._learn_from(error, entered, rate)
                raise
            self._rise(loop.time() - began, entered)
            return answer

    def _learn_from(self, error: StoreError, entered: int, rate: float) -> None:
        if is_throttled(error) and self._rate >= rate:  # those throttled together count once
            self._rate = FIRST_RATE if rate == math.inf else max(LEAST_RATE, rate * FALL)
            self._next = max(self._next, asyncio.get_running_loop().time() + 1 / self._rate)
        if is_throttled(error) or error.code == "Unreachable":
            self._pace.fall(entered)

    def _rise(self, seconds: float, entered: int) -> None:
        self._rate = math.inf if self._rate > UNBOUND_RATE else self._rate * RISE
        if seconds > HARD_SECONDS:
            self._pace.fall(entered)
        elif seconds < EASY_SECONDS:
            self._pace.rise()


def too_late() -> StoreError:
    return StoreError(
        "TooLate", "the store takes fewer values than it is sent, and no turn came in time; send it again"
    )


@dataclass(frozen=True, slots=True)
class Stale:
    """The store kept what it has: its order, or None where the view has changed hands."""

    stored: Order | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The store will never take this value; `why` is what it said."""

    why: str


@dataclass(frozen=True, slots=True)
class Overwritten:
    """The value would have been written, and a later one of its key came with it: the store was sent that one alone."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The value may have been written or not; writing it again does no harm. `why` is what came of it."""

    why: StoreError


Result = Stale | Refused | Overwritten | None  # None where the value was written


@dataclass(slots=True, eq=False)
class Rivals:
    """`rows` are values of one key in the order in which they came; `before` is the order that the store had before.

    Where that is the newest's own, an earlier try had written it, and what was there before that is not known any more.
    """

    rows: list[OrderedValue]
    before: Order | None = None
    result: Result | Unknown = None
    _refused: dict[int, Refused] = field(default_factory=dict)
    _newest_first: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._newest_first = sorted(range(len(self.rows)), key=lambda i: (self.rows[i].order, i), reverse=True)

    @property
    def key(self) -> tuple[str, str]:
        return self.rows[0].item_key, self.rows[0].view

    @property
    def newest(self) -> OrderedValue:
        """The one to send: the latest that the store has not refused."""
        return self.rows[self._newest_first[len(self._refused)]]

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing more to send: what the store refuses leaves its place to the next newest."""
        return not isinstance(self.result, Refused) or len(self._refused) == len(self.rows)

    def settle(self, result: Result | Unknown) -> None:
        """Take what became of the newest."""
        self.result = result
        if isinstance(result, Refused):
            self._refused[self._newest_first[len(self._refused)]] = result

    def results(self) -> list[Result | Unknown]:
        """What became of each row, as if they had been written one after another."""
        if isinstance(self.result, Unknown | Stale):
            return [self._refused.get(i, self.result) for i in range(len(self.rows))]
        newest = next((i for i in self._newest_first if i not in self._refused), None)
        is_repeated = newest is not None and self.before == self.rows[newest].order
        reached, results = None if is_repeated else self.before, list[Result | Unknown]()
        for i, row in enumerate(self.rows):
            if i in self._refused:
                results.append(self._refused[i])
            elif reached is not None and row.order < reached:
                results.append(Stale(reached))
            else:
                reached = row.order
                results.append(None if i == newest else Overwritten())
        return results


def rivals_of(rows: Iterable[OrderedValue]) -> list[Rivals]:
    """Rows by item and view, in the order in which they came."""
    by_key: dict[tuple[str, str], list[OrderedValue]] = {}
    for row in rows:
        by_key.setdefault((row.item_key, row.view), []).append(row)
    return [Rivals(own) for own in by_key.values()]


def by_row(rows: Sequence[OrderedValue], rivals: Iterable[Rivals]) -> list[Result | Unknown]:
    """What became of each row, in the order of the rows that the rivals were made of."""
    results = {own.key: iter(own.results()) for own in rivals}
    return [next(results[row.item_key, row.view]) for row in rows]


def first_unknown(results: Iterable[object]) -> StoreError | None:
    """Why something is not known of the first result of which it is not."""
    return next((one.why for one in results if isinstance(one, Unknown)), None)
