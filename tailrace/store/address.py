"""Where the online store is, and how it is opened: whoever reads or writes it gets it here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from tailrace.settings import Settings, Writes
from tailrace.store import embedded
from tailrace.store.control import Control
from tailrace.store.dynamodb.calls import open_client
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.pace import USUAL, Limits
from tailrace.store.port import Store

T = TypeVar("T")


@asynccontextmanager
async def open_store(
    *,
    url: str,
    region: str,
    table: str,
    environment: str = "",
    patience: float | None = None,
    limits: Limits = USUAL,
) -> AsyncIterator[Store]:
    """Open the store at an address with its own connections; `patience` is how many seconds a request is tried.

    `environment` is whose table it has to be for writers.
    """
    async with open_client(url=url, region=region, table=table, patience=patience, limits=limits) as client:
        yield DynamoStore(client, environment=environment)


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the store is and whose, how it is written, how many requests one task keeps in flight, and how long a push
    holds its lease without renewing it.
    """

    url: str
    region: str
    table: str
    in_flight: int
    writes: Writes
    lease_seconds: float
    environment: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Address":
        """The address in the settings; an embedded store is started where none runs."""
        return cls.at(embedded.store_url(settings), settings)

    @classmethod
    def of_running(cls, settings: Settings) -> "Address | None":
        """The address in the settings; None where it is of an embedded store that does not run."""
        running = None if settings.store.url else embedded.status(settings)
        url = settings.store.url or (running.url if running else None)
        return None if url is None else cls.at(url, settings)

    @classmethod
    def at(cls, url: str, settings: Settings) -> "Address":
        """A URL, with everything else as in the settings."""
        store = settings.store
        return cls(
            url=url,
            region=store.region,
            table=store.table,
            in_flight=store.in_flight,
            writes=store.writes,
            lease_seconds=store.lease_seconds,
            environment=store.environment,
        )

    def open(self, *, patience: float | None = None, limits: Limits = USUAL) -> AbstractAsyncContextManager[Store]:
        """Open the store; `patience` is how many seconds a request is tried."""
        return open_store(
            url=self.url,
            region=self.region,
            table=self.table,
            environment=self.environment,
            patience=patience,
            limits=limits,
        )


def with_store(address: Address, action: Callable[[Store], Awaitable[T]], *, patience: float | None = None) -> T:
    """Run one action against the store from code that is not asynchronous; `patience` is in seconds for each request."""

    async def run() -> T:
        async with address.open(patience=patience) as store:
            return await action(store)

    return asyncio.run(run())


def read_control(address: Address, view: str) -> Control | None:
    """A view's control item as it is; None for a view that was never pushed."""

    async def read(store: Store) -> Control | None:
        await store.ensure_ready()
        return (await store.read_controls([view])).get(view)

    return with_store(address, read)
