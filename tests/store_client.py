"""The client of a store, for tests that look at what is behind the port."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tailrace.store.address import Address
from tailrace.store.dynamodb.calls import StoreClient, open_client

T = TypeVar("T")


def with_client(address: Address, action: Callable[[StoreClient], Awaitable[T]], *, patience: float | None = None) -> T:
    """Run one action with a client of the store at an address."""

    async def run() -> T:
        async with open_client(
            url=address.url, region=address.region, table=address.table, patience=patience
        ) as client:
            return await action(client)

    return asyncio.run(run())
