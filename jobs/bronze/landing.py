"""What lies in a landing folder: which files are new, and which are refused as a whole."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from contracts import landing
from contracts.landing import Feed
from lake import storage
from lake.storage import StoredFile


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """A file not taken before; `refusal` says why it cannot be read, None where it can."""

    feed: str
    file: str
    sha256: str
    bytes: int
    delivered_at: datetime
    refusal: str | None


def new_files(
    spark: SparkSession, landing_folder: str, feed: Feed, *, taken: Iterable[LandedFile]
) -> Iterator[LandedFile]:
    """The files of a feed that no load has taken yet, by name and content; `taken` has what loads took.

    A file whose name, size and time are known is not read again; only where one of them changed is its
    content compared.
    """
    by_name: dict[str, dict[str, tuple[int, datetime]]] = {}
    for one in taken:
        if one.feed == feed.name:
            by_name.setdefault(one.file, {})[one.sha256] = (one.bytes, one.delivered_at)
    folder = feed.folder(landing_folder)
    for file in sorted(storage.list_files(spark, folder), key=lambda file: file.name):
        if is_temporary(file.name):
            continue
        known = by_name.get(file.name, {})
        if (file.bytes, file.modified_at) in known.values():
            continue
        refusal = why_out_of_reach(file, folder)
        digest = "" if refusal else storage.sha256(spark, file.path)
        if digest in known:
            continue
        yield LandedFile(
            feed=feed.name,
            file=file.name,
            sha256=digest,
            bytes=file.bytes,
            delivered_at=file.modified_at,
            refusal=refusal or why_unreadable(spark, file),
        )


def is_temporary(name: str) -> bool:
    """Whether a file is still being written, by its name or that of a folder it lies in."""
    parts = name.split("/")
    return any(part.startswith(landing.TEMPORARY_PREFIXES) for part in parts) or any(
        part.lower().endswith(landing.TEMPORARY_SUFFIXES) for part in parts
    )


def why_out_of_reach(file: StoredFile, folder: str) -> str | None:
    if leads_out(file, folder):
        return "the file leads out of the landing folder"
    # Hadoop's local file system takes what stands before a colon for a scheme.
    return "the file's name holds a colon; land it under another name" if ":" in file.name else None


def leads_out(file: StoredFile, folder: str) -> bool:
    """Whether a local file is a link to a place outside its feed's folder."""
    if urlsplit(file.path).scheme != "file":
        return False
    root = Path(folder.removeprefix("file://")).resolve()
    return not (root / file.name).resolve().is_relative_to(root)


def why_unreadable(spark: SparkSession, file: StoredFile) -> str | None:
    name = file.name.lower()
    try:
        if name.endswith(landing.PARQUET_SUFFIX):
            spark.read.parquet(file.pattern).write.format("noop").mode("overwrite").save()  # pages may be damaged too
        elif name.endswith(".gz") and name.endswith(landing.LINE_SUFFIXES):
            storage.consume_gzip(spark, file.path)
        elif not name.endswith(landing.LINE_SUFFIXES):
            return f"the file is neither JSON lines ({', '.join(landing.LINE_SUFFIXES)}) nor Parquet (.parquet)"
    except (Py4JJavaError, PySparkException) as error:
        return f"the file cannot be read: {first_line(error)}"
    return None


def first_line(error: Exception) -> str:
    java = getattr(error, "java_exception", None)
    return (str(java) if java is not None else str(error)).strip().splitlines()[0]
