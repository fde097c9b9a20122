"""Commits of rows together with the state that they were computed from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from delta.exceptions import ConcurrentTransactionException
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame

from tailrace.lake.delta_log import CONFLICTS, committing, overtaken, read_entry, to_metadata
from tailrace.lake.materialize import materialized
from tailrace.lake.rewrite import Change, Transaction, rewrite
from tailrace.lake.tables import Lake, same_key
from tailrace.schemas.tables import Table


def amend(lake: Lake, table: Table, rows: DataFrame, *, same: str, stays: str, state: dict[str, Any]) -> None:
    """Replace the table's rows by `rows` of the same key, and remove those where `stays`, a condition on `new`, does not hold.

    `same` is a condition on `old` and `new` under which the table's row is still the one that is meant.
    """
    values: dict[str, str | Column] = {name: f"new.`{name}`" for name in table.columns}
    merge = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old")
    merger = merge.merge(rows.alias("new"), f"{same_key(table)} AND {same}")
    try:
        with committing(lake.spark, state):
            merger.whenMatchedUpdate(condition=stays, set=values).whenMatchedDelete().execute()
    except CONFLICTS as error:
        raise overtaken(table) from error


def append_numbered(lake: Lake, table: Table, rows: DataFrame, *, name: str, number: int) -> None:
    """Append rows; where this number was reached under this name, do nothing."""
    lake.create(table)
    writer = rows.select(*table.columns).write.format("delta").mode("append").option("mergeSchema", value=True)
    # Another process that appends under the same number at this moment appends the same rows.
    with suppress(ConcurrentTransactionException):
        lake.save_append(writer.option("txnAppId", name).option("txnVersion", number), table)


def numbers_reached(lake: Lake, table: Table) -> dict[str, int]:
    """The highest number under every name, which holds no NUL; no Spark job where the last commit has its summary."""
    if not lake.exists(table):
        return {}
    snapshot = lake.snapshot(table)
    text = read_entry(lake.spark, lake.path(table), int(snapshot.version()), kind="crc")
    summary = json.loads(text) if text else {}
    if "setTransactions" in summary:  # Delta leaves it out where there are very many
        return {one["appId"]: one["version"] for one in summary["setTransactions"]}
    pairs = snapshot.transactions().mkString("\0").split("\0")
    named = (pair.rpartition(" -> ") for pair in pairs if pair)  # as Scala writes a pair of a map
    return {name: int(number) for name, _, number in named}


def number_reached(lake: Lake, table: Table, *, name: str) -> int | None:
    """The highest number under a name; None before the first."""
    return numbers_reached(lake, table).get(name)


State = dict[str, Any]


def become(lake: Lake, table: Table, rows: DataFrame, *, state: State) -> None:
    """Make these rows the table's, touching only those that differ, nulls included.

    The commit's state counts them. A table whose columns are not those of the contract is
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
    with materialized(rows) as computed:
        lake.audit(table, computed)
        yield computed.frame


def replace_rows(lake: Lake, table: Table, rows: DataFrame, *, state: State) -> None:
    """Make audited rows the table's, by a merge, or by an overwrite where it is empty or has other columns."""
    before = rows_in(lake, table)
    same_columns = lake.read(table).dtypes == [(field.name, str(field.type)) for field in table.fields]
    if not before or not same_columns:
        # Not an append: of two first fills at once, Delta refuses one overwrite, but would take both appends.
        state = state | {"rows_before": 0}
        with exclusive(table):
            overwrite(lake, table, rows, state=state, new_columns=not same_columns)
        return
    others = [column for column in table.columns if column not in table.key]
    differs = " OR ".join(f"NOT (old.`{name}` <=> new.`{name}`)" for name in others)
    builder = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old").merge(rows.alias("new"), same_key(table))
    # Delta writes change rows for every matched row, equal or not, so the comparison stands in the clause.
    builder = builder.whenMatchedUpdateAll(condition=differs).whenNotMatchedInsertAll().whenNotMatchedBySourceDelete()
    with exclusive(table), committing(lake.spark, state | {"rows_before": before}, table=table.full_name):
        builder.execute()


def change(lake: Lake, table: Table, changes: Change, *, state: State) -> None:
    """Change the rows of some keys, and leave all others untouched."""
    rewrite(lake, table, changes, state=with_rows(lake, table, state))


def keep(lake: Lake, table: Table, *, state: State) -> None:
    """Commit a new state and leave the rows as they are."""
    Transaction(lake, table, state=with_rows(lake, table, state)).commit({})


def with_rows(lake: Lake, table: Table, state: State) -> State:
    """A state with the table's number of rows under `rows_before`; a caller who knows it has it there already."""
    return state if "rows_before" in state else state | {"rows_before": rows_in(lake, table)}


def rows_in(lake: Lake, table: Table) -> int:
    """How many rows a table of this module has; counted only if no commit says so."""
    state, version = lake.state(table), lake.version(table)
    if state is not None and state.exclusive and not lake.rows_written(table, after=state.version, up_to=version):
        return state.rows
    return lake.read(table).count() if version > 0 else 0


def overwrite(lake: Lake, table: Table, rows: DataFrame, *, state: State, new_columns: bool) -> None:
    """Replace all rows, and the columns if they are new."""
    writer = rows.write.format("delta").mode("overwrite").option("userMetadata", to_metadata(state))
    writer = writer.option("txnAppId", table.full_name).option("txnVersion", state["started_from"])
    writer.option("overwriteSchema", new_columns).save(lake.path(table))


@contextmanager
def exclusive(table: Table) -> Iterator[None]:
    """Raise `Overtaken` if another writer commits first."""
    try:
        yield
    except CONFLICTS as error:
        raise overtaken(table) from error
