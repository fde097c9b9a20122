"""Increments: one row per key of a declarative view that a refresh may change."""

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold.signed import is_before_image
from tailrace.definitions import FeatureView
from tailrace.definitions.aggregations.gold_column import Upkeep
from tailrace.definitions.aggregations.sql import GAINED, LOST, SIGN
from tailrace.lake.held import Held, to_join


def increments(signed: DataFrame, view: FeatureView, *, finer: Mapping[str, DataFrame | None]) -> DataFrame:
    """Gather a view's columns from signed interactions; keys, the columns that gather anything, and `LOST`.

    `finer` has the change feed of each view that this one counts rows of, None where nothing changed there.
    """
    rows = signed
    for name, changes in finer.items():
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


def settle(increments_: Held, interactions: DataFrame, view: FeatureView, *, as_of: datetime) -> DataFrame:
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
