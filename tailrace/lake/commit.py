"""Commits of tables that refreshes maintain: the rows and the state they were computed from, once and together.

A state says under `started_from` which version it was computed from, and the commit is Delta's transaction of that
number. A process that was overtaken since then commits nothing, however late it wakes up, and says `Overtaken`; one
that was overtaken at the last moment is skipped by Delta, which takes a number once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame

from tailrace.lake.conflicts import CONFLICTS, overtaken
from tailrace.lake.held import held
from tailrace.lake.rewrite import Change, rewrite
from tailrace.lake.state import committing, to_metadata
from tailrace.lake.tables import Lake, same_key
from tailrace.lake.transaction import Transaction
from tailrace.schemas.tables import Table

State = dict[str, Any]


def become(lake: Lake, table: Table, rows: DataFrame, *, state: State) -> None:
    """Make the table hold exactly these rows, touching only those that differ, nulls included.

    The commit's state tells how many did. A table whose columns are not those of the contract is
    replaced, an empty one is filled.
    """
    if lake.version(table) != state["started_from"]:
        raise overtaken(table)
    with audited(lake, table, rows.select(*table.columns)) as good:
        replace_rows(lake, table, good, state=state)


@contextmanager
def audited(lake: Lake, table: Table, rows: DataFrame) -> Iterator[DataFrame]:
    """Rows that passed the gate, computed once; where there is no gate, as they are."""
    if lake.gate is None:
        yield rows
        return
    with held(rows) as computed:
        lake.audit(table, computed)
        yield computed.frame


def replace_rows(lake: Lake, table: Table, rows: DataFrame, *, state: State) -> None:
    before = rows_held(lake, table)
    same_columns = lake.read(table).dtypes == [(field.name, str(field.type)) for field in table.fields]
    if not before or not same_columns:
        # Not an append: of two first fills at once, Delta refuses one overwrite, but would take both appends.
        state = state | {"rows_before": 0}
        with alone(table):
            overwrite(lake, table, rows, state=state, new_columns=not same_columns)
        return
    others = [column for column in table.columns if column not in table.key]
    differs = " OR ".join(f"NOT (old.`{name}` <=> new.`{name}`)" for name in others)
    builder = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old").merge(rows.alias("new"), same_key(table))
    # Delta writes change rows for every matched row, equal or not, so the comparison stands in the clause.
    builder = builder.whenMatchedUpdateAll(condition=differs).whenNotMatchedInsertAll().whenNotMatchedBySourceDelete()
    with alone(table), committing(lake.spark, state | {"rows_before": before}, table=table.full_name):
        builder.execute()


def change(lake: Lake, table: Table, changes: Change, *, state: State) -> None:
    """Change the rows of some keys, and leave all others untouched."""
    rewrite(lake, table, changes, state=with_rows(lake, table, state))


def keep(lake: Lake, table: Table, *, state: State) -> None:
    """Commit a new state and leave the rows as they are."""
    Transaction(lake, table, state=with_rows(lake, table, state)).commit({})


def with_rows(lake: Lake, table: Table, state: State) -> State:
    """A state that tells under `rows_before` how many rows the table held; a caller who knows has it there already."""
    return state if "rows_before" in state else state | {"rows_before": rows_held(lake, table)}


def rows_held(lake: Lake, table: Table) -> int:
    """How many rows a table of this module holds; counted only where no commit tells."""
    state, version = lake.state(table), lake.version(table)
    if state is not None and state.alone and not lake.rows_written(table, after=state.version, up_to=version):
        return state.rows
    return lake.read(table).count() if version > 0 else 0


def overwrite(lake: Lake, table: Table, rows: DataFrame, *, state: State, new_columns: bool) -> None:
    writer = rows.write.format("delta").mode("overwrite").option("userMetadata", to_metadata(state))
    writer = writer.option("txnAppId", table.full_name).option("txnVersion", state["started_from"])
    writer.option("overwriteSchema", new_columns).save(lake.path(table))


@contextmanager
def alone(table: Table) -> Iterator[None]:
    try:
        yield
    except CONFLICTS as error:
        raise overtaken(table) from error
