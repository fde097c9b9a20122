"""Lines of a feed: parsed strictly, validated, and refused with a reason."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import reduce

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs.bronze.parquet import read_rows
from jobs.bronze.texts import has_infinite, id_problems, id_text, is_too_deep, limit_problems
from tailrace.lake.session import small_frame
from tailrace.lake.storage import StoredFile, reported_path
from tailrace.schemas import ids, landing
from tailrace.schemas.landing import Feed
from tailrace.schemas.slots import EARLIEST, LATEST
from tailrace.schemas.tables import Column, Type

TEXT_KINDS = r"STRING|BIGINT|DECIMAL\(\d+,0\)"  # a whole number serves as a text, as its digits
WHOLE_NUMBER_KINDS = "BIGINT"
PROBLEM = "problem"
NOT_AN_OBJECT = "the line is not a JSON object"
OBJECT_KIND = "OBJECT<"  # and what it holds, in which a name may have line breaks


def judge(lines: DataFrame, feed: Feed, *, now: datetime) -> DataFrame:
    """Add the feed's columns and `reason` to lines that have a `value`.

    `reason` is null for a usable line and names the field for any other. `now` is the wall clock. A column `problem` has
    what was found in a line before, and is given up.
    """
    facts, names = list(feed.facts.values()), {fact.name: name for name, fact in feed.facts.items()}
    kinds = {f"kind_{fact.name}": kind_of(names[fact.name]) for fact in facts}
    texts = {f"text_{fact.name}": text_of(names[fact.name], feed) for fact in facts}
    parsed = parse(lines).withColumns(kinds).withColumns(texts).withColumns({fact.name: typed(fact) for fact in facts})
    found = [*line_problems(), *(p for fact in facts for p in problems(fact, names[fact.name], feed, now))]
    reasons = [F.when(condition, F.lit(text)) for condition, text in found]
    reason = F.coalesce(*([F.col(PROBLEM)] if PROBLEM in lines.columns else []), *reasons)
    kept = [name for name in lines.columns if name != PROBLEM]
    return parsed.select(*kept, *(fact.name for fact in facts), reason.alias("reason"))


def parse(lines: DataFrame) -> DataFrame:
    """Parse each line as JSON, strictly: the parser itself overlooks what follows the first value.

    Wrapped as `[…]` and as `{"v":…}`, trailing text, a second value or stray brackets break one or the other.
    """
    text = F.ltrim(F.col("value"), F.lit("\ufeff"))  # files from Windows may begin with a mark
    text = F.when(~is_too_deep(text), text)
    in_list = F.try_parse_json(F.concat(F.lit("["), text, F.lit("]")))
    in_object = F.try_parse_json(F.concat(F.lit('{"v":'), text, F.lit("}")))
    return lines.withColumns({"json": in_list, "again": in_object})


def line_problems() -> Iterator[tuple[SparkColumn, str]]:
    kind = F.schema_of_variant(F.expr("variant_get(json, '$[0]')"))
    is_unparsed = F.col("json").isNull() | F.col("again").isNull()
    yield ~F.is_valid_utf8("value"), "the line is not UTF-8"
    yield from limit_problems(F.when(is_unparsed, F.col("value")))
    yield is_unparsed, NOT_AN_OBJECT
    yield F.expr("variant_get(json, '$[1]') is not null"), NOT_AN_OBJECT
    yield ~F.coalesce(kind.startswith(OBJECT_KIND), F.lit(False)), NOT_AN_OBJECT


def problems(fact: Column, name: str, feed: Feed, now: datetime) -> Iterator[tuple[SparkColumn, str]]:
    """What can be wrong with one field, the first that applies being the reason given."""
    kind, text, value = F.col(f"kind_{fact.name}"), F.col(f"text_{fact.name}"), F.col(fact.name)
    given = kind.isNotNull() & (kind != "VOID")
    if name in feed.required:
        yield ~given, f"{name} is missing"
    if fact.name in landing.OBJECTS:
        yield given & ~kind.startswith(OBJECT_KIND), f"{name} is not a JSON object"
        says_infinity = text.rlike('"-?Infinity"')
        yield says_infinity & has_infinite(F.col("value")), f"{name} has a number beyond the range of 64 bits"
        return
    if fact.type is Type.INT64:
        yield given & ~kind.rlike(f"^({WHOLE_NUMBER_KINDS})$"), f"{name} is not a whole number"
        yield value < 0, f"{name} is negative"
        return
    if feed.is_id(name):
        yield given & text.isNull(), f"{name} {ids.NOT_TEXT}"
        for condition, problem in id_problems(text, may_be_empty=name not in feed.required):
            yield condition, f"{name} {problem}"
        return
    yield given & ~kind.rlike(f"^({TEXT_KINDS})$"), f"{name} is not text"
    if fact.type is Type.TIMESTAMP:
        yield given & value.isNull(), f"{name} is not an ISO 8601 time such as 2026-01-31T09:15:00Z"
        is_far = (value < F.lit(EARLIEST)) | (value >= F.lit(LATEST))
        yield is_far, f"{name} is not between the years {EARLIEST.year} and {LATEST.year - 1}"
        latest = now + timedelta(hours=landing.MAXIMUM_HOURS_AHEAD)
        yield value > F.lit(latest), f"{name} is more than {landing.MAXIMUM_HOURS_AHEAD} hours ahead of the clock"
        return
    if name in feed.required:
        yield F.length(text) == 0, f"{name} is empty"
    if name == "event_type":
        yield ~text.rlike(rf"^{landing.EVENT_TYPE}\z"), f"{name} does not match {landing.EVENT_TYPE}"


def typed(fact: Column) -> SparkColumn:
    text = F.col(f"text_{fact.name}")
    if fact.type is Type.TIMESTAMP:
        return F.when(text.rlike(rf"^({landing.TIME})\z"), text.try_cast("timestamp"))
    if fact.type is Type.INT64:
        return text.try_cast("bigint")
    return text


def kind_of(name: str) -> SparkColumn:
    """The JSON type of a field: null where it is absent, VOID where it is null."""
    return F.expr(f"schema_of_variant(variant_get(json, '$[0].{name}'))")


def text_of(name: str, feed: Feed) -> SparkColumn:
    text = F.expr(f"try_variant_get(json, '$[0].{name}', 'string')")
    return id_text(F.col(f"kind_{feed.facts[name].name}"), text) if feed.is_id(name) else text


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
