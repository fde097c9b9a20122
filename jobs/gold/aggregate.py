"""The full computation of a declarative view: the one definition of what its gold table holds."""

from collections.abc import Mapping
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.language import Count, Distinct, FeatureView, First, Last, NewestIs, Window
from features.language.aggregation import Aggregation


def aggregate(
    interactions: DataFrame, view: FeatureView, *, as_of: datetime, finer: Mapping[str, DataFrame]
) -> DataFrame:
    """Compute a view from `silver.INTERACTIONS` at `as_of`.

    A row exists where an interaction with occurred_at <= as_of counts. `finer` has the gold table of each
    view that this one counts rows of, refreshed to the same `as_of`.
    """
    happened = interactions.where(F.col("occurred_at") <= F.lit(as_of))
    own = [column for line in view.aggregations for column in columns_of(line, as_of)]
    rows = happened.groupBy(*view.keys).agg(F.count("*").alias("_interactions"), *own)
    rows = reduce(lambda left, name: add_distinct_counts(left, view, name, finer[name]), view.finer_views, rows)
    return rows.select(*view.table.columns)


def columns_of(line: Aggregation, as_of: datetime) -> list[Column]:
    """The aggregates over interactions that one line of a view declares."""
    if isinstance(line, Count):
        named = zip(line.features, line.windows, strict=True)
        return [F.count_if(is_of(line.types) & is_within(w, as_of)).alias(feature.name) for feature, w in named]
    if isinstance(line, First):
        return [F.min(F.when(is_of(line.types), F.col("occurred_at"))).alias(line.name)]
    if isinstance(line, Last):
        return [F.max(F.when(is_of(line.types), F.col("occurred_at"))).alias(line.name)]
    if isinstance(line, NewestIs):
        newest = F.max_by("event_type", F.struct("occurred_at", "event_id"))
        return [(newest == F.lit(line.type)).alias(line.name)]
    return []


def add_distinct_counts(rows: DataFrame, view: FeatureView, name: str, finer: DataFrame) -> DataFrame:
    """Join the counts of a finer view's rows that were active in each window."""
    lines = [line for line in view.aggregations if isinstance(line, Distinct) and line.rows_of == name]
    counts = [
        F.count_if(F.col(f"{line.active}_{window.name}") > 0).alias(feature.name)
        for line in lines
        for feature, window in zip(line.features, line.windows, strict=True)
    ]
    counted = finer.groupBy(*view.keys).agg(*counts)  # unique per key on both sides of the join
    joined = rows.join(counted, on=list(view.keys), how="left")
    return joined.fillna(0, subset=[feature.name for line in lines for feature in line.features])


def is_of(types: tuple[str, ...]) -> Column:
    return F.col("event_type").isin(*types) if types else F.lit(True)


def is_within(window: Window, as_of: datetime) -> Column:
    """A window W at T covers T - W < occurred_at <= T; that nothing is later than T is settled before."""
    return F.lit(True) if window.length is None else F.col("occurred_at") > F.lit(as_of - window.length)
