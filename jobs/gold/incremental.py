"""A view brought forward by what changed: from signed rows, or from the keys that a transform names."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any
from zlib import crc32

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold.compute import TransformError, check_keys, differing_keys, transform_unchecked
from jobs.gold.increments import increments, settle, signed_interactions
from tailrace.definitions import BatchView, Window
from tailrace.definitions.aggregations.gold_column import Upkeep
from tailrace.definitions.aggregations.sql import LOST
from tailrace.definitions.batch_view import INTERACTIONS
from tailrace.lake import commit
from tailrace.lake.delta_log import Pin
from tailrace.lake.materialize import ROWS, materialized, to_join
from tailrace.lake.rewrite import Change
from tailrace.lake.tables import Lake
from tailrace.schemas import silver
from tailrace.schemas.tables import Table


@dataclass(frozen=True, kw_only=True)
class Step:
    """From what gold was computed from to what it shall be computed from."""

    since: datetime
    until: datetime
    before: Mapping[str, Pin]
    after: Mapping[str, Pin]


@dataclass(frozen=True)
class SignedRows:
    """The signed interactions of one refresh, gathered once for all views that stand at the same point."""

    lake: Lake
    windows: frozenset[Window]
    gathered: dict[tuple[datetime, Pin], DataFrame] = field(default_factory=dict)
    gathering: Lock = field(default_factory=Lock)
    until_released: ExitStack = field(default_factory=ExitStack)

    def of(self, step: Step) -> DataFrame:
        with self.gathering:
            return self._of(step)

    def _of(self, step: Step) -> DataFrame:
        table = silver.INTERACTIONS
        before, after = step.before[table.full_name], step.after[table.full_name]
        if (step.since, before) not in self.gathered:
            rows = signed_interactions(
                self.lake.read(table, version=after.version),
                self.lake.changes_since(table, since=before, until=after),
                windows=self.windows,
                since=step.since,
                until=step.until,
            )
            self.gathered[step.since, before] = self.until_released.enter_context(materialized(rows)).frame
        return self.gathered[step.since, before]

    def release(self) -> None:
        self.until_released.close()


def add_changes(
    lake: Lake,
    view: BatchView,
    signed: SignedRows,
    step: Step,
    *,
    base_tables: Mapping[str, Table],
    state: dict[str, Any],
) -> None:
    """Add to a view's gold table what one step changes.

    Raises `HistoryLost` where a change feed does not reach from one end of the step to the other.
    """
    feeds = {
        name: lake.changes_since(table, since=step.before[table.full_name], until=step.after[table.full_name])
        for name, table in base_tables.items()
    }
    with materialized(
        increments(signed.of(step), view, base_changes=feeds), totals={LOST: F.col(LOST).cast("int")}
    ) as found:
        rows = found.frame
        if found.counts[LOST]:
            interactions = lake.read(silver.INTERACTIONS, version=step.after[silver.INTERACTIONS.full_name].version)
            rows = settle(found, interactions, view, as_of=step.until)
        if found.counts[ROWS]:
            rows = to_join(rows, rows=found.counts[ROWS])
            commit.change(lake, view.table, change_by(rows, view), state=state)
        else:
            commit.keep(lake, view.table, state=state)


def change_by(increments_: DataFrame, view: BatchView) -> Change:
    """What the increments of some keys do to a view's gold table."""
    columns = view.gold_columns
    differs = [
        f"new.{column.name} <> 0" if column.upkeep is Upkeep.ADDED else f"NOT (old.{column.name} <=> {column.merged})"
        for column in columns
    ]
    count = INTERACTIONS.name
    return Change(
        rows=increments_,
        update={column.name: column.merged for column in columns},
        insert={key: f"new.{key}" for key in view.keys} | {column.name: column.inserted for column in columns},
        differs=" OR ".join(differs),
        gone=f"old.{count} + new.{count} = 0",
        exists=f"new.{count} > 0",
    )


# One refresh of so many checks one key of so many, others each time. A check reads all of gold and of the view's inputs,
# so that few checks of many keys cost less than many of few.
SAMPLED = 8
EXISTS = "_exists"


def change_named(lake: Lake, view: BatchView, step: Step, *, state: dict[str, Any]) -> None:
    """Compute the keys that the view's `changed_keys` names, and merge those that differ from gold.

    Raises `HistoryLost` where a change feed does not reach back to `step.before`, and `TransformError` where a
    sampled key changed that was not named; gold then stays as it was.
    """
    inputs = {table.name: lake.read(table, version=step.after[table.full_name].version) for table in tables_of(view)}
    rows = transform_unchecked(view, inputs, as_of=step.until)
    with materialized(named_keys(lake, view, step)) as keys:
        turn = turn_of(state["started_from"])
        if turn % SAMPLED == 0:
            check_sample(lake, view, rows, keys.frame, part=turn // SAMPLED)
        named = rows.join(to_join(keys.frame, rows=keys.counts[ROWS]), on=list(view.keys), how="left_semi")
        found = keys.frame.join(named.withColumn(EXISTS, F.lit(True)), on=list(view.keys), how="left")
        with materialized(found) as due:
            check_keys(view, due.frame)
            changed = to_join(due.frame, rows=due.counts[ROWS])
            commit.change(lake, view.table, change_to(changed, view), state=state)


def named_keys(lake: Lake, view: BatchView, step: Step) -> DataFrame:
    """The keys that the view's author takes for changed, given the change feed of each table that the view reads."""
    changes: dict[str, DataFrame] = {}
    for table in tables_of(view):
        since, until = step.before[table.full_name], step.after[table.full_name]
        feed = lake.changes_since(table, since=since, until=until)
        changes[table.name] = (
            lake.changes(table, start=until.version, end=until.version).limit(0) if feed is None else feed
        )
    if view.changed_keys is None:
        raise TransformError(f"view {view.name!r} has no changed_keys")
    keys: DataFrame = view.changed_keys(**changes)
    missing = [key for key in view.keys if key not in keys.columns]
    if missing:
        raise TransformError(f"view {view.name!r}: its changed_keys returns no column {missing[0]!r}")
    return keys.select(*view.keys).dropna().distinct()


def tables_of(view: BatchView) -> list[Table]:
    return [table for table in silver.TABLES if table.name in view.inputs]


def check_sample(lake: Lake, view: BatchView, rows: DataFrame, keys: DataFrame, *, part: int) -> None:
    """Compare one in `SAMPLED` of the keys that were not named with gold; `part` chooses which."""
    sampled = (
        side.where(is_sampled(view, part)).join(keys, on=list(view.keys), how="left_anti")
        for side in (lake.read(view.table), rows)
    )
    missed = differing_keys(next(sampled), next(sampled), view.table).limit(3).collect()
    if missed:
        named = "; ".join(", ".join(map(str, key)) for key in missed)
        raise TransformError(
            f"view {view.name!r}: its changed_keys did not name {named}, which changed; correct it or leave it out, then "
            "refresh with --full"
        )


def turn_of(version: int) -> int:
    """A number that looks random, so that a table which changes every so many versions is checked all the same."""
    return crc32(str(version).encode())


def is_sampled(view: BatchView, part: int) -> Column:
    return F.pmod(F.xxhash64(*view.keys), F.lit(SAMPLED)) == part % SAMPLED


def change_to(rows: DataFrame, view: BatchView) -> Change:
    """Rows as they shall be, `EXISTS` null where there shall be none."""
    own = {name: f"new.{name}" for name in view.feature_names}
    return Change(
        rows=rows,
        update=own,
        insert=own | {key: f"new.{key}" for key in view.keys},
        differs=" OR ".join(f"NOT (old.{name} <=> new.{name})" for name in own),
        gone=f"new.{EXISTS} IS NULL",
        exists=f"new.{EXISTS}",
    )
