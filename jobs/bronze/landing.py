"""What lies in a landing folder: which files are new, and which are refused as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from contracts import bronze, landing
from lake import storage
from lake.storage import StoredFile
from lake.tables import Lake


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """A file not taken before; `refusal` says why it cannot be read, None where it can."""

    feed: str
    file: str
    sha256: str
    bytes: int
    delivered_at: datetime
    refusal: str | None


def new_files(lake: Lake, folder: str, feed: str) -> Iterator[LandedFile]:
    """The files of a feed that no load has taken yet, by name and content.

    A file whose name, size and time are known is not read again; only where one of them changed is its
    content compared.
    """
    taken = taken_files(lake, feed)
    for file in sorted(storage.list_files(lake.spark, folder), key=lambda file: file.name):
        if is_temporary(file.name):
            continue
        known = taken.get(file.name, {})
        if (file.bytes, file.modified_at) in known.values():
            continue
        refusal = why_out_of_reach(file, folder)
        digest = "" if refusal else storage.sha256(lake.spark, file.path)
        if digest in known:
            continue
        yield LandedFile(
            feed=feed,
            file=file.name,
            sha256=digest,
            bytes=file.bytes,
            delivered_at=file.modified_at,
            refusal=refusal or why_unreadable(lake.spark, file),
        )


def taken_files(lake: Lake, feed: str) -> dict[str, dict[str, tuple[int, datetime]]]:
    """Size and time by digest by name of the files taken before."""
    taken: dict[str, dict[str, Any]] = {}
    if lake.exists(bronze.FILES):
        rows = lake.read(bronze.FILES).where(f"feed = '{feed}'")
        for row in rows.select("file", "sha256", "bytes", "delivered_at").collect():
            taken.setdefault(row.file, {})[row.sha256] = (row.bytes, row.delivered_at.astimezone())
    return taken


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
