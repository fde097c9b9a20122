"""Read landed CSV by its header line, whatever other columns the file has: each row becomes the JSON line it would have been."""

import csv
import io
import json
from collections import Counter

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.bronze.lines import is_one_value
from jobs.bronze.parquet import OddColumn
from tailrace.lake import storage
from tailrace.lake.storage import StoredFile
from tailrace.schemas.landing import Feed, FeedField
from tailrace.schemas.tables import Type

HEAD = 64 * 1024  # bytes that a header line has at most
MARK = b"\xef\xbb\xbf"
BYTES = "ISO-8859-1"  # each byte a character: what is not UTF-8 is found afterwards, and not replaced
CORRUPT = "_corrupt"
MISSING = "\x01"  # what Spark puts in place of nothing, which then is not an empty text
ROWS = {"header": "true", "multiLine": "true", "escape": '"', "mode": "PERMISSIVE", "columnPruning": "false"}
ROWS |= {"nullValue": MISSING}
ROW_BITS = 2**33 - 1
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\z"
NUMBERS = (Type.INT64, Type.FLOAT64)


def header_of(head: bytes) -> list[str]:
    """The names in the first line of a file that begins like this; none where there is no such line."""
    rows = csv.reader(io.StringIO(head.decode("utf-8-sig", "replace"), newline=""))
    return [name.strip() for name in next((row for row in rows if row), [])]


def header_problem(names: list[str], feed: Feed) -> str | None:
    """Why rows under a header line with these names are no use to a feed, None where they are."""
    counts = Counter(names)
    twice = [name for name in feed.names if counts[name] > 1]
    if twice:
        return f"the header line names {twice[0]} twice; rename one"
    missing = [
        name for name in dict.fromkeys(str(one.path[0]) for one in feed.fields if one.required) if name not in names
    ]
    if missing or not counts.keys() & set(feed.names):
        lacks = ", ".join(missing or feed.names)
        return f"the header line lacks {lacks}; let the first line name the columns, separated by commas"
    return None


def read_csv(spark: SparkSession, file: StoredFile, feed: Feed) -> DataFrame:
    """Read a file as `line, value, problem`: each row as the JSON line it would have been, and what is wrong with it.

    Rows are counted from 1 below the header line. Raises `OddColumn` for a header line that is no use.
    """
    head = first_bytes(spark, file)
    names = header_of(head)
    problem = header_problem(names, feed) if names else None
    if problem:
        raise OddColumn(problem)
    schema = StructType([StructField(f"_{number}", StringType()) for number in range(len(names))])
    # A mark has Spark read the file as UTF-8, whatever it is asked to.
    options = {**ROWS, "columnNameOfCorruptRecord": CORRUPT, "encoding": "UTF-8" if head.startswith(MARK) else BYTES}
    rows = spark.read.options(**options).schema(schema.add(CORRUPT, StringType())).csv(file.pattern)
    # One task reads a file from its beginning; above these bits is the number of the task.
    numbered = rows.withColumn("line", F.monotonically_increasing_id().bitwiseAND(ROW_BITS) + 1)
    if not head.startswith(MARK):
        numbered = numbered.withColumns({name: F.encode(name, BYTES).cast("string") for name in schema.names})
    return as_lines(numbered, names, feed, may_be_replaced=head.startswith(MARK))


def first_bytes(spark: SparkSession, file: StoredFile) -> bytes:
    """The first bytes of a file's content."""
    is_packed = file.name.lower().endswith(".gz")
    return (storage.unpack if is_packed else storage.head)(spark, file.path, size=HEAD)


def as_lines(rows: DataFrame, names: list[str], feed: Feed, *, may_be_replaced: bool) -> DataFrame:
    """Rows of texts in the order of a header line as `line, value, problem`.

    `may_be_replaced` says that Spark put a mark of its own in place of what is not UTF-8.
    """
    columns = {name: F.col(f"_{names.index(name)}") for name in feed.names if name in names}
    parts = [
        F.concat(F.lit(f"{json.dumps(name)}:"), json_of(cell, [one for one in feed.fields if one.path[0] == name]))
        for name, cell in columns.items()
    ]
    value = F.concat(F.lit("{"), F.concat_ws(",", *parts), F.lit("}"))
    is_broken = F.col(CORRUPT).isNotNull()
    problems = [F.when(is_broken, F.lit(f"the row has not {len(names)} values, as the header line has"))]
    for name, cell in columns.items():
        is_odd = cell.contains("\ufffd") if may_be_replaced else ~F.is_valid_utf8(cell)
        problems.append(F.when(is_odd, F.lit(f"{name} is not UTF-8")))
    return rows.select(
        "line",
        F.when(is_broken, F.col(CORRUPT)).otherwise(value).alias("value"),
        F.coalesce(*problems).alias("problem"),
    )


def json_of(cell: Column, fields: list[FeedField]) -> Column:
    """What a JSON line would have in place of a cell, by the fields that are read from it; null for an empty cell."""
    wrapped = F.to_json(F.struct(cell.alias("v")))
    text = F.when(cell.isNotNull(), wrapped.substr(F.lit(len('{"v":') + 1), F.length(wrapped) - len('{"v":}')))
    if any(len(one.path) > 1 or one.is_object for one in fields):
        return F.when(cell.rlike(r"^\s*[{\[]") & is_one_value(cell), cell).otherwise(text)
    if any(one.column.type in NUMBERS or one.unit for one in fields):
        return F.when(cell.rlike(NUMBER), cell).otherwise(text)
    if any(one.column.type is Type.BOOL for one in fields):
        return F.when(F.lower(cell).isin("true", "false"), F.lower(cell)).otherwise(text)
    return text
