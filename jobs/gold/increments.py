"""What changed events change in a view's rows: signed rows, increments, and how a stored row takes them up."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import BatchView, Window
from tailrace.definitions.aggregations.gold_column import Upkeep
from tailrace.definitions.aggregations.sql import GAINED, LOST, SIGN, weight
from tailrace.lake.delta_log import BEFORE_IMAGES
from tailrace.lake.materialize import Materialized, to_join

FACTS = ("event_id", "event_type", "actor_id", "document_id", "occurred_at", "attributes")
ALL_TIME = Window("total", None)


def signed_interactions(
    interactions: DataFrame, changes: DataFrame | None, *, windows: Iterable[Window], since: datetime, until: datetime
) -> DataFrame:
    """Weigh `silver.INTERACTIONS` and its change feed between two refreshes.

    No `changes` means that silver is as it was. Columns: FACTS; per window, by `weight`, what the row adds to a
    count over it; and `gained`: +1 for an interaction that gold had not counted at all and now does, -1 for one that is
    lost to it, 0 for one that only crossed a window's edge.
    """
    crossed = interactions.where(crossed_an_edge(windows, since, until))
    edges = crossed.select(*FACTS, F.lit(1).alias("now"), F.lit(-1).alias("then"))
    signed = edges if changes is None else edges.unionByName(net_changes(changes, since))
    # Times stand in no other expression of a refresh: the code that Spark generates and the JVM compiles for the views
    # is then the same in each refresh.
    weights = [weight_in(window, since, until).alias(weight(window)) for window in sorted(windows, key=str)]
    return signed.select(*FACTS, *weights, weight_in(ALL_TIME, since, until).alias(GAINED))


def crossed_an_edge(windows: Iterable[Window], since: datetime, until: datetime) -> Column:
    """Whether a row left a window, or happened, after `since` and up to `until`."""
    lengths = sorted({window.length for window in windows if window.length is not None})
    edges = [(since, until), *((since - length, until - length) for length in lengths)]
    return reduce(or_, (is_between(after, up_to) for after, up_to in edges))


def is_between(after: datetime, up_to: datetime) -> Column:
    return (F.col("occurred_at") > F.lit(after)) & (F.col("occurred_at") <= F.lit(up_to))


def net_changes(changes: DataFrame, since: datetime) -> DataFrame:
    """What came and went among the interactions that counted at `since`; a re-delivery that says the same is neither."""
    sign = F.when(is_before_image(), -1).otherwise(1)
    counted = changes.where(F.col("occurred_at") <= F.lit(since))
    net = counted.groupBy(*FACTS).agg(F.sum(sign).cast("int").alias("then")).where("then <> 0")
    return net.select(*FACTS, F.lit(0).alias("now"), "then")


def is_before_image() -> Column:
    return F.col("_change_type").isin(*BEFORE_IMAGES)


def weight_in(window: Window, since: datetime, until: datetime) -> Column:
    now, then = (
        F.when(counts_at(window, time), F.col(w)).otherwise(0) for time, w in ((until, "now"), (since, "then"))
    )
    return now + then


def counts_at(window: Window, as_of: datetime) -> Column:
    happened = F.col("occurred_at") <= F.lit(as_of)
    return happened if window.length is None else happened & (F.col("occurred_at") > F.lit(as_of - window.length))


def increments(signed: DataFrame, view: BatchView, *, base_changes: Mapping[str, DataFrame | None]) -> DataFrame:
    """Gather a view's columns from signed interactions; keys, the columns that gather anything, and `LOST`.

    `base_changes` has the change feed of each view that this one counts rows of, None where nothing changed there.
    """
    rows = signed
    for name, changes in base_changes.items():
        lines = [line for line in view.aggregations if line.base_view == name]
        of_rows = {column.name: column.change for line in lines for column in line.columns if column.change}
        if changes is None:
            rows = rows.withColumns(dict.fromkeys(of_rows, F.lit(0)))
        else:
            sign = F.when(is_before_image(), -1).otherwise(1)
            changed = changes.withColumn(SIGN, sign).select(*view.keys, *named(of_rows))
            rows = rows.unionByName(changed, allowMissingColumns=True)
    gathered = named({column.name: column.increment for column in view.gold_columns if column.increment})
    lost = F.coalesce(F.max(F.col(GAINED) < 0), F.lit(False)).alias(LOST)
    folded = rows.groupBy(*view.keys).agg(*gathered, lost)
    added = [column.name for column in view.gold_columns if column.upkeep is Upkeep.ADDED]
    return folded.where(reduce(or_, (F.col(name) != 0 for name in added), F.col(LOST)))


def named(columns: Mapping[str, str]) -> list[Column]:
    """SQL expressions by the names of what they give."""
    return [F.expr(sql).alias(name) for name, sql in columns.items()]


def settle(increments_: Materialized, interactions: DataFrame, view: BatchView, *, as_of: datetime) -> DataFrame:
    """Compute what is to be settled of the keys that lost an interaction, counted as `LOST`, from those that survive."""
    columns = {column.name: column.full for column in view.gold_columns if column.upkeep is Upkeep.SETTLED}
    found = increments_.frame
    if not columns:
        return found
    lost = to_join(found.where(LOST).select(*view.keys), rows=increments_.counts[LOST])
    happened = interactions.where(F.col("occurred_at") <= F.lit(as_of))
    survivors = happened.join(lost, on=list(view.keys), how="left_semi")
    values = survivors.groupBy(*view.keys).agg(*named(columns))
    renamed = values.select(*view.keys, *(F.col(name).alias(f"_survivor_{name}") for name in columns))
    joined = found.join(renamed, on=list(view.keys), how="left")  # unique per key on both sides
    replaced = {name: F.when(F.col(LOST), F.col(f"_survivor_{name}")).otherwise(F.col(name)) for name in columns}
    return joined.withColumns(replaced).select(*found.columns)
