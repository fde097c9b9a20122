"""Files that landed: listed, and claimed in batches."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.bronze.file_check import check
from jobs.bronze.topic import is_of_topic
from tailrace.lake import storage
from tailrace.lake.session import small_frame
from tailrace.lake.storage import StoredFile
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, landing
from tailrace.schemas.landing import Feed, Feeds, LandingError

CONFORMED = "tailrace.conformed"  # a property of bronze.files
STORED = "file string, bytes bigint, delivered_at timestamp, refusal string"


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """A file not loaded before; `refusal` says why it is not read, None where it is."""

    feed: str
    file: str
    sha256: str
    bytes: int
    delivered_at: datetime
    refusal: str | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The files of one load; a load that finishes it later judges by the same clock, `ingested_at`."""

    number: int
    ingested_at: datetime
    files: list[LandedFile]

    @property
    def feeds(self) -> list[str]:
        """The feeds that its files are of."""
        return sorted({file.feed for file in self.files})

    @property
    def stamp(self) -> dict[str, Column]:
        """The columns by which a row says which load brought it."""
        return {"batch": F.lit(self.number).cast("bigint"), "ingested_at": F.lit(self.ingested_at)}


def read_batch(lake: Lake, number: int) -> Batch:
    """A batch as it was claimed, which may have been by another process; without feeds that are in quarantine as a whole."""
    names = [column.name for column in fields(LandedFile)]
    rows = lake.read(bronze.FILES).where(F.col("batch") == number).select(*names, "ingested_at").collect()
    if not rows:
        raise LandingError(f"batch {number} claims no file in {bronze.FILES.full_name}")
    refused, excluded = refused_whole(lake, batch=number), reasons_excluded(lake, batch=number)
    unread = {(feed, file): reason for feed, file, reason in refused if not is_of_topic(file)}
    files = [
        LandedFile(
            **{name: row[name] for name in names}
            | {"delivered_at": row.delivered_at.astimezone()}
            | {"refusal": row.refusal or unread.get((row.feed, row.file)) or excluded.get((row.feed, row.file))}
        )
        for row in rows
    ]
    left = {file.feed for file in files if (file.feed, file.file, file.refusal) not in refused}
    return Batch(
        number=number,
        ingested_at=rows[0].ingested_at.astimezone(),
        files=[file for file in files if file.feed in left],
    )


def reasons_excluded(lake: Lake, *, batch: int) -> dict[tuple[str, str], str]:
    """Why files of a load were excluded, by feed and file."""
    if not lake.exists(bronze.SET_ASIDE):
        return {}
    rows = lake.read(bronze.SET_ASIDE).where(F.col("batch") == batch).collect()
    return {(row.feed, row.file): f"set aside: {row.why}" for row in rows}


def refused_whole(lake: Lake, *, batch: int) -> set[tuple[str, str, str]]:
    """`feed, file, reason` of files that a load came to quarantine as a whole."""
    if lake.last_appended(bronze.QUARANTINE) < batch:
        return set()
    rows = lake.read(bronze.QUARANTINE).where((F.col("batch") == batch) & F.isnull("line")).collect()
    return {(row.feed, row.file, row.reason) for row in rows}


def not_loaded(lake: Lake, feed: str, stored: Iterable[StoredFile]) -> list[tuple[StoredFile, set[str]]]:
    """The stored files that no load has under this name, size and time, each with the marks loaded under its name.

    A mark is a digest, or the refusal of a file that was not read. Looked up by Spark: what was ever loaded grows without
    end, and is not brought to the driver.
    """
    by_name = {file.name: file for file in stored}
    if not by_name or not lake.exists(bronze.FILES):
        return [(file, set()) for file in by_name.values()]
    rows = [(file.name, file.bytes, file.modified_at, file.refusal) for file in by_name.values()]
    found = marks_of_unknown(
        small_frame(lake.spark, rows, STORED), lake.read(bronze.FILES).where(F.col("feed") == feed)
    )
    return [(by_name[row.file], set(row.marks)) for row in found.collect()]


def marks_of_unknown(stored: DataFrame, loaded: DataFrame) -> DataFrame:
    """`file, marks` of the stored files that are not among those loaded.

    What was refused unread may be read now, though neither its size nor its time has changed.
    """
    is_same = F.expr("stored.bytes = loaded.bytes and stored.delivered_at = loaded.delivered_at")
    was_read = F.expr("loaded.sha256 <> '' or loaded.refusal <=> stored.refusal")
    mark = F.expr("if(loaded.sha256 = '', loaded.refusal, loaded.sha256)")
    pairs = F.broadcast(stored).alias("stored").join(loaded.alias("loaded"), on="file", how="left")
    files = pairs.groupBy("file").agg(F.max(is_same & was_read).alias("is_known"), F.collect_set(mark).alias("marks"))
    return files.where(~F.coalesce("is_known", F.lit(False))).select("file", "marks")


@dataclass(frozen=True)
class Listing:
    """What lay in a landing folder at one moment, temporary files left out, by feed.

    `others` are the folders that are not of a feed.
    """

    folder: str
    files: dict[str, list[StoredFile]]
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, lake: Lake, landing_folder: str, feeds: Feeds) -> "Listing":
        """What lies there now in the folders of these feeds."""
        landing = {feed.name: feed.folder(landing_folder) for feed in feeds if feed.lands}
        listed = {name: files_in(lake.spark, folder) for name, folder in landing.items()}
        folders = (name for name in storage.folders_in(lake.spark, landing_folder) if not is_temporary(name))
        return cls(landing_folder, listed, tuple(name for name in folders if name not in listed))

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
    """The files, of which those are refused that lead to another one that is loaded."""
    listed = sorted(files, key=lambda file: (file.link_to is not None, file.name))
    loaded_as: dict[str, str] = {}
    found = []
    for file in listed:
        name = loaded_as.setdefault(file.link_to or file.name, file.name)
        is_again = file.refusal is None and name != file.name
        found.append(replace(file, refusal=f"this link leads to {name}, which is listed already") if is_again else file)
    return found


def new_files(lake: Lake, listing: Listing, feed: Feed) -> Iterator[LandedFile]:
    """The files of a feed that no load has yet, by name and content.

    A file whose name, size and time are known is not read again; only where one of them changed is its
    content compared.
    """
    stored = listing.files.get(feed.name, [])
    for file, known in sorted(not_loaded(lake, feed.name, stored), key=lambda found: found[0].name):
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


@dataclass(frozen=True)
class Claim:
    """The newest claim: its batch, 0 before the first, and what lay there.

    `tables` are those that have to reach a batch, by their names: this one, or an earlier one whose feed was blocked.
    `declared` is a digest of the tables as they were declared then. They are None where the claim's log entry is gone.
    """

    number: int
    tables: Mapping[str, int] | None
    listing: str | None
    declared: str | None = None


def last_claim(lake: Lake) -> Claim:
    state = lake.state(bronze.FILES)
    if state is None:
        return Claim(lake.last_appended(bronze.FILES), None, None)
    values = state.values  # all of one commit: another load may claim at this moment
    number = int(values["number"])
    tables = values.get("tables") or {
        values["ends_with"]: number
    }  # of the version before: it appended to this one last
    return Claim(number, tables, values.get("listing"), values.get("declared"))


def declared_tables(feeds: Feeds) -> str:
    """A digest of the tables of feeds: their columns, keys and checks."""
    tables = (table for feed in feeds for table in (feed.table, feed.silver) if table)
    known = [(table.full_name, table.ddl, table.key, table.checks) for table in tables]
    return hashlib.sha256(repr(sorted(known)).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a claim is made with the knowledge of: what lies in the landing folder, and what was declared, as digests.

    `pending` has the batches of feeds that are blocked.
    """

    listing: str
    declared: str
    pending: Mapping[str, int] = field(default_factory=dict)


def claim(lake: Lake, files: Sequence[LandedFile], *, batch: int, now: datetime, known: Known) -> None:
    """Claim files under a number, unless another load was faster."""
    rows = small_frame(lake.spark, [(*astuple(file), batch, now) for file in files], bronze.FILES.ddl)
    tables = {table_of(feed): number for feed, number in known.pending.items()} | dict.fromkeys(tables_of(files), batch)
    state = {"tables": tables, "listing": known.listing, "declared": known.declared}
    lake.append_once(bronze.FILES, rows, number=batch, **state)


def tables_of(files: Iterable[LandedFile]) -> list[str]:
    """The tables that a batch is certain to be appended to: those of feeds with readable files, quarantine for others."""
    return sorted({table_of(file.feed) if file.refusal is None else bronze.QUARANTINE.full_name for file in files})


def table_of(feed: str) -> str:
    """The name of a feed's table, whether it is declared or not."""
    return f"{bronze.FILES.layer}.{feed}"


def unfinished(lake: Lake, last: Claim) -> list[Batch]:
    """The batches that were claimed and not appended as a whole, the oldest first, with the files of feeds that are not."""
    if not last.number:
        return []
    tables = claimed_tables(lake) if last.tables is None else last.tables
    due = {number for name, number in tables.items() if not has_reached(lake, name, number)}
    batches = (read_batch(lake, number) for number in sorted(due))
    left = [
        replace(one, files=[file for file in one.files if not has_reached(lake, table_of(file.feed), one.number)])
        for one in batches
    ]
    return [one for one in left if one.files]


def has_reached(lake: Lake, table: str, batch: int) -> bool:
    """Whether a load was appended to a table of bronze."""
    return lake.last_appended(bronze.table_named(table)) >= batch


def claimed_tables(lake: Lake) -> dict[str, int]:
    """The last batch that each feed has a readable file in, by table, as the claims themselves have it."""
    claimed = lake.read(bronze.FILES).where(F.isnull("refusal"))
    return {
        table_of(row.feed): row.batch for row in claimed.groupBy("feed").agg(F.max("batch").alias("batch")).collect()
    }


def check_declared(feeds: Feeds, batch: Batch, feed: str) -> None:
    """Raise `LandingError` for a feed that is not among these, and has files that could be read."""
    if feed in {one.name for one in feeds}:
        return
    for file in batch.files:
        if file.feed == feed and file.refusal is None:
            raise LandingError(
                f"{file.feed}/{file.file} was claimed by load {batch.number}, which did not finish, and no source "
                f"{file.feed!r} is declared any more; declare it until that load is done, or exclude the file: "
                f"--set-aside {file.feed}/{file.file}"
            )


def conformed_to(lake: Lake) -> str | None:
    """The digest of the tables that were last brought to what was declared; None where none had to be.

    Not what the last claim had: tables follow a declaration also where nothing lands under it.
    """
    found = lake.snapshot(bronze.FILES).metadata().configuration()
    return str(found.apply(CONFORMED)) if found.contains(CONFORMED) else None
