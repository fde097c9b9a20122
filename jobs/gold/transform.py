"""Views given by a PySpark transform: run it, and hold it to what its view declares."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.language import FeatureView


class TransformError(Exception):
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
    """Refuse null and repeated keys: a MERGE would insert each of them anew with every refresh."""
    missing = F.count_if(F.greatest(*(F.col(key).isNull().cast("int") for key in (*view.keys, view.keys[0]))) == 1)
    found = rows.agg(F.count("*").alias("rows"), F.countDistinct(*view.keys).alias("keys"), missing.alias("missing"))
    counts = found.first()
    if counts is None or counts.rows == counts["keys"]:
        return
    problem = "null" if counts.missing else "repeated"
    raise TransformError(
        f"view {view.name!r}: its transform returns {counts.rows} rows with {counts['keys']} different keys "
        f"({', '.join(view.keys)}), some are {problem}; return one row per key"
    )
