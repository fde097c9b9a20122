"""What a reader process answers with just now: an engine that other definitions replace, and whether it is on its way out."""

import asyncio

from aiohttp import web

from serving.engine import Engine
from serving.read.fetch import Fetches
from serving.telemetry.board import Cells
from tailrace.definitions import Definitions
from tailrace.store.dynamodb.wire import StoreClient


class Current:
    """The engine that new requests take; those under way finish with the one that they took.

    `leaving` says that the reader is about to stop and wants no more traffic, `closing` that this process answers the
    last request of each connection.
    """

    def __init__(self, definitions: Definitions, client: StoreClient, cells: Cells, *, cache_seconds: float) -> None:
        self.leaving = False
        self.closing = False
        self._client, self._cells = client, cells
        self._fetches = Fetches(client, cells, cache_seconds=cache_seconds)
        self.engine = self._make(definitions)
        self._refreshing: asyncio.Task[None] | None = None

    def _make(self, definitions: Definitions) -> Engine:
        return Engine(definitions, self._client, self._fetches, self._cells)

    async def __aenter__(self) -> "Current":
        await self.engine.controls.refresh()
        self._keep_fresh()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_refreshing()
        await self.engine.controls.close()

    async def use(self, definitions: Definitions) -> None:
        """Answer from other definitions, once what the store says of their views is known."""
        engine = self._make(definitions)
        engine.controls.go_on_from(self.engine.controls)
        await engine.controls.refresh()
        await self._stop_refreshing()
        self.engine = engine
        self._keep_fresh()

    def _keep_fresh(self) -> None:
        self._refreshing = asyncio.create_task(self.engine.controls.keep_fresh())

    async def _stop_refreshing(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)


CURRENT = web.AppKey("CURRENT", Current)
