"""Appends under a name and a rising number, each of which a table takes once."""

import json
from contextlib import suppress

from delta.exceptions import ConcurrentTransactionException
from pyspark.sql import DataFrame

from tailrace.lake.log import read_entry
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table


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
