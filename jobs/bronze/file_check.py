"""Landed files: recognised by their content, checked before they are claimed, and read as lines."""

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs.bronze import csv_rows, parquet
from jobs.bronze.csv_rows import header_of, header_problem
from jobs.bronze.parquet import OddColumn
from tailrace.lake import storage
from tailrace.lake.session import small_frame
from tailrace.lake.storage import StoredFile, reported_path
from tailrace.schemas import landing
from tailrace.schemas.landing import Feed

HEAD = 64 * 1024  # bytes that are looked at

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
BYTES = {
    GZIP: "gzip",
    PARQUET: "Parquet",
    b"PARE": "encrypted Parquet",
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"{\x00": "UTF-16",
    b"\x00{": "UTF-16",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"PK\x03\x04": "a ZIP archive",
    b"\xfd7zXZ\x00": "xz",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"SQLite format 3\x00": "a SQLite database",
    b"%PDF-": "PDF",
}
WAYS = {
    "gzip": "unpack it, or end its name in .jsonl.gz",
    "Parquet": "end its name in .parquet",
    "encrypted Parquet": "land it without encryption",
    "UTF-16": "write it as UTF-8",
    "UTF-32": "write it as UTF-8",
}
AS_LINES = "write each object on a line of its own"
BLANK = " \t\r\n\ufeff"
DECODER = json.JSONDecoder()


def why_not_lines(head: bytes, *, is_whole: bool) -> str | None:
    """Why a file of JSON lines that begins like this is refused as a whole, None where each line speaks for itself.

    `is_whole` says that there is nothing after these bytes.
    """
    kind = kind_of(head)
    if kind:
        return f"the file holds {kind}, not JSON lines; {WAYS.get(kind, 'convert it to JSON lines or Parquet')}"
    shape = shape_of(head.decode("utf-8", "replace"), is_whole=is_whole)
    return f"the file holds {shape}, not JSON lines; {AS_LINES}" if shape else None


def why_not_gzip(head: bytes) -> str | None:
    """Why a file whose name says gzip is refused by its first bytes."""
    if head.startswith(GZIP):
        return None
    kind = kind_of(head)
    content = f"{kind}, not gzip" if kind else "no gzip"
    return f"the file holds {content}; end its name in what it is (.jsonl, .parquet), or compress it"


def why_not_parquet(head: bytes) -> str | None:
    """Why a file whose name says Parquet is refused by its first bytes."""
    if head.startswith(PARQUET):
        return None
    kind = kind_of(head)
    content = f"{kind}, not Parquet" if kind else "no Parquet"
    return f"the file holds {content}; end its name in what it is (.jsonl, .jsonl.gz), or write it again"


def why_not_csv(head: bytes, feed: Feed) -> str | None:
    """Why a file of CSV that begins like this is refused as a whole."""
    kind = kind_of(head)
    if kind:
        return f"the file holds {kind}, not CSV; {WAYS.get(kind, 'convert it to CSV, JSON lines or Parquet')}"
    if head.decode("utf-8", "replace").lstrip(BLANK)[:1] in {"{", "["}:
        return "the file holds JSON, not CSV; end its name in .jsonl, each object on a line of its own"
    return header_problem(header_of(head), feed)


def kind_of(head: bytes) -> str | None:
    """What bytes that are no JSON begin with, None where that is not known."""
    if not head:
        return "nothing"
    return next((kind for first, kind in BYTES.items() if head.startswith(first)), None)


def shape_of(text: str, *, is_whole: bool) -> str | None:
    """The shape of JSON that does not go by lines, None where it does or where it is not JSON."""
    text = text.lstrip(BLANK)
    if text.startswith("\x1e"):
        return "a JSON text sequence"
    first, _, rest = text.partition("\n")
    is_all_of_it = is_whole and not rest.strip(BLANK)
    value, end = decode(first)
    if end is None:
        return spread_shape(text, is_whole=is_whole)
    if first[end:].strip(BLANK):
        return several_shape(first, end) if is_all_of_it else None
    return "a JSON array" if is_all_of_it and is_list_of_objects(value) else None


def spread_shape(text: str, *, is_whole: bool) -> str | None:
    """The shape of what begins with a line that is not JSON by itself."""
    value, end = decode(text)
    if end is None and not is_whole:  # cut off by the end of the head
        opened = text[1:].lstrip(BLANK)[:1]
        if text[:1] == "[" and opened in {"{", "["}:
            return "a JSON array"
        return "an object over several lines" if text[:1] == "{" and text[1:].lstrip(" \t\r")[:1] == "\n" else None
    if isinstance(value, list):
        return "a JSON array"
    return "an object over several lines" if isinstance(value, dict) else None


def several_shape(line: str, end: int) -> str | None:
    """The shape of a single line that has more behind its first value."""
    value, _ = decode(line[end:].lstrip(BLANK))
    if not isinstance(value, dict):
        return None
    return "lines that end in CR only" if line[end] == "\r" else "objects one behind the other"


def is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(one, dict) for one in value)


def decode(text: str) -> tuple[Any, int | None]:
    """The JSON value at the beginning of a text and where it ends, or no end where there is none."""
    try:
        return DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None, None


UNREADABLE = (Py4JJavaError, PySparkException, OddColumn)
PACKED = ".gz"
SUFFIXES = (*landing.LINE_SUFFIXES, landing.PARQUET_SUFFIX, *landing.CSV_SUFFIXES)
FORMATS = (
    f"JSON lines ({', '.join(landing.LINE_SUFFIXES)}) nor Parquet ({landing.PARQUET_SUFFIX}) "
    f"nor CSV ({', '.join(landing.CSV_SUFFIXES)})"
)
CHECKSUM = "ChecksumException"


@dataclass(frozen=True)
class Checked:
    """A file's digest, empty where it was not read, and why it is refused as a whole, None where a load reads it."""

    sha256: str
    refusal: str | None

    @property
    def mark(self) -> str:
        """What a file is known by when it is met again under its name: its content, or why that was not looked at."""
        return self.sha256 or self.refusal or ""


def check(spark: SparkSession, file: StoredFile, feed: Feed, *, known: Container[str] = ()) -> Checked | None:
    """Look at one landed file; None where it is gone, or where its `mark` is among those known."""
    refusal = file.refusal or why_misnamed(spark, file)
    if refusal:
        return None if refusal in known else Checked("", refusal)
    try:
        sha256 = storage.sha256(spark, file.path)
    except UNREADABLE as error:
        refusal = why_unread(file, error)
        is_known = refusal in known or is_gone(spark, file)
        return None if is_known else Checked("", refusal)
    if sha256 in known:
        return None
    refusal = why_unreadable(spark, file, feed)
    return None if refusal and is_gone(spark, file) else Checked(sha256, refusal)


def why_misnamed(spark: SparkSession, file: StoredFile) -> str | None:
    """Why a file is refused for its name."""
    name = file.name.lower()
    if ":" in name:  # Hadoop's local file system takes what stands before a colon for a scheme
        return "the file's name holds a colon; land it under another name"
    if not name.isascii() and not storage.opens_any_name(spark, file.path):
        return "Java cannot open a file of this name in its locale; set LC_ALL=C.UTF-8, or land it under an ASCII name"
    if not name.endswith(SUFFIXES):
        return f"the file is by its name neither {FORMATS}; land it under the name of what it is"
    return None


def why_unreadable(spark: SparkSession, file: StoredFile, feed: Feed) -> str | None:
    """Why a load would not read a file; it is read to its end as a load reads it."""
    try:
        first = storage.head(spark, file.path, size=HEAD)
        if is_parquet(file.name):
            refusal = why_not_parquet(first)
            if refusal is None:
                read_through(spark, file, feed)
            return refusal
        if file.name.lower().endswith(PACKED):
            refusal = why_not_gzip(first)
            if refusal:
                return refusal
            first = storage.unpack(spark, file.path, size=HEAD)
        if not first:
            return None
        if is_csv(file.name):
            return why_not_csv(first, feed)
        return why_not_lines(first, is_whole=len(first) < HEAD)
    except UNREADABLE as error:
        return why_unread(file, error)


def read_through(spark: SparkSession, file: StoredFile, feed: Feed) -> None:
    """Have Spark read a Parquet file to its end, as pages inside it may be damaged."""
    read_table(spark, file, feed).write.format("noop").mode("overwrite").save()


def is_gone(spark: SparkSession, file: StoredFile) -> bool:
    return not storage.is_there(spark, file.path)


def why_unread(file: StoredFile, error: Exception) -> str:
    """What an error in reading a file says of it, and what to do."""
    if isinstance(error, OddColumn):
        return str(error)
    cause = innermost(error)
    if CHECKSUM in cause:
        own = file.name.rpartition("/")[2]
        return f"the file does not fit its checksum in .{own}.crc; if its content is right, remove that file and touch this one"
    return f"the file cannot be read ({cause}); write it again, and land it whole"


def innermost(error: Exception) -> str:
    """The first line of what an error of Java's began with."""
    java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    if java is None:
        return str(error).strip().partition("\n")[0]
    while java.getCause() is not None:
        java = java.getCause()
    return str(java.toString()).strip().partition("\n")[0]


# Spark reads a packed file, and one of CSV, in one task. From so many bytes on its lines are validated on all cores, which takes far longer
# than to read and to send them.
WORTH_SENDING = 2**20


LINES = "path string, line bigint, value string, problem string"


def read_lines(spark: SparkSession, files: Sequence[StoredFile], feed: Feed) -> DataFrame:
    """Read JSON, Parquet and CSV files as `path, line, value, problem`, the path escaped.

    A row of Parquet or CSV becomes the JSON line it would have been; `problem` says what it would hide, and is null
    elsewhere. Raises `OddColumn` for a file whose columns are no use.
    """
    tables = [file for file in files if is_parquet(file.name) or is_csv(file.name)]
    text = [file for file in files if file not in tables]
    frames = [number_lines(read_text_files(spark, text))] if text else []
    # One by one, because files written at different times need not have the same columns.
    frames += [read_table(spark, file, feed) for file in tables]
    frames = frames or [small_frame(spark, [], LINES)]
    return reduce(DataFrame.unionByName, frames).where(F.col("value").rlike(r"\S"))


def spread_lines(lines: DataFrame, files: Sequence[StoredFile]) -> DataFrame:
    """Lines of files, over all cores where one task reads many of them."""
    in_one_task = (file.bytes for file in files if file.name.lower().endswith(".gz") or is_csv(file.name))
    if max(in_one_task, default=0) < WORTH_SENDING:
        return lines
    return lines.repartition(lines.sparkSession.sparkContext.defaultParallelism)


def is_parquet(name: str) -> bool:
    return name.lower().endswith(landing.PARQUET_SUFFIX)


def is_csv(name: str) -> bool:
    """Whether a file is by its name CSV, packed or not."""
    return name.lower().endswith(landing.CSV_SUFFIXES)


def open_text(spark: SparkSession, files: Sequence[StoredFile]) -> DataFrame:
    """The lines of files, packed or not, as `value` and Spark's own `_metadata`."""
    return spark.read.option("lineSep", "\n").text([file.pattern for file in files])


def read_text_files(spark: SparkSession, files: Sequence[StoredFile]) -> DataFrame:
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


def read_table(spark: SparkSession, file: StoredFile, feed: Feed) -> DataFrame:
    """The rows of a Parquet or CSV file as lines."""
    rows = csv_rows.read_csv(spark, file, feed) if is_csv(file.name) else parquet.read_rows(spark, file, feed)
    return rows.select(F.lit(reported_path(spark, file)).alias("path"), "line", "value", "problem")
