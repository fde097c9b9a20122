"""Plain files beside the tables, on any file system that Spark reaches."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from lake.jvm import java_class

PATH = "org.apache.hadoop.fs.Path"
IO_UTILS = "org.apache.commons.io.IOUtils"
HADOOP_UTIL = "org.apache.spark.deploy.SparkHadoopUtil"
REMOTE_ITERATORS = "org.apache.hadoop.util.functional.RemoteIterators"
COLLECTION_CONVERTERS = "scala.jdk.javaapi.CollectionConverters"
LOCAL = "file"
SEPARATOR = "\0"  # no file's name holds it
# How Hadoop's FileStatus writes itself; a name may hold anything, so the last match counts.
STATUS = re.compile(
    r"\w+\{path=(?P<path>.*); isDirectory=false; length=(?P<bytes>\d+); .*?modification_time=(?P<modified>\d+);.*",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file below a folder; `name` is its path inside that folder, `path` its full one."""

    name: str
    path: str
    bytes: int
    modified_at: datetime

    @property
    def pattern(self) -> str:
        """What Spark's readers take: they expand patterns, so characters that have a meaning there are escaped."""
        return re.sub(r"([\\*?\[\]{}])", r"\\\1", self.path)


def list_files(spark: SparkSession, folder: str) -> list[StoredFile]:
    """Every file below a folder, at any depth; none where the folder does not exist."""
    root, system = _resolve(spark, folder)
    if not system.exists(root):
        return []
    root = system.makeQualified(root)
    # One answer with all of them, where a question for each property of each file would grow with what landed.
    listing = _statuses(spark, system, root).mkString(SEPARATOR)
    prefix = root.toString()
    return [_stored_file(status, prefix) for status in listing.split(SEPARATOR) if status]


def _statuses(spark: SparkSession, system: Any, root: Any) -> Any:
    """Hadoop's descriptions of all files below a folder, as a Scala collection."""
    if system.getScheme() == LOCAL:
        # `listFiles` looks up owner and permissions of each local file: 5 ms a file, of which this takes a fortieth.
        return java_class(spark, HADOOP_UTIL).get().listLeafStatuses(system, root)
    # Object stores list a whole tree at once, where the other way asks for each folder.
    found = java_class(spark, REMOTE_ITERATORS).toList(system.listFiles(root, True))
    return java_class(spark, COLLECTION_CONVERTERS).asScala(found)


def _stored_file(status: str, root: str) -> StoredFile:
    matched = STATUS.fullmatch(status)
    if matched is None:
        raise ValueError(f"Hadoop describes a file in a way that is not known here: {status}")
    return StoredFile(
        name=matched["path"].removeprefix(root).lstrip("/"),
        path=matched["path"],
        bytes=int(matched["bytes"]),
        modified_at=datetime.fromtimestamp(int(matched["modified"]) / 1000, UTC),
    )


def reported_path(spark: SparkSession, file: StoredFile) -> str:
    """What Spark reports of a file in `_metadata.file_path`, less scheme and host."""
    return str(java_class(spark, PATH)(file.path).toUri().getRawPath())


def sha256(spark: SparkSession, path: str) -> str:
    """The digest of a file's bytes, in hexadecimal."""
    stream = _open(spark, path)
    try:
        return str(java_class(spark, "org.apache.commons.codec.digest.DigestUtils").sha256Hex(stream))
    finally:
        stream.close()


def consume_gzip(spark: SparkSession, path: str) -> None:
    """Unpack a gzip file to nowhere; raises what Java raises where it is damaged."""
    stream = _open(spark, path)
    try:
        unpacked = java_class(spark, "java.util.zip.GZIPInputStream")(stream)
        java_class(spark, IO_UTILS).consume(unpacked)
    finally:
        stream.close()


def read_text(spark: SparkSession, path: str) -> str | None:
    """A whole small file as text; None where there is none."""
    resolved, system = _resolve(spark, path)
    if not system.exists(resolved):
        return None
    stream = system.open(resolved)
    try:
        return str(java_class(spark, IO_UTILS).toString(stream, "UTF-8"))
    finally:
        stream.close()


def is_there(spark: SparkSession, path: str) -> bool:
    """Whether there is a file or a folder at a path."""
    resolved, system = _resolve(spark, path)
    return bool(system.exists(resolved))


def exists(spark: SparkSession, folder: str, file: str) -> bool:
    """Whether a file is there whose path below the folder, or whole, is given as a URI, as Delta's log does."""
    resolved, system = _resolve_uri(spark, folder, file)
    return bool(system.exists(resolved))


def modified_at(spark: SparkSession, folder: str, file: str) -> datetime | None:
    """When a file was written, given as for `exists`; None where there is none."""
    resolved, system = _resolve_uri(spark, folder, file)
    if not system.exists(resolved):
        return None
    return datetime.fromtimestamp(system.getFileStatus(resolved).getModificationTime() / 1000, UTC)


def files_and_bytes(spark: SparkSession, folder: str) -> tuple[int, int]:
    """How many files lie below a folder, at any depth, and their bytes."""
    resolved, system = _resolve(spark, folder)
    summary = system.getContentSummary(resolved)
    return int(summary.getFileCount()), int(summary.getLength())


def delete(spark: SparkSession, folder: str) -> None:
    """Remove a folder and all that lies in it, if it is there."""
    resolved, system = _resolve(spark, folder)
    system.delete(resolved, True)


def _open(spark: SparkSession, path: str) -> Any:
    resolved, system = _resolve(spark, path)
    return system.open(resolved)


def _resolve(spark: SparkSession, path: str) -> tuple[Any, Any]:
    resolved = java_class(spark, PATH)(path)
    return resolved, resolved.getFileSystem(spark._jsc.hadoopConfiguration())


def _resolve_uri(spark: SparkSession, folder: str, file: str) -> tuple[Any, Any]:
    path = java_class(spark, PATH)
    name = path(java_class(spark, "java.net.URI")(file))
    resolved, system = _resolve(spark, folder)
    return path(resolved, name), system
