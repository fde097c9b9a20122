"""The history of a view's values: recorded before they are written to the store, confirmed when they are."""

from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks.protocol import SUPPRESS
from tailrace.definitions import FeatureView
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import history
from tailrace.schemas.slots import from_micros


def record(lake: Lake, view: FeatureView, changes: DataFrame, *, sequence: int, push: str, as_of: int) -> None:
    """Append what a push, which `push` names, is about to write."""
    table = history.table(view.name)
    rows = changes.where(F.col("action") != SUPPRESS).select(
        F.lit(sequence).cast("bigint").alias("sequence"),
        "item_key",
        "value",
        F.lit(from_micros(as_of)).alias("as_of"),
        F.lit(datetime.now(UTC)).alias("recorded_at"),
        F.lit(None).cast("string").alias("outcome"),
        F.lit(None).cast("string").alias("backfill"),
        F.lit(push).alias("push"),
        F.lit(None).cast("timestamp").alias("acknowledged_at"),
    )
    lake.append(table, rows)


def confirm(lake: Lake, view: FeatureView, *, sequence: int, push: str, as_of: int) -> None:
    """Say that the store has acknowledged all of a push."""
    table = history.table(view.name)
    row = (sequence, None, None, from_micros(as_of), datetime.now(UTC), history.CONFIRMED, None, push, None)
    lake.append(table, small_frame(lake.spark, [row], table.ddl))


def last_sequence(lake: Lake, view: FeatureView) -> int:
    """The highest sequence recorded; 0 where there is none."""
    if not lake.exists(history.table(view.name)):
        return 0
    return int(of_pushes(lake, view).agg(F.max("sequence")).collect()[0][0] or 0)


def has_record(lake: Lake, view: FeatureView, sequence: int, *, push: str) -> bool:
    """Whether a push's record is there; a history that was removed, or put back from a copy, may have lost it."""
    if not lake.exists(history.table(view.name)):
        return False
    return not keys_of(lake, view).where((F.col("sequence") == sequence) & (F.col("push") == push)).isEmpty()


def open_keys(lake: Lake, view: FeatureView, *, after: int | None) -> DataFrame | None:
    """The keys recorded under sequences after one, or where that is None, under those never confirmed; None if none."""
    if not lake.exists(history.table(view.name)):
        return None
    keys = keys_of(lake, view)
    if after is None:
        confirmed = of_pushes(lake, view).where("outcome IS NOT NULL").select("sequence", "push").alias("confirmed")
        same = F.expr("recorded.sequence = confirmed.sequence AND recorded.push <=> confirmed.push")
        keys = keys.alias("recorded").join(confirmed, on=same, how="left_anti")
    else:
        keys = keys.where(F.col("sequence") > after)
    keys = keys.select("item_key").distinct()
    return None if keys.isEmpty() else keys


def keys_of(lake: Lake, view: FeatureView) -> DataFrame:
    return of_pushes(lake, view).where("item_key IS NOT NULL").select("sequence", "push", "item_key")


def of_pushes(lake: Lake, view: FeatureView) -> DataFrame:
    """What pushes recorded."""
    rows = lake.read_as_promised(history.table(view.name))
    return rows.where(F.isnull("backfill") & ~F.col("push").eqNullSafe(history.DIRECT_WRITE))
