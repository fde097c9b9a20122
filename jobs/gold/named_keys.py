"""A view of a transform brought forward by what changed: from the keys that its author names."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold.compute import TransformError, check_keys, differing_keys, transform_unchecked
from jobs.gold.incremental import Step
from tailrace.definitions import BatchView
from tailrace.lake import commit
from tailrace.lake.commit import Change
from tailrace.lake.session import ROWS, materialized, to_join
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table

# One refresh of so many checks one key of so many, others each time. A check reads all of gold and of the view's inputs,
# so few checks of many keys cost less than many checks of few.
SAMPLED = 8
EXISTS = "_exists"


def change_named(lake: Lake, view: BatchView, step: Step, *, tables: Sequence[Table], state: dict[str, Any]) -> None:
    """Compute the keys that the view's `changed_keys` names, and merge those that differ from gold.

    Raises `HistoryLost` where a change feed does not reach back to `step.before`, and `TransformError` where a
    sampled key changed that was not named; gold then stays as it was.
    """
    inputs = {table.name: lake.read(table, version=step.after[table.full_name].version) for table in tables}
    rows = transform_unchecked(view, inputs, as_of=step.until)
    with materialized(named_keys(lake, view, step, tables=tables)) as keys:
        turn = turn_of(state["started_from"])
        if turn % SAMPLED == 0:
            check_sample(lake, view, rows, keys.frame, part=turn // SAMPLED)
        named = rows.join(to_join(keys.frame, rows=keys.counts[ROWS]), on=list(view.keys), how="left_semi")
        found = keys.frame.join(named.withColumn(EXISTS, F.lit(True)), on=list(view.keys), how="left")
        with materialized(found) as due:
            check_keys(view, due.frame)
            changed = to_join(due.frame, rows=due.counts[ROWS])
            commit.change(lake, view.table, change_to(changed, view), state=state)


def named_keys(lake: Lake, view: BatchView, step: Step, *, tables: Sequence[Table]) -> DataFrame:
    """The keys that the view's author takes for changed, given the change feed of each table that the view reads."""
    changes: dict[str, DataFrame] = {}
    for table in tables:
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
    """A number that looks random: a table that changes every so many versions is checked all the same."""
    return crc32(str(version).encode())


def is_sampled(view: BatchView, part: int) -> Column:
    """Whether a key is in one part of `SAMPLED`."""
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
