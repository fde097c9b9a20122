"""What lies in a landing folder: which files are new, and which are refused as a whole."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from contracts import landing
from contracts.landing import Feed
from jobs.bronze.batches import LandedFile, not_taken
from lake import storage
from lake.storage import StoredFile
from lake.tables import Lake


@dataclass(frozen=True)
class Listing:
    """What lay in a landing folder at one moment, temporary files left out, by feed."""

    folder: str
    files: dict[str, list[StoredFile]]

    @classmethod
    def of(cls, lake: Lake, landing_folder: str) -> "Listing":
        listed = {feed.name: storage.list_files(lake.spark, feed.folder(landing_folder)) for feed in landing.FEEDS}
        return cls(
            landing_folder,
            {feed: [file for file in files if not is_temporary(file.name)] for feed, files in listed.items()},
        )

    @cached_property
    def digest(self) -> str:
        """Equal for equal names, sizes and times."""
        known = [
            (feed, file.name, file.bytes, file.modified_at) for feed, files in self.files.items() for file in files
        ]
        return hashlib.sha256(repr((self.folder, sorted(known))).encode()).hexdigest()


def new_files(lake: Lake, listing: Listing, feed: Feed) -> Iterator[LandedFile]:
    """The files of a feed that no load has taken yet, by name and content.

    A file whose name, size and time are known is not read again; only where one of them changed is its
    content compared.
    """
    folder, stored = feed.folder(listing.folder), listing.files[feed.name]
    for file, digests in sorted(not_taken(lake, feed.name, stored), key=lambda found: found[0].name):
        refusal = why_out_of_reach(file, folder)
        digest = "" if refusal else storage.sha256(lake.spark, file.path)
        if digest in digests:
            continue
        yield LandedFile(
            feed=feed.name,
            file=file.name,
            sha256=digest,
            bytes=file.bytes,
            delivered_at=file.modified_at,
            refusal=refusal or why_unreadable(lake.spark, file),
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
