"""The full computation of a declarative view: the one definition of what its gold table holds."""

from collections.abc import Mapping
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import FeatureView, Window
from tailrace.definitions.aggregations.sql import within
from tailrace.definitions.view import INTERACTIONS


def aggregate(
    interactions: DataFrame, view: FeatureView, *, as_of: datetime, finer: Mapping[str, DataFrame]
) -> DataFrame:
    """Compute a view from `silver.INTERACTIONS` at `as_of`.

    A row exists where an interaction with occurred_at <= as_of counts. `finer` has the gold table of each
    view that this one counts rows of, refreshed to the same `as_of`.
    """
    happened = interactions.where(F.col("occurred_at") <= F.lit(as_of))
    windows = [window for line in view.aggregations for window in line.windows]
    placed = happened.withColumns({within(window): is_within(window, as_of) for window in windows})
    own = [line for line in view.aggregations if line.base_view is None]
    columns = [F.expr(column.full).alias(column.name) for line in own for column in line.columns]
    rows = placed.groupBy(*view.keys).agg(F.count("*").alias(INTERACTIONS.name), *columns)
    rows = reduce(lambda left, name: add_of_base_view(left, view, name, finer[name]), view.finer_views, rows)
    return rows.select(*view.table.columns)


def add_of_base_view(rows: DataFrame, view: FeatureView, name: str, base_rows: DataFrame) -> DataFrame:
    """Join what is aggregated of a base view's rows; 0 where it has none of the key."""
    columns = [column for line in view.aggregations if line.base_view == name for column in line.columns]
    aggregates = [F.expr(column.full).alias(column.name) for column in columns]
    counted = base_rows.groupBy(*view.keys).agg(*aggregates)  # unique per key on both sides of the join
    joined = rows.join(counted, on=list(view.keys), how="left")
    return joined.fillna(0, subset=[column.name for column in columns])


def is_within(window: Window, as_of: datetime) -> Column:
    """A window W at T covers T - W < occurred_at <= T; that nothing is later than T is settled before."""
    return F.lit(True) if window.length is None else F.col("occurred_at") > F.lit(as_of - window.length)
