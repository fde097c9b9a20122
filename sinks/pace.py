"""How many requests a writer keeps under way: fewer at once where the store throttles, slowly more where it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Pace:
    """A limit on requests under way by additive increase and multiplicative decrease (RFC 5681, section 3.1)."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.under_way = 0
        self._falls = 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[int]:
        """Wait for a place among the requests under way; yields what `fall` asks for."""
        while self.under_way >= int(self.limit):
            self._freed.clear()
            await self._freed.wait()
        self.under_way += 1
        try:
            yield self._falls
        finally:
            self.under_way -= 1
            self._freed.set()

    def fall(self, entered: int) -> None:
        """Halve the limit; requests that were under way together are throttled together and count once."""
        if entered == self._falls:
            self._falls += 1
            self.limit = max(1.0, self.limit / 2)

    def rise(self) -> None:
        """Raise the limit by one for as many successes as there are places."""
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._freed.set()
