"""Replace or remove rows that a table should not have had, and leave alone what another writer made of them since."""

from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame

from tailrace.lake.conflicts import CONFLICTS, overtaken
from tailrace.lake.state import committing
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
