"""What answers requests from one set of definitions: other definitions get an engine of their own."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from features.language import Definitions
from online.wire import StoreClient
from serving.catalogue import catalogue
from serving.columns import Column
from serving.controls import Controls
from serving.fetch import Fetches
from serving.on_demand import compute
from serving.operations.board import Cells
from serving.plan import Plan, Planner
from serving.read import Reader
from serving.request import FeatureRequest
from serving.trip import Trip


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was read for one request: a column for each of the plan's references, and what is told of each view."""

    plan: Plan
    ids: Mapping[str, list[str]]
    columns: Mapping[str, Column]
    views: Mapping[str, Any]


class Engine:
    """Plans requests, reads what they need and computes what is on demand."""

    def __init__(self, definitions: Definitions, client: StoreClient, fetches: Fetches, cells: Cells) -> None:
        self.definitions = definitions
        self.controls = Controls(client, definitions, cells)
        self.catalogue = orjson.dumps({"definitions": definitions.files} | catalogue(definitions))
        self._planner = Planner(definitions)
        self._reader = Reader(fetches, self.controls)

    async def answer(self, asked: FeatureRequest, *, deadline: float, trip: Trip) -> Answer:
        """Raises `BadRequest`, `ItemKeyError`, `StoreError` and `OnDemandError`; `deadline` is in the loop's time."""
        now = time.time_ns() // 1000
        plan = self._planner.plan(asked)
        columns = await self._reader.read(plan, asked.ids, now=now, deadline=deadline, trip=trip)
        for feature in plan.on_demand:
            columns[feature.name] = compute(feature, columns, now=now)
        trip.end("on_demand")
        views = {view: self.controls.told(view, now=now) for view in plan.wanted}
        return Answer(plan=plan, ids=asked.ids, columns=columns, views=views)
