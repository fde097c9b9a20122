"""Appends under a name and a rising number, each of which a table takes once."""

from contextlib import suppress

from delta.exceptions import ConcurrentTransactionException
from pyspark.sql import DataFrame

from contracts.tables import Table
from lake.tables import Lake


def append_numbered(lake: Lake, table: Table, rows: DataFrame, *, name: str, number: int) -> None:
    """Append rows; where this number was reached under this name, do nothing."""
    lake.create(table)
    writer = rows.select(*table.columns).write.format("delta").mode("append").option("mergeSchema", value=True)
    # Another process that appends under the same number at this moment appends the same rows.
    with suppress(ConcurrentTransactionException):
        writer.option("txnAppId", name).option("txnVersion", number).save(lake.path(table))


def number_reached(lake: Lake, table: Table, *, name: str) -> int | None:
    """The highest number under a name; None before the first."""
    if not lake.exists(table):
        return None
    reached = lake.snapshot(table).transactions().get(name)
    return int(reached.get()) if reached.isDefined() else None
