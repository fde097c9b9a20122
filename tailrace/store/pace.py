"""How many requests a writer keeps under way: fewer at once where the store throttles, slowly more where it does not."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
