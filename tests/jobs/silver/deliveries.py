"""Silver rows as a load would leave them: delivered, delivered again, and gone."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import functions as F

from tailrace.lake import commit
from tailrace.lake.commit import Change
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table

DELIVERY: dict[str, Any] = {
    "delivered_at": datetime(2026, 3, 2, 10, 15, tzinfo=UTC),
    "file": "f",
    "line": 1,
    "batch": 1,
}
GONE = "_gone"


def deliver(
    lake: Lake, table: Table, rows: Iterable[Mapping[str, Any]], *, gone: Iterable[tuple[Any, ...]] = ()
) -> None:
    """Write rows of a silver table in one commit, each as an update where it is there, and remove those of some keys.

    By the commits of the product, which take fewer jobs than a merge of Delta's.
    """
    lake.create(table)
    every = [(False, DELIVERY | dict(row)) for row in rows]
    every += [(True, dict(zip(table.key, key, strict=True))) for key in gone]
    values = [(is_gone, *(row.get(name) for name in table.columns)) for is_gone, row in every]
    new = small_frame(lake.spark, values, f"{GONE} boolean, {table.ddl.replace(' NOT NULL', '')}")
    own = {name: f"new.`{name}`" for name in table.columns}
    change = Change(
        rows=F.broadcast(new),
        update=own,
        insert=own,
        differs="true",
        gone=f"new.{GONE}",
        exists=f"NOT new.{GONE}",
    )
    commit.rewrite(lake, table, change, state={"started_from": lake.version(table)})
