"""Rows of a Delta table by the rules of landing: each column is what the top of a line would be, without becoming text."""

from collections.abc import Iterator
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    MapType,
    NumericType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    VariantType,
)

from jobs.bronze.lines import validate_parsed
from jobs.bronze.parquet import column_name, column_problems
from tailrace.lake.foreign_table import SIGN, TableUnreadable
from tailrace.schemas.landing import FeedField, TableFeed
from tailrace.schemas.tables import Type

REASON = "reason"
RAW = "raw"
LANDED_TIME = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"
WHOLE = (ByteType, ShortType, IntegerType, LongType)
OF_ANY_TYPE = (VariantType, MapType)  # inside of these each row says its own
OBJECTS = (StructType, MapType, VariantType)
READABLE: dict[Type, tuple[type[DataType], ...]] = {
    Type.STRING: (StringType, *WHOLE, DecimalType),
    Type.INT64: WHOLE,
    Type.FLOAT64: (NumericType,),
    Type.BOOL: (BooleanType,),
    Type.DATE: (DateType, StringType),
    Type.TIMESTAMP: (TimestampType, TimestampNTZType, StringType),
}


def check_columns(schema: StructType, source: TableFeed) -> None:
    """Raise `TableUnreadable` where the table lacks a column that the source names, or has another kind of type there."""
    for one in source.feed.fields:
        here = f"source {source.feed.name!r}, field {one.column.name!r}: the table at {source.path}"
        found = type_at(schema, one.path)
        if found is None:
            raise TableUnreadable(
                f"{here} has no column {one.name!r}; it has {', '.join(schema.names)}. Declare the field otherwise, or leave it out"
            )
        if not is_readable(found, one):
            what = "an object" if one.is_object else one.column.type.name
            raise TableUnreadable(
                f"{here} has {one.name!r} as {found.simpleString()}, which is not read as {what}; declare the field as what it is"
            )


def type_at(schema: DataType, path: tuple[str | int, ...]) -> DataType | None:
    """The type of what lies at a path, upper and lower case being one in a table's own names; None where nothing does."""
    found: DataType | None = schema
    for depth, part in enumerate(path):
        if isinstance(found, OF_ANY_TYPE):
            return VariantType()
        if isinstance(found, StructType) and isinstance(part, str):
            names = {(one.name if depth else one.name.lower()): one.dataType for one in found.fields}
            found = names.get(part if depth else part.lower())
        elif isinstance(found, ArrayType) and isinstance(part, int):
            found = found.elementType
        else:
            return None
    return found


def is_readable(type_: DataType, field: FeedField) -> bool:
    """Whether values of a type can be those of a field."""
    if isinstance(type_, VariantType):
        return True
    if field.is_object:
        return isinstance(type_, OBJECTS)
    if isinstance(type_, DecimalType) and type_.scale and field.column.type is Type.STRING:
        return False
    if field.unit and isinstance(type_, NumericType):
        return True
    return isinstance(type_, READABLE[field.column.type])


def validated(rows: DataFrame, source: TableFeed, *, now: datetime) -> DataFrame:
    """The feed's columns of each row, `REASON` where a rule is broken, and then the row as `RAW`; `SIGN` stays where it is there."""
    columns = top_columns(rows.schema, source)
    row = F.struct(
        *(as_landed(F.col(column_name(one.name)), one.dataType).alias(name) for name, one in columns.items())
    )
    kept = [SIGN] if SIGN in rows.columns else []
    parsed = rows.select(
        *kept,
        F.to_variant_object(F.array(row)).alias("_json"),
        F.to_json(row).alias(RAW),
        F.lit(None).cast("string").alias("value"),
        F.coalesce(*problems(columns), F.lit(None).cast("string")).alias("problem"),
    )
    checked = validate_parsed(parsed, source.feed, now=now, kept=[*kept, RAW])
    return checked.withColumn(RAW, F.when(F.isnotnull(REASON), F.col(RAW)))


def top_columns(schema: StructType, source: TableFeed) -> dict[str, StructField]:
    """The table's columns that the source names, by the names it gives them; a table has no two that differ by case only."""
    there = {one.name.lower(): one for one in schema.fields}
    return {name: there[name.lower()] for name in source.feed.names if name.lower() in there}


def problems(columns: dict[str, StructField]) -> Iterator[Column]:
    for one in columns.values():
        yield from column_problems(one)


def as_landed(value: Column, type_: DataType) -> Column:
    """A value with its times and dates as lines have them: texts, of which that of a time without a zone names none."""
    if isinstance(type_, TimestampType):
        return F.date_format(value, f"{LANDED_TIME}XXX")
    if isinstance(type_, TimestampNTZType):
        return F.date_format(value, LANDED_TIME)
    if isinstance(type_, DateType):
        return value.cast("string")
    if isinstance(type_, StructType):
        inside = (as_landed(value.getField(one.name), one.dataType).alias(one.name) for one in type_.fields)
        return F.when(value.isNotNull(), F.struct(*inside))
    if isinstance(type_, ArrayType):
        return F.transform(value, lambda one: as_landed(one, type_.elementType))
    return value
