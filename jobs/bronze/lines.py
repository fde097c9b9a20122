"""Read landed files as numbered lines."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs.bronze.parquet import read_rows
from tailrace.lake.session import small_frame
from tailrace.lake.storage import reported_path
from tailrace.lake.stored import StoredFile
from tailrace.schemas import landing
from tailrace.schemas.landing import Feed

# Spark reads a packed file in one task. From so many bytes on its lines are judged on all cores, which takes far longer
# than to read and to send them.
WORTH_SENDING = 2**20

LINES = "path string, line bigint, value string, problem string"


def read_lines(spark: SparkSession, files: Sequence[StoredFile], feed: Feed) -> DataFrame:
    """Read JSON and Parquet files as `path, line, value, problem`, the path escaped.

    A Parquet row becomes the JSON line it would have been; `problem` says what it would hide, and is null elsewhere.
    Raises `OddColumn` for Parquet whose columns are no use.
    """
    parquet = [file for file in files if is_parquet(file.name)]
    text = [file for file in files if not is_parquet(file.name)]
    frames = [number_lines(read_text(spark, text))] if text else []
    # One by one, because files written at different times need not have the same columns.
    frames += [read_parquet(spark, file, feed) for file in parquet]
    frames = frames or [small_frame(spark, [], LINES)]
    return reduce(DataFrame.unionByName, frames).where(F.col("value").rlike(r"\S"))


def spread(lines: DataFrame, files: Sequence[StoredFile]) -> DataFrame:
    """Lines of files, over all cores where one task reads many of them."""
    packed = (file.bytes for file in files if file.name.lower().endswith(".gz"))
    if max(packed, default=0) < WORTH_SENDING:
        return lines
    return lines.repartition(lines.sparkSession.sparkContext.defaultParallelism)


def is_parquet(name: str) -> bool:
    return name.lower().endswith(landing.PARQUET_SUFFIX)


def open_text(spark: SparkSession, files: Sequence[StoredFile]) -> DataFrame:
    """The lines of files, packed or not, as `value` and Spark's own `_metadata`."""
    return spark.read.option("lineSep", "\n").text([file.pattern for file in files])


def read_text(spark: SparkSession, files: Sequence[StoredFile]) -> DataFrame:
    return open_text(spark, files).select(
        F.regexp_replace("_metadata.file_path", "^[^:/]+:(//[^/]*)?", "").alias("path"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().alias("position"),
        "value",
    )


def number_lines(text: DataFrame) -> DataFrame:
    """Number lines from 1 within each file, though Spark reads a large file in several blocks at once."""
    blocks = text.groupBy("path", "block").agg(F.count("*").alias("lines"), F.min("position").alias("first"))
    before = Window.partitionBy("path").orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
    offsets = blocks.withColumn("offset", F.coalesce(F.sum("lines").over(before), F.lit(0)))
    numbered = text.join(F.broadcast(offsets), on=["path", "block"], how="inner")
    line = F.col("offset") + F.col("position") - F.col("first") + 1
    return numbered.select("path", line.alias("line"), "value", F.lit(None).cast("string").alias("problem"))


def read_parquet(spark: SparkSession, file: StoredFile, feed: Feed) -> DataFrame:
    return read_rows(spark, file, feed).select(
        F.lit(reported_path(spark, file)).alias("path"), "line", "value", "problem"
    )
