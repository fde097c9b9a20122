"""The engine answers requests from one set of definitions, from entity keys to columns; another one can take its place."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np
import orjson
from aiohttp import web

from serving.answers import Answer
from serving.auth.policy import ReadRules
from serving.common.loop import AnswerPace
from serving.common.request import FeatureRequest, ItemGroup, Planner, RequestPlan
from serving.definition_list import catalogue
from serving.openapi import described
from serving.read.columns import (
    NOWHERE,
    UNTOLD,
    Array,
    FeatureColumn,
    compute_on_demand,
    decoded,
    decoded_apart,
    fanned_out,
    not_valued,
    stacked,
    too_old,
)
from serving.read.controls import Controls
from serving.read.store_reads import Fetched, Fetches
from serving.telemetry.metrics import Counters
from serving.telemetry.requests import RequestTiming
from tailrace.definitions import Definitions
from tailrace.schemas.tables import Column as Feature
from tailrace.store.codec import CodecError, fingerprints
from tailrace.store.keys import item_keys
from tailrace.store.port import ItemReads, Store

Item = TypeVar("Item")


class Reader:
    """Reads the features of a plan."""

    def __init__(self, store: ItemReads, fetches: Fetches, controls: Controls) -> None:
        self._store = store
        self._fetches = fetches
        self._controls = controls

    async def read(
        self,
        plan: RequestPlan,
        asked: FeatureRequest,
        *,
        now: int,
        deadline: float,
        timing: RequestTiming,
        pace: AnswerPace,
    ) -> dict[str, FeatureColumn]:
        """The columns of a plan by `view:feature`, on-demand ones not among them.

        `now` is microseconds since 1970, `deadline` when the store must have answered, in the event loop's time.
        Raises `ItemKeyError` for a key the store cannot hold, `StoreError` where the store cannot be read.
        """
        await pace.pause()
        keys, places = {}, {}
        for group in plan.groups:
            keys[group.views] = own = await paced_keys_of(group, asked, pace)
            places[group.views] = places_of(own)
            await pace.pause()
        timing.end("parse")
        fetched = await self._fetches.fetch(places, deadline=deadline, line=pace.line)
        timing.end("store")
        await pace.begin()
        columns: dict[str, FeatureColumn] = {}
        for views, own in keys.items():
            rows = rows_at(own, places[views], count=asked.rows)
            for view in views:
                values, positions = await paced_values_of(self._store, view, places[views], fetched[views], pace)
                read = await self._columns_of(
                    view, plan.stored[view], values, positions[rows], deadline=deadline, pace=pace
                )
                outdated = self._controls.is_outdated(view, now=now)
                for feature, column in zip(plan.stored[view], read, strict=True):
                    columns[f"{view}:{feature.name}"] = too_old(column) if outdated else column
        timing.end("decode")
        return columns

    async def _columns_of(
        self,
        view: str,
        features: Sequence[Feature],
        values: list[bytes],
        at: Array,
        *,
        deadline: float,
        pace: AnswerPace,
    ) -> Sequence[FeatureColumn]:
        """Decode a view's values, and give each row the one `at` its position, as `fanned_out` does."""
        if not values:
            return [not_valued(feature.type, at) for feature in features]
        parts = []
        for part in parts_of(values, pace.rows):
            parts.append(await self._decoded(view, features, part, deadline=deadline))
            await pace.pause()
        return fanned_out(parts[0] if len(parts) == 1 else stacked(parts), at)

    async def _decoded(
        self, view: str, features: Sequence[Feature], values: list[bytes], *, deadline: float
    ) -> Sequence[FeatureColumn]:
        try:
            return decoded(self._controls.codec(view), values, features)
        except CodecError:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._controls.learn(view, fingerprints(values))
            columns, unreadable = decoded_apart(self._controls.known_codecs(view), values, features)
            self._controls.count_unreadable(view, unreadable)
            return columns


def keys_of(group: ItemGroup, asked: FeatureRequest) -> list[str]:
    """The item key of each row, or the one of all rows where they share it."""
    if asked.shared.issuperset(group.entities.values()):
        return item_keys(group.entities, {key: asked.ids[key][:1] for key in asked.shared})
    return item_keys(group.entities, asked.ids)


async def paced_keys_of(group: ItemGroup, asked: FeatureRequest, pace: AnswerPace) -> list[str]:
    """As `keys_of`, so many rows at a time as the pace allows."""
    if asked.rows <= pace.rows or asked.shared.issuperset(group.entities.values()):
        return keys_of(group, asked)
    keys: list[str] = []
    for start in range(0, asked.rows, pace.rows):
        keys += item_keys(group.entities, {key: ids[start : start + pace.rows] for key, ids in asked.ids.items()})
        await pace.pause()
    return keys


def places_of(keys: Sequence[str]) -> dict[str, int]:
    """Each key once, and its place among them."""
    return {key: place for place, key in enumerate(dict.fromkeys(keys))}


def rows_at(keys: Sequence[str], places: dict[str, int], *, count: int) -> Array | slice:
    """The place of each row's key, as an index; where each row has a key of its own, all places in their order."""
    if len(places) == count:
        return slice(None)
    if len(keys) == 1:
        return np.zeros(count, np.intp)
    return np.fromiter(map(places.__getitem__, keys), np.intp, count)


def values_of(store: ItemReads, view: str, keys: Collection[str], fetched: Fetched) -> tuple[list[bytes], Array]:
    """A view's values in the order of the keys, and where each key's is among them, as `fanned_out` takes it."""
    values, has_values = store.values_in(fetched.items, keys, view)
    if has_values is None:
        return values, np.arange(len(values))
    has_value = np.array(has_values, bool)
    positions = np.where(has_value, np.cumsum(has_value) - 1, NOWHERE)
    if fetched.untold:
        positions[np.fromiter((key in fetched.untold for key in keys), bool, len(has_values)) & ~has_value] = UNTOLD
    return values, positions


async def paced_values_of(
    store: ItemReads, view: str, keys: Mapping[str, int], fetched: Fetched, pace: AnswerPace
) -> tuple[list[bytes], Array]:
    """As `values_of`, so many keys at a time as the pace allows."""
    if len(keys) <= pace.rows:
        return values_of(store, view, keys, fetched)
    values: list[bytes] = []
    positions = []
    for part in parts_of(list(keys), pace.rows):
        own, at = values_of(store, view, part, fetched)
        positions.append(np.where(at >= 0, at + len(values), at))
        values += own
        await pace.pause()
    return values, np.concatenate(positions)


def parts_of(items: list[Item], size: int) -> Iterator[list[Item]]:
    """A list in parts of a size at most."""
    if len(items) <= size:
        yield items
        return
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Engine:
    """Plans requests, reads what they need and computes what is on demand."""

    def __init__(self, definitions: Definitions, store: Store, fetches: Fetches, counters: Counters) -> None:
        self.definitions = definitions
        self.controls = Controls(store, definitions, counters)
        self.readable = ReadRules(definitions)
        self.catalogue = orjson.dumps({"definitions": definitions.files} | catalogue(definitions))
        self.openapi = orjson.dumps(described(definitions))
        self._planner = Planner(definitions)
        self._reader = Reader(store, fetches, self.controls)

    def plan(self, asked: FeatureRequest) -> RequestPlan:
        """Raises `BadRequest` for what is not defined."""
        return self._planner.plan(asked)

    async def answer(
        self, asked: FeatureRequest, plan: RequestPlan, *, deadline: float, timing: RequestTiming, pace: AnswerPace
    ) -> Answer:
        """Raises `ItemKeyError`, `StoreError` and `OnDemandError`; `deadline` is in the loop's time."""
        now = time.time_ns() // 1000
        columns = await self._reader.read(plan, asked, now=now, deadline=deadline, timing=timing, pace=pace)
        for feature in plan.on_demand:
            columns[feature.name] = compute_on_demand(feature, columns, now=now)
            await pace.pause()
        timing.end("on_demand")
        views = {view: self.controls.facts(view, now=now) for view in plan.stored}
        return Answer(asked=asked, plan=plan, columns=columns, views=views)


class Current:
    """The engine that new requests take; those under way finish with the one that they took.

    `leaving` says that the reader is about to stop and wants no more traffic, `closing` that this process answers the
    last request of each connection.
    """

    def __init__(self, definitions: Definitions, store: Store, counters: Counters, *, cache_seconds: float) -> None:
        self.leaving = False
        self.closing = False
        self._store, self._counters = store, counters
        self._fetches = Fetches(store, counters, cache_seconds=cache_seconds)
        self.engine = self._make(definitions)
        self._refreshing: asyncio.Task[None] | None = None

    def _make(self, definitions: Definitions) -> Engine:
        return Engine(definitions, self._store, self._fetches, self._counters)

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
