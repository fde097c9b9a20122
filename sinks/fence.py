"""Stop a writer that lost its lease where its writes cannot check the lease themselves."""

import asyncio
import time
from collections.abc import Callable

from sinks.rows import Sequenced
from tailrace.store.control import LeaseLost
from tailrace.store.dynamodb.control_item import read_sequence
from tailrace.store.dynamodb.wire import StoreClient

CHECKS = 3  # per lease time


def seconds_since_boot() -> float:
    """Seconds that passed, suspended ones too: a laptop or virtual machine that slept has slept its lease away."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence:
    """Knows how long ago the lease was last seen to be ours, and looks again where that is too long."""

    def __init__(
        self, client: StoreClient, push: Sequenced, *, clock: Callable[[], float] = seconds_since_boot
    ) -> None:
        self._client = client
        self._push = push
        self._clock = clock
        self._seen: float | None = None
        self._looking = asyncio.Lock()

    async def pass_through(self) -> None:
        """Return if the lease is ours, by a look that is not too old; raises `LeaseLost` if another push took over."""
        if self._is_fresh():
            return
        async with self._looking:
            if self._is_fresh():  # another writer looked meanwhile
                return
            began = self._clock()
            if await read_sequence(self._client, self._push.view) != self._push.sequence:
                raise lease_lost(self._push)
            self._seen = began

    def _is_fresh(self) -> bool:
        return self._seen is not None and self._clock() - self._seen <= self._push.lease_seconds / CHECKS


def lease_lost(push: Sequenced) -> LeaseLost:
    return LeaseLost(f"view {push.view}: another push took over from sequence {push.sequence}")
