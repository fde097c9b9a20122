"""The full computation of a view: aggregations over silver, or its transform; and how its rows are compared."""

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import BatchView, Definitions, Window
from tailrace.definitions.aggregations.sql import meets, within
from tailrace.definitions.batch_view import INTERACTIONS
from tailrace.errors import DefinitionError
from tailrace.lake.delta_log import Pin
from tailrace.lake.session import is_met
from tailrace.lake.tables import Lake
from tailrace.schemas import ids
from tailrace.schemas.tables import Table, Type


def countable(events: DataFrame, view: BatchView) -> DataFrame:
    """The events that count in some row of a view, those that meet its condition and have its keys; each with whether it
    meets the conditions of the view's aggregations.
    """
    nullable = {column.name: column.type for column in view.event_source.facts if column.nullable}
    if view.where is not None:
        events = events.where(is_met(view.where))
    for column in (entity.column for entity in view.entities if entity.column in nullable):
        events = events.where(is_id(column) if nullable[column] is Type.STRING else F.col(column).isNotNull())
    return events.withColumns({meets(line.where): is_met(line.where) for line in view.aggregations if line.where})


def is_id(column: str) -> Column:
    """Whether a text can be an id, as `tailrace.schemas.ids` says; one that became a key later was not checked at landing."""
    text = F.col(column)
    return text.isNotNull() & F.octet_length(text).between(1, ids.MAXIMUM_BYTES) & ~text.rlike(ids.CONTROL.pattern)


def by_key(view: BatchView) -> list[Column]:
    """The columns of a source that rows of a view are grouped by, named as its keys."""
    return [F.col(entity.column).alias(entity.key) for entity in view.entities]


def aggregate(events: DataFrame, view: BatchView, *, as_of: datetime, base_rows: Mapping[str, DataFrame]) -> DataFrame:
    """Compute a view from the silver table of its source at `as_of`.

    A row exists where an event that happened up to then counts. `base_rows` has the gold table of each view that this
    one counts rows of, refreshed to the same `as_of`.
    """
    time = view.event_source.words.time
    happened = countable(events.where(F.col(time) <= F.lit(as_of)), view)
    windows = [window for line in view.aggregations for window in line.windows]
    placed = happened.withColumns({within(window): is_within(window, as_of, time=time) for window in windows})
    own = [line for line in view.aggregations if line.base_view is None]
    columns = [F.expr(column.full).alias(column.name) for line in own for column in view.columns_of(line)]
    rows = placed.groupBy(*by_key(view)).agg(F.count("*").alias(INTERACTIONS.name), *columns)
    rows = reduce(lambda left, name: add_of_base_view(left, view, name, base_rows[name]), view.base_views, rows)
    return rows.select(*view.table.columns)


def add_of_base_view(rows: DataFrame, view: BatchView, name: str, base_rows: DataFrame) -> DataFrame:
    """Join what is aggregated of a base view's rows; 0 where it has none of the key."""
    columns = [column for line in view.aggregations if line.base_view == name for column in view.columns_of(line)]
    aggregates = [F.expr(column.full).alias(column.name) for column in columns]
    counted = base_rows.groupBy(*view.keys).agg(*aggregates)  # unique per key on both sides of the join
    joined = rows.join(counted, on=list(view.keys), how="left")
    return joined.fillna(0, subset=[column.name for column in columns])


def is_within(window: Window, as_of: datetime, *, time: str) -> Column:
    """A window W at T covers T - W < time <= T; that nothing is later than T is settled before."""
    return F.lit(True) if window.length is None else F.col(time) > F.lit(as_of - window.length)


class TransformError(DefinitionError):
    """A transform's result that cannot become gold; the message names the view, the column and what to do."""


def transform(view: BatchView, inputs: Mapping[str, DataFrame], *, as_of: datetime) -> DataFrame:
    """Run the view's transform over silver tables given by name, and check the columns and keys it returns."""
    rows = transform_unchecked(view, inputs, as_of=as_of)
    check_keys(view, rows)
    return rows


def transform_unchecked(view: BatchView, inputs: Mapping[str, DataFrame], *, as_of: datetime) -> DataFrame:
    """The same, its keys not checked yet."""
    if view.transform is None:
        raise TransformError(f"view {view.name!r} declares aggregations, not a transform")
    rows: DataFrame = view.transform(**inputs, **({"as_of": as_of} if view.wants_as_of else {}))
    check_columns(view, rows)
    return rows.select(*view.table.columns)


def check_columns(view: BatchView, rows: DataFrame) -> None:
    """Raise `TransformError` for a column that is missing or of another type."""
    found = dict(rows.dtypes)
    for field in view.table.fields:
        if field.name not in found:
            raise TransformError(
                f"view {view.name!r}: its transform returns no column {field.name!r}, only {', '.join(found)}"
            )
        if found[field.name] != field.type.info.sql:
            raise TransformError(
                f"view {view.name!r}: its transform returns {field.name!r} as {found[field.name]}, "
                f"declared is {field.type.info.sql}; cast it"
            )


def check_keys(view: BatchView, rows: DataFrame) -> None:
    """Refuse null and repeated keys: each of them would become a row of its own."""
    per_key = rows.groupBy(*view.keys).agg(F.count("*").alias("rows"))
    missing = reduce(or_, (F.col(key).isNull() for key in view.keys))
    wrong = per_key.where(missing | (F.col("rows") > 1)).first()
    if wrong is not None:
        named = ", ".join(str(wrong[key]) for key in view.keys)
        raise TransformError(
            f"view {view.name!r}: its transform returns {wrong.rows} rows for the key {named} ({', '.join(view.keys)}); "
            "return one row per key, and none for a key that is null"
        )


def differing_keys(gold: DataFrame, computed: DataFrame, table: Table) -> DataFrame:
    """The keys whose rows differ, nulls included, or that only one side has."""
    both = [rows.select(*table.columns, F.lit(sign).alias("side")) for rows, sign in ((gold, 1), (computed, -1))]
    # Grouping takes nulls for equal, and shuffles once where a join would sort both sides.
    unpaired = both[0].unionByName(both[1]).groupBy(*table.columns).agg(F.sum("side").alias("side")).where("side <> 0")
    return unpaired.select(*table.key).distinct()


def inputs_of(view: BatchView, definitions: Definitions) -> list[str]:
    """The full names of the tables that a view reads."""
    base_tables = [definitions.batch_views[name].table for name in view.base_views]
    return [table.full_name for table in (*definitions.inputs_of(view), *base_tables)]


def compute(
    lake: Lake,
    definitions: Definitions,
    view: BatchView,
    pins: Mapping[str, Pin],
    *,
    as_of: datetime,
    base_rows: Mapping[str, DataFrame],
) -> DataFrame:
    """The rows of a view at `as_of`; `base_rows` has those of the views that it counts rows of."""
    tables = definitions.inputs_of(view)
    rows = {table.name: lake.read(table, version=pins[table.full_name].version) for table in tables}
    if view.transform is not None:
        return transform(view, rows, as_of=as_of)
    [events] = rows.values()
    return aggregate(events, view, as_of=as_of, base_rows=base_rows)
