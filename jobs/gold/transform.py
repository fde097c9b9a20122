"""Views given by a PySpark transform: run it, and hold it to what its view declares."""

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import FeatureView
from tailrace.errors import DefinitionError


class TransformError(DefinitionError):
    """A transform's result that cannot become gold; the message names the view, the column and what to do."""


def transform(view: FeatureView, inputs: Mapping[str, DataFrame], *, as_of: datetime) -> DataFrame:
    """Run the view's transform over silver tables given by name, and check the columns and keys it returns."""
    rows = transform_unchecked(view, inputs, as_of=as_of)
    check_keys(view, rows)
    return rows


def transform_unchecked(view: FeatureView, inputs: Mapping[str, DataFrame], *, as_of: datetime) -> DataFrame:
    """The same, its keys not checked yet."""
    if view.transform is None:
        raise TransformError(f"view {view.name!r} declares aggregations, not a transform")
    rows: DataFrame = view.transform(**inputs, **({"as_of": as_of} if view.wants_as_of else {}))
    check_columns(view, rows)
    return rows.select(*view.table.columns)


def check_columns(view: FeatureView, rows: DataFrame) -> None:
    found = dict(rows.dtypes)
    for field in view.table.fields:
        if field.name not in found:
            raise TransformError(
                f"view {view.name!r}: its transform returns no column {field.name!r}, only {', '.join(found)}"
            )
        if found[field.name] != field.type:
            raise TransformError(
                f"view {view.name!r}: its transform returns {field.name!r} as {found[field.name]}, "
                f"declared is {field.type}; cast it"
            )


def check_keys(view: FeatureView, rows: DataFrame) -> None:
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
