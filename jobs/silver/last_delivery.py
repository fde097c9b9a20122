"""The last delivery wins, in whatever order deliveries are processed."""

from collections.abc import Callable

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.bronze.set_aside import ASIDE, aside_version, has_files_to_take_back, last_read, left_in
from jobs.silver.excluded import TakenBack, take_back
from tailrace.lake.held import held
from tailrace.lake.tables import Lake
from tailrace.schemas.bronze import DELIVERY_ORDER
from tailrace.schemas.tables import Table


def merge_unread(lake: Lake, *, source: Table, target: Table, transform: Callable[[DataFrame], DataFrame]) -> TakenBack:
    """Merge the batches of a bronze table that silver has not read, and take back what files brought that were set aside since.

    The last batch read is silver's state, with the version of the files that are set aside.
    """
    before, newest, aside = last_read(lake, target), lake.last_appended(source), aside_version(lake)
    of_aside = {} if aside is None else {ASIDE: aside}
    back = TakenBack()
    if has_files_to_take_back(lake, target):
        lake.expect_rows()
        state = {"batch": before, **of_aside}
        back = take_back(lake, source=source, target=target, transform=transform, state=state)
    if newest == before:
        lake.create(target)
        return back
    lake.expect_rows()
    unread = lake.read(source).where((F.col("batch") > before) & (F.col("batch") <= newest))
    with held(transform(left_in(lake, unread, feed=source.name, version=aside))) as rows:
        lake.audit(target, rows, feed=source.name)
        lake.upsert(target, rows.frame, newer=is_newer(), state={"batch": newest, **of_aside})
    return back


def keep_last_delivery(deliveries: DataFrame, *, of: str) -> DataFrame:
    """One row per id in column `of`; the delivery order is unique, so that reruns agree."""
    newest_first = Window.partitionBy(of).orderBy(*(F.desc(column) for column in DELIVERY_ORDER))
    ranked = deliveries.withColumn("delivery", F.row_number().over(newest_first))
    return ranked.where("delivery = 1").drop("delivery")


def is_newer() -> str:
    """The condition under which a row replaces the one that silver holds."""
    new, old = (", ".join(f"{side}.{column}" for column in DELIVERY_ORDER) for side in ("new", "old"))
    return f"struct({new}) > struct({old})"
