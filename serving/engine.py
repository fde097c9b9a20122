"""What answers requests from one set of definitions, and how another one takes its place."""

import asyncio
import time

import orjson
from aiohttp import web

from serving.answers.json import Answer
from serving.auth.scopes import ReadRules
from serving.common.loop import Pace
from serving.common.request import FeatureRequest
from serving.openapi import catalogue, described
from serving.read.columns import compute
from serving.read.controls import Controls
from serving.read.plan import Plan, Planner
from serving.read.read import Reader
from serving.read.store_reads import Fetches
from serving.telemetry.access_log import Trip
from serving.telemetry.metrics import Cells
from tailrace.definitions import Definitions
from tailrace.store.dynamodb.wire import StoreClient


class Engine:
    """Plans requests, reads what they need and computes what is on demand."""

    def __init__(self, definitions: Definitions, client: StoreClient, fetches: Fetches, cells: Cells) -> None:
        self.definitions = definitions
        self.controls = Controls(client, definitions, cells)
        self.readable = ReadRules(definitions)
        self.catalogue = orjson.dumps({"definitions": definitions.files} | catalogue(definitions))
        self.openapi = orjson.dumps(described(definitions))
        self._planner = Planner(definitions)
        self._reader = Reader(fetches, self.controls)

    def plan(self, asked: FeatureRequest) -> Plan:
        """Raises `BadRequest` for what is not defined."""
        return self._planner.plan(asked)

    async def answer(self, asked: FeatureRequest, plan: Plan, *, deadline: float, trip: Trip, pace: Pace) -> Answer:
        """Raises `ItemKeyError`, `StoreError` and `OnDemandError`; `deadline` is in the loop's time."""
        now = time.time_ns() // 1000
        columns = await self._reader.read(plan, asked, now=now, deadline=deadline, trip=trip, pace=pace)
        for feature in plan.on_demand:
            columns[feature.name] = compute(feature, columns, now=now)
            await pace.pause()
        trip.end("on_demand")
        views = {view: self.controls.facts(view, now=now) for view in plan.wanted}
        return Answer(asked=asked, plan=plan, columns=columns, views=views)


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
