"""What lies in a landing folder: which files are new, and which are refused as a whole."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from pyspark.sql import SparkSession

from jobs.bronze.batches import LandedFile, not_taken
from jobs.bronze.check import check
from tailrace.lake import storage
from tailrace.lake.stored import StoredFile
from tailrace.lake.tables import Lake
from tailrace.schemas import landing
from tailrace.schemas.landing import Feed


@dataclass(frozen=True)
class Listing:
    """What lay in a landing folder at one moment, temporary files left out, by feed."""

    folder: str
    files: dict[str, list[StoredFile]]

    @classmethod
    def of(cls, lake: Lake, landing_folder: str) -> "Listing":
        listed = {feed.name: files_in(lake.spark, feed.folder(landing_folder)) for feed in landing.FEEDS}
        return cls(landing_folder, listed)

    @cached_property
    def digest(self) -> str:
        """Equal for equal names, sizes, times and refusals."""
        known = [
            (feed, file.name, file.bytes, file.modified_at, file.refusal or "")
            for feed, files in self.files.items()
            for file in files
        ]
        return hashlib.sha256(repr((self.folder, sorted(known))).encode()).hexdigest()


def files_in(spark: SparkSession, folder: str) -> list[StoredFile]:
    """What lies in the folder of a feed, each real file once, temporary files left out."""
    return once(file for file in storage.list_files(spark, folder) if not is_temporary(file.name))


def once(files: Iterable[StoredFile]) -> list[StoredFile]:
    """The files, of which those are refused that lead to another one that is taken."""
    listed = sorted(files, key=lambda file: (file.link_to is not None, file.name))
    taken_as: dict[str, str] = {}
    found = []
    for file in listed:
        name = taken_as.setdefault(file.link_to or file.name, file.name)
        is_again = file.refusal is None and name != file.name
        found.append(replace(file, refusal=f"this link leads to {name}, which is taken already") if is_again else file)
    return found


def new_files(lake: Lake, listing: Listing, feed: Feed) -> Iterator[LandedFile]:
    """The files of a feed that no load has taken yet, by name and content.

    A file whose name, size and time are known is not read again; only where one of them changed is its
    content compared.
    """
    stored = listing.files[feed.name]
    for file, known in sorted(not_taken(lake, feed.name, stored), key=lambda found: found[0].name):
        checked = check(lake.spark, file, feed, known=known)
        if checked is not None:
            yield LandedFile(
                feed=feed.name,
                file=file.name,
                sha256=checked.sha256,
                bytes=file.bytes,
                delivered_at=file.modified_at,
                refusal=checked.refusal,
            )


def is_temporary(name: str) -> bool:
    """Whether a file is still being written, by its name or that of a folder it lies in."""
    parts = name.split("/")
    return any(part.startswith(landing.TEMPORARY_PREFIXES) for part in parts) or any(
        part.lower().endswith(landing.TEMPORARY_SUFFIXES) for part in parts
    )
