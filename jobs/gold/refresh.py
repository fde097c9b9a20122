"""Refresh gold to an as-of time: every view from the same pinned silver, finer views first."""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame

from contracts import silver
from contracts.slots import AsOfError, check_on_grid, to_text
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
    return {view.name: refresh_view(lake, definitions, view, pinned, as_of) for view in definitions.views.values()}


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


def refresh_view(
    lake: Lake, definitions: Definitions, view: FeatureView, pinned: dict[str, int], as_of: datetime
) -> Refreshed:
    began = time.monotonic()
    lake.create(view.table)
    started_from = lake.version(view.table)
    finer = {name: lake.version(definitions.views[name].table) for name in view.finer_views}
    inputs = {f"silver.{name}": pinned[name] for name in view.inputs} | {f"gold.{name}": v for name, v in finer.items()}
    run_id = uuid.uuid4().hex
    state = {"as_of": to_text(as_of), "inputs": inputs, "run": run_id}
    changed = lake.become(view.table, compute(lake, definitions, view, pinned, finer, as_of), state=state)
    check_alone(lake, view, started_from=started_from, run_id=run_id)
    rows = lake.read(view.table).count()
    return Refreshed(gold_rows=rows, changed=changed, seconds=time.monotonic() - began)


def compute(
    lake: Lake,
    definitions: Definitions,
    view: FeatureView,
    pinned: dict[str, int],
    finer: dict[str, int],
    as_of: datetime,
) -> DataFrame:
    """The full computation of a view from pinned versions of what it reads."""
    inputs = {table.name: lake.read(table, version=pinned[table.name]) for table in silver.TABLES}
    if view.transform is not None:
        return transform(view, {name: inputs[name] for name in view.inputs}, as_of=as_of)
    finer_gold = {name: lake.read(definitions.views[name].table, version=version) for name, version in finer.items()}
    return aggregate(inputs["interactions"], view, as_of=as_of, finer=finer_gold)


def check_alone(lake: Lake, view: FeatureView, *, started_from: int, run_id: str) -> None:
    """Notice, after the commit, a refresh that was overtaken: an older process may have woken up."""
    after = lake.state(view.table)
    alone = after is not None and after.values.get("run") == run_id
    if after is None or not alone or (after.read_version, after.version) != (started_from, started_from + 1):
        raise ConcurrentRefreshError(
            f"view {view.name}: another refresh wrote it at the same time; run the refresh again, "
            "it computes the view anew before anything is published"
        )
