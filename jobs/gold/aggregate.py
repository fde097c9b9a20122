"""The full computation of a declarative view: the one definition of what its gold table holds."""

from collections.abc import Mapping
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import Count, Distinct, FeatureView, First, Last, NewestIs, Sum, Window
from tailrace.definitions.aggregation import Aggregation
from tailrace.definitions.view import INTERACTIONS

# A number of any length; but not 1e-99999999, of which Java would write out every digit.
NUMBER = r"^[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]{1,2})?$"


def aggregate(
    interactions: DataFrame, view: FeatureView, *, as_of: datetime, finer: Mapping[str, DataFrame]
) -> DataFrame:
    """Compute a view from `silver.INTERACTIONS` at `as_of`.

    A row exists where an interaction with occurred_at <= as_of counts. `finer` has the gold table of each
    view that this one counts rows of, refreshed to the same `as_of`.
    """
    happened = interactions.where(F.col("occurred_at") <= F.lit(as_of))
    own = [column for line in view.aggregations for column in columns_of(line, as_of)]
    rows = happened.groupBy(*view.keys).agg(F.count("*").alias(INTERACTIONS.name), *own)
    rows = reduce(lambda left, name: add_distinct_counts(left, view, name, finer[name]), view.finer_views, rows)
    return rows.select(*view.table.columns)


def columns_of(line: Aggregation, as_of: datetime) -> list[Column]:
    """The aggregates over interactions that one line of a view declares."""
    if isinstance(line, Count):
        named = zip(line.features, line.windows, strict=True)
        return [F.count_if(is_of(line.types) & is_within(w, as_of)).alias(feature.name) for feature, w in named]
    if isinstance(line, Sum):
        return sums_of(line, as_of)
    if isinstance(line, First):
        return [F.min(F.when(is_of(line.types), F.col("occurred_at"))).alias(line.name)]
    if isinstance(line, Last):
        return [F.max(F.when(is_of(line.types), F.col("occurred_at"))).alias(line.name)]
    if isinstance(line, NewestIs):
        return newest_of(line)
    return []


def sums_of(line: Sum, as_of: datetime) -> list[Column]:
    columns = []
    for feature, state, window in zip(line.features, line.state, line.windows, strict=True):
        counted = F.when(is_of(line.types) & is_within(window, as_of), number_in(line)).otherwise(F.lit(0))
        exact = F.sum(counted).cast(state.type)
        columns += [exact.alias(state.name), exact.cast("double").alias(feature.name)]
    return columns


def number_in(line: Sum) -> Column:
    """The number that a line sums, as a decimal; 0 where the interaction has none."""
    text = F.get_json_object("attributes", f"$.{line.of}")
    number = F.when(text.rlike(NUMBER), text.try_cast("decimal(24,6)"))
    return F.coalesce(number, F.lit(0).cast("decimal(24,6)"))


def newest_of(line: NewestIs, *, among: Column | None = None) -> list[Column]:
    """Time, id and type of the newest interaction, or of the newest of those that fulfil a condition."""
    interaction = F.struct("occurred_at", "event_id", "event_type")  # an id has one type, so that it never decides
    newest = F.max(interaction if among is None else F.when(among, interaction))
    at, by = line.state
    return [
        newest["occurred_at"].alias(at.name),
        newest["event_id"].alias(by.name),
        (newest["event_type"] == F.lit(line.type)).alias(line.name),
    ]


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
