"""Commits of tables that refreshes maintain: the rows and the state they were computed from, once and together.

A state says under `started_from` which version it was computed from, and the commit is Delta's transaction of that
number. A process that was overtaken since then commits nothing, however late it wakes up: Delta skips a number
already reached.
"""

from collections.abc import Mapping
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame

from contracts.tables import Table
from lake.session import small_frame
from lake.state import committing, to_metadata
from lake.tables import Lake, same_key

State = dict[str, Any]


def become(lake: Lake, table: Table, rows: DataFrame, *, state: State) -> None:
    """Make the table hold exactly these rows, touching only those that differ, nulls included.

    The commit's state tells how many did. A table whose columns are not those of the contract is
    replaced, an empty one is filled.
    """
    rows = rows.select(*table.columns)
    held = rows_held(lake, table)
    same_columns = lake.read(table).dtypes == [(field.name, str(field.type)) for field in table.fields]
    if not held or not same_columns:
        # Not an append: of two first fills at once, Delta refuses one overwrite, but would take both appends.
        state = state | {"rows_before": 0}
        write(lake, table, rows, mode="overwrite", state=state, new_columns=not same_columns)
        return
    others = [column for column in table.columns if column not in table.key]
    differs = " OR ".join(f"NOT (old.`{name}` <=> new.`{name}`)" for name in others)
    builder = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old").merge(rows.alias("new"), same_key(table))
    # Delta writes change rows for every matched row, equal or not, so the comparison stands in the clause.
    builder = builder.whenMatchedUpdateAll(condition=differs).whenNotMatchedInsertAll().whenNotMatchedBySourceDelete()
    with committing(lake.spark, state | {"rows_before": held}, table=table.full_name):
        builder.execute()


def merge(
    lake: Lake,
    table: Table,
    rows: DataFrame,
    *,
    update: Mapping[str, str],
    insert: Mapping[str, str],
    differs: str,
    gone: str,
    exists: str,
    state: State,
) -> None:
    """Change the rows that some keys have, `old`, by what `rows` tells of these keys, `new`; SQL over both.

    A row goes where `gone`, changes where `differs`, and a key without a row gets one where `exists`.
    """
    state = state | {"rows_before": rows_held(lake, table)}
    builder = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old").merge(rows.alias("new"), same_key(table))
    builder = builder.whenMatchedDelete(condition=gone).whenMatchedUpdate(condition=differs, set=dict(update))
    builder = builder.whenNotMatchedInsert(condition=exists, values=dict(insert))
    with committing(lake.spark, state, table=table.full_name):
        builder.execute()


def keep(lake: Lake, table: Table, *, state: State) -> None:
    """Commit a new state and leave the rows as they are."""
    state = state | {"rows_before": rows_held(lake, table)}
    write(lake, table, small_frame(lake.spark, [], table.ddl), mode="append", state=state)


def rows_held(lake: Lake, table: Table) -> int:
    """How many rows a table of this module holds; counted only where no commit tells."""
    state = lake.state(table)
    if state is not None and state.alone:
        return state.rows
    return lake.read(table).count() if lake.version(table) > 0 else 0


def write(lake: Lake, table: Table, rows: DataFrame, *, mode: str, state: State, new_columns: bool = False) -> None:
    writer = rows.write.format("delta").mode(mode).option("userMetadata", to_metadata(state))
    writer = writer.option("txnAppId", table.full_name).option("txnVersion", state["started_from"])
    writer.option("overwriteSchema", new_columns).save(lake.path(table))
