"""The last delivery wins, in whatever order deliveries are processed."""

from collections.abc import Callable

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contracts.bronze import DELIVERY_ORDER
from contracts.tables import Table
from jobs.bronze.set_aside import last_read, left_in
from lake.held import held
from lake.tables import Lake


def merge_unread(lake: Lake, *, source: Table, target: Table, transform: Callable[[DataFrame], DataFrame]) -> None:
    """Merge the batches of a bronze table that silver has not read; the last batch read is silver's state."""
    before = last_read(lake, target)
    newest = lake.last_appended(source)
    if newest == before:
        lake.create(target)
        return
    lake.expect_rows()
    unread = lake.read(source).where((F.col("batch") > before) & (F.col("batch") <= newest))
    with held(transform(left_in(lake, unread, feed=source.name))) as rows:
        lake.audit(target, rows, feed=source.name)
        lake.upsert(target, rows.frame, newer=is_newer(), state={"batch": newest})


def keep_last_delivery(deliveries: DataFrame, *, of: str) -> DataFrame:
    """One row per id in column `of`; the delivery order is unique, so that reruns agree."""
    newest_first = Window.partitionBy(of).orderBy(*(F.desc(column) for column in DELIVERY_ORDER))
    ranked = deliveries.withColumn("delivery", F.row_number().over(newest_first))
    return ranked.where("delivery = 1").drop("delivery")


def is_newer() -> str:
    """The condition under which a row replaces the one that silver holds."""
    new, old = (", ".join(f"{side}.{column}" for column in DELIVERY_ORDER) for side in ("new", "old"))
    return f"struct({new}) > struct({old})"
