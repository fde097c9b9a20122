"""How many requests a writer keeps under way: fewer at once where the store throttles, slowly more where it does not."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from tailrace.store.failures import StoreError

T = TypeVar("T")

REQUESTS_AT_ONCE = 32
EASY_SECONDS, HARD_SECONDS = 1.0, 4.0  # for a request: below the one there may be more at once, above the other fewer
FIRST_RATE = 64.0  # requests a second once a store has throttled for the first time
LEAST_RATE = 0.1
UNBOUND_RATE = 1_000.0  # from which on no rate is kept
FALL, RISE = 0.5, 1.02  # of the rate, for a throttling and for a success


class Pace:
    """A limit on requests under way by additive increase and multiplicative decrease (RFC 5681, section 3.1).

    Places are given in the order in which they were asked for. `last_success` is on the monotonic clock.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.under_way = 0
        self.last_success: float | None = None
        self._falls = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[int]:
        """Wait for a place among the requests under way; yields what `fall` asks for."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._give_places()
        try:
            await waiting
            yield self._falls
        finally:
            if waiting.done() and not waiting.cancelled():
                self.under_way -= 1
            self._give_places()

    def _give_places(self) -> None:
        while self._waiting and (self._waiting[0].done() or self.under_way < int(self.limit)):
            first = self._waiting.popleft()
            if not first.done():  # cancelled meanwhile
                self.under_way += 1
                first.set_result(None)

    def fall(self, entered: int) -> None:
        """Halve the limit; requests that were under way together are throttled together and count once."""
        if entered == self._falls:
            self._falls += 1
            self.limit = max(1.0, self.limit / 2)

    def rise(self) -> None:
        """Raise the limit by one for as many successes as there are places."""
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self.last_success = time.monotonic()
        self._give_places()


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

    async def send(
        self,
        request: Callable[[], Awaitable[T]],
        *,
        within: float,
        is_throttled: Callable[[T], bool] = lambda _: False,
    ) -> T:
        """Send a request when its turn comes; raises `StoreError`, too where none comes in so many seconds.

        `is_throttled` says of an answer that the store takes fewer requests than it is sent.
        """
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
                if error.is_throttling:
                    self._fall(entered, rate)
                elif error.code == "Unreachable":
                    self._pace.fall(entered)
                raise
            if is_throttled(answer):
                self._fall(entered, rate)
            else:
                self._rise(loop.time() - began, entered)
            return answer

    def _fall(self, entered: int, rate: float) -> None:
        if self._rate >= rate:  # those throttled together count once
            self._rate = FIRST_RATE if rate == math.inf else max(LEAST_RATE, rate * FALL)
            self._next = max(self._next, asyncio.get_running_loop().time() + 1 / self._rate)
        self._pace.fall(entered)

    def _rise(self, seconds: float, entered: int) -> None:
        self._rate = math.inf if self._rate > UNBOUND_RATE else self._rate * RISE
        if seconds > HARD_SECONDS:
            self._pace.fall(entered)
        elif seconds < EASY_SECONDS:
            self._pace.rise()


def too_late() -> StoreError:
    """The error where no turn came in time."""
    return StoreError(
        "TooLate", "the store takes fewer values than it is sent, and no turn came in time; send it again"
    )


@dataclass(frozen=True)
class Limits:
    """How many connections there may be, and the seconds that one may take to open and an exchange to end."""

    connections: int = 64
    connect_seconds: float = 3.0
    exchange_seconds: float = 10.0


USUAL = Limits()
