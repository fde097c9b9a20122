"""Read landed files as numbered lines."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from contracts import landing
from lake.session import small_frame
from lake.storage import StoredFile, reported_path


def read_lines(spark: SparkSession, files: Sequence[StoredFile]) -> DataFrame:
    """Read JSON and Parquet files as `path, line, value`, the path escaped; a Parquet row becomes the JSON line it would have been."""
    parquet = [file for file in files if file.name.lower().endswith(landing.PARQUET_SUFFIX)]
    text = [file.pattern for file in files if file not in parquet]
    frames = [number_lines(read_text(spark, text))] if text else []
    # One by one, because files written at different times need not have the same columns.
    frames += [read_parquet(spark, file) for file in parquet]
    frames = frames or [small_frame(spark, [], "path string, line bigint, value string")]
    return reduce(DataFrame.unionByName, frames).where(F.col("value").rlike(r"\S"))


def read_text(spark: SparkSession, patterns: list[str]) -> DataFrame:
    text = spark.read.option("lineSep", "\n").text(patterns)
    return text.select(
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
    return numbered.select("path", (F.col("offset") + F.col("position") - F.col("first") + 1).alias("line"), "value")


def read_parquet(spark: SparkSession, file: StoredFile) -> DataFrame:
    rows = spark.read.parquet(file.pattern)
    micros = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"
    time_format = {"timestampFormat": f"{micros}XXX", "timestampNTZFormat": micros}
    return rows.select(
        F.lit(reported_path(spark, file)).alias("path"),
        (F.col("_metadata.row_index") + 1).alias("line"),
        F.to_json(F.struct("*"), time_format).alias("value"),
    )
