"""Refresh gold to an as-of time: every view from the same pinned silver, finer views first."""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame

from contracts import silver
from contracts.slots import AsOfError, check_on_grid, to_text
from contracts.tables import Table
from features.language import Definitions, FeatureView
from jobs.gold.aggregate import aggregate
from jobs.gold.transform import transform
from lake.state import State
from lake.tables import Lake


class ConcurrentRefreshError(Exception):
    """Another refresh wrote the same view at the same time; the message names it and what to do."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """One view after a refresh: its rows, how many keys now differ from before, and the seconds it took."""

    gold_rows: int
    changed: int
    seconds: float


def run(lake: Lake, definitions: Definitions, *, as_of: datetime) -> dict[str, Refreshed]:
    """Refresh all views; each table's state is committed with it."""
    check_as_of(lake, definitions.views.values(), as_of)
    pinned = {table.name: lake.version(table) for table in silver.TABLES}
    refresh = Refresh(lake, definitions, pinned, as_of)
    return {view.name: refresh.bring(view) for view in definitions.views.values()}


def check_as_of(lake: Lake, views: Iterable[FeatureView], as_of: datetime) -> None:
    """Refuse a time off the grid, and one before what a view already holds; the same time again is allowed."""
    check_on_grid(as_of)
    for view in views:
        state = lake.state(view.table)
        held = as_of_in(state) if state else None
        if held and held > as_of:
            raise AsOfError(
                f"view {view.name} is already refreshed to {to_text(held)}, after {to_text(as_of)}; "
                f"refresh to {to_text(held)} or later"
            )


def as_of_in(state: State) -> datetime:
    return datetime.fromisoformat(state.values["as_of"])


@dataclass(frozen=True)
class Refresh:
    """One refresh: every view reads the silver versions that were pinned when it began."""

    lake: Lake
    definitions: Definitions
    pinned: dict[str, int]
    as_of: datetime

    def bring(self, view: FeatureView) -> Refreshed:
        """Bring one view to the as-of; where its inputs are what they were, only its state moves."""
        began = time.monotonic()
        lake, table = self.lake, view.table
        lake.create(table)
        before = lake.state(table)
        state = self.state_of(view)
        if before and is_current(before, state):
            return Refreshed(gold_rows=before.rows, changed=0, seconds=time.monotonic() - began)
        state["run"] = uuid.uuid4().hex
        if before and not view.wants_as_of and is_current(before, state | {"as_of": before.values["as_of"]}):
            lake.keep(table, state=state)
        else:
            lake.become(table, self.compute(view, state["inputs"]), state=state)
        after = check_alone(lake, view, run_id=state["run"])
        return Refreshed(gold_rows=after.rows, changed=after.changed, seconds=time.monotonic() - began)

    def state_of(self, view: FeatureView) -> dict[str, Any]:
        """What the view's table will have been computed from."""
        inputs = {f"silver.{name}": self.pinned[name] for name in view.inputs}
        inputs |= {f"gold.{name}": self.lake.version(self.finer(name)) for name in view.finer_views}
        return {"as_of": to_text(self.as_of), "inputs": inputs, "definition": view.definition_fingerprint}

    def compute(self, view: FeatureView, versions: dict[str, int]) -> DataFrame:
        """The full computation of a view from the given version of each table it reads."""
        tables = [table for table in silver.TABLES if table.name in view.inputs]
        rows = {table.name: self.lake.read(table, version=versions[table.full_name]) for table in tables}
        if view.transform is not None:
            return transform(view, rows, as_of=self.as_of)
        finer = {name: self.finer(name) for name in view.finer_views}
        counted = {name: self.lake.read(table, version=versions[table.full_name]) for name, table in finer.items()}
        return aggregate(rows["interactions"], view, as_of=self.as_of, finer=counted)

    def finer(self, name: str) -> Table:
        return self.definitions.views[name].table


def is_current(state: State, wanted: dict[str, Any]) -> bool:
    """Whether a table was computed from just this, by a refresh that nothing overtook."""
    return state.alone and all(state.values.get(name) == value for name, value in wanted.items() if name != "run")


def check_alone(lake: Lake, view: FeatureView, *, run_id: str) -> State:
    """Notice, after the commit, a refresh that was overtaken: an older process may have woken up."""
    after = lake.state(view.table)
    if after is None or after.values.get("run") != run_id or not after.alone:
        raise ConcurrentRefreshError(
            f"view {view.name}: another refresh wrote it at the same time; run the refresh again, "
            "it computes the view anew before anything is published"
        )
    return after
