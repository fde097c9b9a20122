"""What answers requests from one set of definitions: other definitions get an engine of their own."""

import time

import orjson

from serving.answers.answer import Answer
from serving.auth.scopes import ReadRules
from serving.catalogue import catalogue
from serving.common.pace import Pace
from serving.common.request import FeatureRequest
from serving.openapi import described
from serving.read.controls import Controls
from serving.read.fetch import Fetches
from serving.read.on_demand import compute
from serving.read.plan import Plan, Planner
from serving.read.read import Reader
from serving.telemetry.board import Cells
from serving.telemetry.trip import Trip
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
