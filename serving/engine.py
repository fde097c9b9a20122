"""What answers requests from one set of definitions: other definitions get an engine of their own."""

import time
from collections.abc import Iterator, Mapping
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
from serving.plan import Plan, Planner
from serving.read import Reader
from serving.request import FeatureRequest


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was read for one request: a column for each of the plan's references, and what is told of each view."""

    asked: FeatureRequest
    plan: Plan
    columns: Mapping[str, Column]
    views: Mapping[str, Any]

    @property
    def named(self) -> Iterator[tuple[str, Column]]:
        """The features asked for, in their order and as they are called in the answer."""
        for name, reference in zip(self.plan.names, self.plan.references, strict=True):
            yield name, self.columns[reference]


class Engine:
    """Plans requests, reads what they need and computes what is on demand."""

    def __init__(self, definitions: Definitions, client: StoreClient, fetches: Fetches) -> None:
        self.definitions = definitions
        self.controls = Controls(client, definitions)
        self.catalogue = orjson.dumps(catalogue(definitions))
        self._planner = Planner(definitions)
        self._reader = Reader(fetches, self.controls)

    async def answer(self, asked: FeatureRequest, *, deadline: float) -> Answer:
        """Raises `BadRequest`, `ItemKeyError`, `StoreError` and `OnDemandError`; `deadline` is in the loop's time."""
        now = time.time_ns() // 1000
        plan = self._planner.plan(asked)
        columns = await self._reader.read(plan, asked, now=now, deadline=deadline)
        for feature in plan.on_demand:
            columns[feature.name] = compute(feature, columns, now=now)
        views = {view: self.controls.told(view, now=now) for view in plan.wanted}
        return Answer(asked=asked, plan=plan, columns=columns, views=views)
