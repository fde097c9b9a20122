"""Read landed Parquet by the columns that a feed names, whatever else the file has."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    LongType,
    MapType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from tailrace.errors import DataError
from tailrace.lake.session import java_class
from tailrace.lake.storage import StoredFile
from tailrace.schemas.landing import Feed

NANOS = "spark.sql.legacy.parquet.nanosAsLong"
CONVERTER = "org.apache.spark.sql.execution.datasources.parquet.ParquetToSparkSchemaConverter"
# What the converter asks for, and the reader of Spark as this project sets it up.
CONVERSION = {
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.int96AsTimestamp": "true",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.caseSensitive": "true",
    NANOS: "false",
}
MICROS = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"
TIMES = {"timestampFormat": f"{MICROS}XXX", "timestampNTZFormat": MICROS}
READABLE = (StringType, BooleanType, NumericType, DateType, TimestampType, TimestampNTZType)
FRACTIONS = (FloatType, DoubleType)


class OddColumn(DataError, ValueError):
    """A column that a feed names and that cannot be read as it is; the message names it and says what to do."""


@dataclass(frozen=True)
class ParquetColumns:
    """The columns of one file that a feed names, and those among them that count nanoseconds since 1970."""

    schema: StructType
    nanoseconds: frozenset[str]


def parquet_columns(spark: SparkSession, file: StoredFile, feed: Feed) -> ParquetColumns:
    """The columns of a file that its feed names; raises `OddColumn` where the type of one makes the file no use."""
    footer = _footer(spark, file)
    names = [field.getName() for field in footer.getFields()]
    fields, nanoseconds = [], set()
    for name in feed.names:
        alike = sorted(one for one in names if one.lower() == name.lower())
        if name not in alike:
            continue
        if len(alike) > 1:
            raise OddColumn(f"the columns {' and '.join(alike)} differ in upper and lower case only; rename one")
        field = _converted(spark, footer, name, nanoseconds=False)
        if field is None:
            field = _converted(spark, footer, name, nanoseconds=True)
            nanoseconds.add(name)
        is_odd = field is None or (name in nanoseconds and not isinstance(field.dataType, LongType))
        if field is None or is_odd or not all(isinstance(leaf, READABLE) for leaf in _leaves(field.dataType)):
            raise OddColumn(
                f"the column {name} is of a type that is not read ({_spelled(footer, name)}); write it as text, "
                "times in microseconds"
            )
        fields.append(field)
    return ParquetColumns(StructType(fields), frozenset(nanoseconds))


def read_rows(spark: SparkSession, file: StoredFile, feed: Feed) -> DataFrame:
    """Read a file as `line, value, problem`: each row as the JSON line it would have been, and what is wrong with it.

    Raises `OddColumn` as `parquet_columns` does.
    """
    columns = parquet_columns(spark, file, feed)
    rows = spark.read.schema(columns.schema).parquet(file.pattern)
    named = [
        _time_of(name) if name in columns.nanoseconds else F.col(column_name(name)) for name in columns.schema.names
    ]
    found = [found for field in columns.schema.fields for found in column_problems(field)]
    return rows.select(
        (F.col("_metadata.row_index") + 1).alias("line"),
        (F.to_json(F.struct(*named), TIMES) if named else F.lit("{}")).alias("value"),
        F.coalesce(*found, F.lit(None).cast("string")).alias("problem"),
    )


def _footer(spark: SparkSession, file: StoredFile) -> Any:
    """The schema of a file as Parquet itself describes it."""
    path = java_class(spark, "org.apache.hadoop.fs.Path")(file.path)
    settings = spark._jsc.hadoopConfiguration()
    source = java_class(spark, "org.apache.parquet.hadoop.util.HadoopInputFile").fromPath(path, settings)
    reader = java_class(spark, "org.apache.parquet.hadoop.ParquetFileReader").open(source)
    try:
        return reader.getFooter().getFileMetaData().getSchema()
    finally:
        reader.close()


def _converted(spark: SparkSession, footer: Any, name: str, *, nanoseconds: bool) -> StructField | None:
    """A column as Spark has it, None where Spark has no such type."""
    settings = java_class(spark, "org.apache.hadoop.conf.Configuration")(False)
    for key, value in (CONVERSION | {NANOS: str(nanoseconds).lower()}).items():
        settings.set(key, value)
    only: Any = java_class(spark, "java.util.ArrayList")()
    only.add(footer.getType(name))
    message = java_class(spark, "org.apache.parquet.schema.MessageType")("column", only)
    try:
        described = java_class(spark, CONVERTER)(settings).convert(message).json()
        return StructType.fromJson(json.loads(described)).fields[0]
    except (Py4JJavaError, PySparkException, ValueError):  # the latter for a type that Python does not know
        return None


def _spelled(footer: Any, name: str) -> str:
    """A column's type in Parquet's words, on one line."""
    return " ".join(str(footer.getType(name)).split()).removeprefix("optional ").removeprefix("required ")


def _leaves(kind: DataType) -> Iterator[DataType]:
    """The types of single values inside a type."""
    if isinstance(kind, StructType):
        for field in kind.fields:
            yield from _leaves(field.dataType)
    elif isinstance(kind, ArrayType):
        yield from _leaves(kind.elementType)
    elif isinstance(kind, MapType):
        yield from _leaves(kind.keyType)
        yield from _leaves(kind.valueType)
    else:
        yield kind


def column_problems(field: StructField) -> Iterator[Column]:
    """What can be wrong with a column's value before it becomes text, which hides it."""
    value = F.col(column_name(field.name))
    text = _everywhere(value, field.dataType, StringType, F.is_valid_utf8)
    if text is not None:
        yield F.when(~text, F.lit(f"{field.name} is not UTF-8"))
    number = _everywhere(value, field.dataType, FRACTIONS, _is_finite)
    if number is not None:
        yield F.when(~number, F.lit(f"{field.name} holds NaN or an infinity, which JSON has no word for"))


def _is_finite(number: Column) -> Column:
    return ~F.isnan(number) & (F.abs(number) != F.lit(float("inf")))


def _everywhere(
    value: Column,
    kind: DataType,
    kinds: type[DataType] | tuple[type[DataType], ...],
    is_well: Callable[[Column], Column],
) -> Column | None:
    """Whether all values of a type within a value are well, what is null being well; None where it has none of the type."""

    def inside(part: DataType) -> bool:
        return any(isinstance(leaf, kinds) for leaf in _leaves(part))

    def all_of(list_: Column, part: DataType) -> Column | None:
        return F.forall(list_, lambda one: every(one, part)) if inside(part) else None

    def every(column: Column, part: DataType) -> Column:
        if isinstance(part, StructType):
            return _all(every(column.getField(one.name), one.dataType) for one in part.fields if inside(one.dataType))
        if isinstance(part, ArrayType):
            return _all([F.forall(column, lambda one: every(one, part.elementType))])
        if isinstance(part, MapType):
            keys, values = all_of(F.map_keys(column), part.keyType), all_of(F.map_values(column), part.valueType)
            return _all(side for side in (keys, values) if side is not None)
        return F.coalesce(is_well(column), F.lit(True))

    return F.coalesce(every(value, kind), F.lit(True)) if inside(kind) else None


def _all(conditions: Iterable[Column]) -> Column:
    return reduce(and_, (F.coalesce(one, F.lit(True)) for one in conditions))


def _time_of(name: str) -> Column:
    """Nanoseconds since 1970 as a time, less the part of a microsecond."""
    nanos = column_name(name)
    return F.expr(f"timestamp_micros(({nanos} - pmod({nanos}, 1000)) div 1000)").alias(name)


def column_name(name: str) -> str:
    """A name of a column, whatever it holds, as SQL has it."""
    return f"`{name.replace('`', '``')}`"
