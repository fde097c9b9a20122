"""Refresh gold to an as-of time: every view from the same pinned silver, base views first."""

import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.gold.compute import compute, inputs_of
from jobs.gold.incremental import SignedRows, Step, add_changes
from jobs.gold.named_keys import change_named
from tailrace.definitions import BatchView, Definitions
from tailrace.errors import ConflictError
from tailrace.lake import commit
from tailrace.lake.delta_log import HistoryLost, Overtaken, Pin, State
from tailrace.lake.tables import AT_ONCE, Lake
from tailrace.schemas.slots import AsOfError, check_on_grid, to_text
from tailrace.schemas.tables import Table

UNCHANGED = "unchanged"
INCREMENTAL = "incremental"
FULL = "full"
OPTIONAL = {"settled_keys", "uncounted"}  # figures that are left out where they are 0 or empty


class ConcurrentRefreshError(ConflictError):
    """Another refresh wrote the same view at the same time; the message names it and what to do."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """One view after a refresh: how it was done, its rows, how many keys now differ from before, and the seconds.

    `why` is what made a full computation necessary. `settled_keys` is of how many keys something was computed from the events
    that survive, as what they had was lost. `uncounted` has, by the name of an aggregation, how many events
    have a value that does not count in it, if there are any.
    """

    how: str
    why: str | None
    gold_rows: int
    changed: int
    seconds: float
    settled_keys: int = 0
    uncounted: Mapping[str, int] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: value for name, value in asdict(self).items() if value or name not in OPTIONAL}


def run(lake: Lake, definitions: Definitions, *, as_of: datetime, full: bool = False) -> dict[str, Refreshed]:
    """Refresh all views; each table's state is committed with it.

    `full` computes every view anew, and allows an `as_of` before gold's.
    """
    views = definitions.batch_views.values()
    for view in views:
        lake.create(view.table)
    # Every view goes on from what it is now: a refresh that another one passes from here on commits nothing more.
    starts = {view.name: lake.pin(view.table) for view in views}
    states = {view.name: lake.state(view.table, version=starts[view.name].version) for view in views}
    if full:
        check_on_grid(as_of)
    else:
        check_not_before(states, as_of)
    pins = {table.full_name: lake.pin(table) for table in definitions.silver_tables.values()}
    refresh = Refresh(lake, definitions, pins, starts, states, as_of, full, SignedRows(lake, tuple(views)))
    try:
        return refresh.bring_all()
    finally:
        refresh.signed.release()


def check_as_of(lake: Lake, views: Iterable[BatchView], as_of: datetime) -> None:
    """Refuse a time off the grid, and one before a view's own; the same time again is allowed."""
    check_not_before({view.name: lake.state(view.table) for view in views}, as_of)


def check_not_before(states: Mapping[str, State | None], as_of: datetime) -> None:
    """Raise `AsOfError` for a time off the grid, or before that of a state."""
    check_on_grid(as_of)
    for name, state in states.items():
        newest = as_of_in(state) if state else None
        if newest and newest > as_of:
            raise AsOfError(
                f"view {name} is already refreshed to {to_text(newest)}, after {to_text(as_of)}; "
                f"refresh to {to_text(newest)} or later, or compute everything anew at the earlier time with --full"
            )


@dataclass(frozen=True, kw_only=True)
class Written:
    """How a view was brought to its as-of, as `Refreshed` has it."""

    how: str
    why: str | None = None
    settled_keys: int = 0


@dataclass(frozen=True)
class Refresh:
    """One refresh. `pins` has the version of each table that views read: silver's from the start, a view's when it is done.

    `starts` has each view's own table as it was when the refresh began, `states` the state it carried.
    """

    lake: Lake
    definitions: Definitions
    pins: dict[str, Pin]
    starts: Mapping[str, Pin]
    states: Mapping[str, State | None]
    as_of: datetime
    full: bool
    signed: SignedRows

    def bring_all(self) -> dict[str, Refreshed]:
        """Bring every view to the as-of, several at once, each after the base views whose rows it counts."""
        views = self.definitions.batch_views
        order = TopologicalSorter({name: view.base_views for name, view in views.items()})
        order.prepare()
        done: dict[str, Refreshed] = {}
        running: dict[Future[Refreshed], str] = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while order.is_active():
                running |= {pool.submit(self.bring_in_own_session, views[name]): name for name in order.get_ready()}
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    done[name] = future.result()
                    order.done(name)
        return {name: done[name] for name in views}

    def bring_in_own_session(self, view: BatchView) -> Refreshed:
        """Bring one view in a Spark session of its own: options of one view reach no other."""
        return replace(self, lake=self.lake.in_own_session()).bring(view)

    def bring(self, view: BatchView) -> Refreshed:
        """Bring one view to the as-of; where its inputs are what they were, only its state moves."""
        began = time.monotonic()
        start, before = self.starts[view.name], self.states[view.name]
        expected = self.expected(view)
        if before and is_current(before, expected) and start.version == before.version and not self.full:
            after, written = before, Written(how=UNCHANGED)
        else:
            state = expected | {"run": uuid.uuid4().hex, "started_from": start.version}
            try:
                written = self.write(view, before, state)
            except Overtaken as error:
                raise overtaken(view) from error
            after = check_exclusive(self.lake, view, run_id=state["run"])
        self.pins[view.table.full_name] = Pin(start.table_id, after.version, after.commit)
        changed = 0 if written.how == UNCHANGED else after.changed
        uncounted = uncounted_in(view, self.lake.read(view.table, version=after.version))
        seconds = time.monotonic() - began
        return Refreshed(**asdict(written), gold_rows=after.rows, changed=changed, seconds=seconds, uncounted=uncounted)

    def expected(self, view: BatchView) -> dict[str, Any]:
        """What the view's table will have been computed from."""
        inputs = {name: asdict(self.pins[name]) for name in inputs_of(view, self.definitions)}
        return {"as_of": to_text(self.as_of), "inputs": inputs, "definition": self.definitions.fingerprint(view)}

    def write(self, view: BatchView, before: State | None, state: dict[str, Any]) -> "Written":
        """Commit the view at the as-of, by what changed if that is known."""
        why = self.why_full(view, before, state)
        if before and not why:
            state = state | {"rows_before": before.rows}
            if not view.wants_as_of and before.values["inputs"] == state["inputs"]:
                commit.keep(self.lake, view.table, state=state)
                return Written(how=INCREMENTAL)
            try:
                if view.transform is None or view.changed_keys:
                    return Written(how=INCREMENTAL, settled_keys=self.bring_forward(view, before, state))
                why = "a transform without changed_keys"
            except HistoryLost as error:
                why = str(error)
        base_rows = {name: self.read_pinned(table) for name, table in self.base_tables(view).items()}
        rows = compute(self.lake, self.definitions, view, self.pins, as_of=self.as_of, base_rows=base_rows)
        commit.become(self.lake, view.table, rows, state=state)
        return Written(how=FULL, why=why)

    def why_full(self, view: BatchView, before: State | None, state: dict[str, Any]) -> str | None:
        """What rules out to go on from gold's rows."""
        if self.full:
            return "asked for"
        if before is None:
            return "nothing was computed before"
        if not self.definitions.is_of(before.values.get("definition"), view):
            return "the definition changed"
        if not before.exclusive:
            return "the last refresh was overtaken by another"
        if self.lake.rows_written(view.table, after=before.version, up_to=state["started_from"]):
            return "something else than a refresh wrote to it"
        return None

    def read_pinned(self, table: Table) -> DataFrame:
        """A table at the version that this refresh reads."""
        return self.lake.read(table, version=self.pins[table.full_name].version)

    def bring_forward(self, view: BatchView, before: State, state: dict[str, Any]) -> int:
        """Commit what one step changes; returns how many keys were settled."""
        step = Step(since=as_of_in(before), until=self.as_of, before=pins_in(before), after=self.pins)
        if view.changed_keys:
            change_named(self.lake, view, step, tables=self.definitions.inputs_of(view), state=state)
            return 0
        return add_changes(self.lake, view, self.signed, step, base_tables=self.base_tables(view), state=state)

    def base_tables(self, view: BatchView) -> dict[str, Table]:
        """The gold tables of a view's base views."""
        return {name: self.definitions.batch_views[name].table for name in view.base_views}


def uncounted_in(view: BatchView, rows: DataFrame) -> dict[str, int]:
    """By the name of an aggregation, how many events have a value that does not count in it; without zeros."""
    columns = {line.name: line.uncounted.name for line in view.aggregations if line.uncounted}
    if not columns:
        return {}
    [found] = rows.agg(*(F.sum(column).alias(name) for name, column in columns.items())).collect()
    return {name: int(count) for name, count in found.asDict().items() if count}


def as_of_in(state: State) -> datetime:
    """The time that a state was computed for."""
    return datetime.fromisoformat(state.values["as_of"])


def pins_in(state: State) -> dict[str, Pin]:
    """The version of each table that a view was computed from."""
    return state.inputs


def is_current(state: State, expected: dict[str, Any]) -> bool:
    """Whether a table was computed from just this, by a refresh that nothing overtook."""
    return state.exclusive and all(state.values.get(name) == value for name, value in expected.items())


def check_exclusive(lake: Lake, view: BatchView, *, run_id: str) -> State:
    """Notice, after the commit, a refresh that was overtaken: Delta skipped it, or it landed on another's version."""
    after = lake.state(view.table)
    if after is None or after.values.get("run") != run_id or not after.exclusive:
        raise overtaken(view)
    return after


def overtaken(view: BatchView) -> ConcurrentRefreshError:
    """The error of a refresh that another one overtook."""
    return ConcurrentRefreshError(
        f"view {view.name}: another refresh wrote it at the same time; run the refresh again once the other is done"
    )
