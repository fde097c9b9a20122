"""Increments: one row per key of a declarative view that a refresh may change."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold.aggregate import columns_of
from jobs.gold.maintain import LOST, Maintained
from jobs.gold.signed import is_before_image
from tailrace.definitions import Distinct, FeatureView, First, Last, NewestIs
from tailrace.lake.held import Held, to_join


def increments(
    signed: DataFrame, view: FeatureView, columns: Sequence[Maintained], *, finer: Mapping[str, DataFrame | None]
) -> DataFrame:
    """Gather `columns` from signed interactions; keys, the columns that gather anything, and `LOST`.

    `finer` has the change feed of each view that this one counts rows of, None where nothing changed there.
    """
    rows = signed
    for name, changes in finer.items():
        flips = distinct_changes(view, name)
        if changes is None:
            rows = rows.withColumns(dict.fromkeys(flips, F.lit(0)))
        else:
            rows = rows.unionByName(changes.select(*view.keys, *named(flips)), allowMissingColumns=True)
    gathered = named({column.name: column.increment for column in columns if column.increment is not None})
    lost = F.coalesce(F.max(F.col("gained") < 0), F.lit(False)).alias(LOST)
    folded = rows.groupBy(*view.keys).agg(*gathered, lost)
    return folded.where(reduce(or_, (F.col(column.name) != 0 for column in columns if column.additive), F.col(LOST)))


def distinct_changes(view: FeatureView, name: str) -> dict[str, Column]:
    """Per distinct count of a finer view's rows, over its change feed: +1 for a row that is active, -1 for one that was."""
    sign = F.when(is_before_image(), -1).otherwise(1)
    lines = [line for line in view.aggregations if isinstance(line, Distinct) and line.rows_of == name]
    return {
        feature.name: F.when(F.col(f"{line.active}_{window.name}") > 0, sign).otherwise(0)
        for line in lines
        for feature, window in zip(line.features, line.windows, strict=True)
    }


def named(columns: Mapping[str, Column]) -> list[Column]:
    return [column.alias(name) for name, column in columns.items()]


def settle(increments_: Held, interactions: DataFrame, view: FeatureView, *, as_of: datetime) -> DataFrame:
    """Take first, last and newest of the keys that lost an interaction, counted as `LOST`, from those that survive."""
    lines = [line for line in view.aggregations if isinstance(line, First | Last | NewestIs)]
    columns = [column for line in lines for column in columns_of(line, as_of)]
    found = increments_.frame
    if not columns:
        return found
    lost = to_join(found.where(LOST).select(*view.keys), rows=increments_.counts[LOST])
    happened = interactions.where(F.col("occurred_at") <= F.lit(as_of))
    survivors = happened.join(lost, on=list(view.keys), how="left_semi")
    values = survivors.groupBy(*view.keys).agg(*columns)
    names = [name for name in values.columns if name not in view.keys]
    renamed = values.select(*view.keys, *(F.col(name).alias(f"_survivor_{name}") for name in names))
    joined = found.join(renamed, on=list(view.keys), how="left")  # unique per key on both sides
    replaced = {name: F.when(F.col(LOST), F.col(f"_survivor_{name}")).otherwise(F.col(name)) for name in names}
    return joined.withColumns(replaced).select(*found.columns)
