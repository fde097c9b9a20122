"""Whether one landed file can be taken: it is read through as a load reads it, before any load claims it."""

from collections.abc import Container
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.bronze import content
from jobs.bronze.lines import is_parquet, read_parquet
from jobs.bronze.parquet import OddColumn
from tailrace.lake import storage
from tailrace.lake.stored import StoredFile
from tailrace.schemas import landing
from tailrace.schemas.landing import Feed

UNREADABLE = (Py4JJavaError, PySparkException, OddColumn)
PACKED = ".gz"
SUFFIXES = f"JSON lines ({', '.join(landing.LINE_SUFFIXES)}) nor Parquet ({landing.PARQUET_SUFFIX})"
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
    """Why a file's name alone rules it out."""
    name = file.name.lower()
    if ":" in name:  # Hadoop's local file system takes what stands before a colon for a scheme
        return "the file's name holds a colon; land it under another name"
    if not name.isascii() and not storage.opens_any_name(spark, file.path):
        return "Java cannot open a file of this name in its locale; set LC_ALL=C.UTF-8, or land it under an ASCII name"
    if not name.endswith((*landing.LINE_SUFFIXES, landing.PARQUET_SUFFIX)):
        return f"the file is by its name neither {SUFFIXES}; land it under the name of what it is"
    return None


def why_unreadable(spark: SparkSession, file: StoredFile, feed: Feed) -> str | None:
    """Why a load would not read a file; it is read to its end as a load reads it."""
    try:
        first = storage.head(spark, file.path, size=content.HEAD)
        if is_parquet(file.name):
            refusal = content.why_not_parquet(first)
            if refusal is None:
                read_through(spark, file, feed)
            return refusal
        if not file.name.lower().endswith(PACKED):
            return content.why_not_lines(first, is_whole=len(first) < content.HEAD) if first else None
        refusal = content.why_not_gzip(first)
        if refusal:
            return refusal
        unpacked = storage.unpack(spark, file.path, size=content.HEAD)
        return content.why_not_lines(unpacked, is_whole=len(unpacked) < content.HEAD) if unpacked else None
    except UNREADABLE as error:
        return why_unread(file, error)


def read_through(spark: SparkSession, file: StoredFile, feed: Feed) -> None:
    """Have Spark read a Parquet file to its end, as pages inside it may be damaged."""
    read_parquet(spark, file, feed).write.format("noop").mode("overwrite").save()


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
