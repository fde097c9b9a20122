"""Exclude landed files: the rest goes on, and who did it and why is kept.

A file that silver has not read never gets there. Of one that it has read, `jobs.silver.merge` takes back what silver
has; a row in `bronze.SET_ASIDE` is all that says so, whichever process reads it next.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, landing
from tailrace.schemas.landing import Feeds, LandingError
from tailrace.schemas.tables import Table

# In a silver table's state: the version of `bronze.SET_ASIDE` whose files it has nothing of.
ASIDE = "aside"


@dataclass(frozen=True)
class FilesToExclude:
    """Files that are to be excluded, each as `events/new.jsonl`, or `events/new.jsonl@7` of load 7, and why."""

    files: tuple[str, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class FileLoads:
    """The loads that one file was in: those that are still to be read further on, and those that were."""

    waiting: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)


def exclude_files(lake: Lake, feeds: Feeds, aside: FilesToExclude, *, now: datetime) -> None:
    """Leave files out, those that silver has read too; their rows stay in the files and in bronze.

    Raises `LandingError`, and leaves out nothing, where one of them is not such a file.
    """
    loads, done = loads_of_files(lake, feeds, aside.files), files_aside(lake)
    chosen = [chosen_load(lake, feeds, file, loads) for file in aside.files]
    rows = [
        (*name.split("/", 1), batch, aside.why, now)
        for name, batch in dict.fromkeys(chosen)
        if batch not in done.get(name, ())
    ]
    if rows:
        lake.append(bronze.SET_ASIDE, small_frame(lake.spark, rows, bronze.SET_ASIDE.ddl))


def chosen_load(lake: Lake, feeds: Feeds, file: str, loads: dict[str, FileLoads]) -> tuple[str, int]:
    """The name and the load that `file` stands for; without a number that of a load that waits, or else was read."""
    name, number = name_and_load(file, loads)
    of_file = loads.get(name, FileLoads())
    if name.startswith(f"{landing.DIRECT_WRITES.name}/") and of_file.read and not of_file.waiting:
        raise LandingError(
            f"{file} cannot be set aside: its values are in the online store and its history; write the right ones instead"
        )
    if number is not None and number in [*of_file.waiting, *of_file.read]:
        return name, number
    batches = [] if number is not None else of_file.waiting or of_file.read
    if not batches:
        waiting = ", ".join(sorted(waiting_files(lake, feeds))) or "none"
        raise LandingError(f"{file} cannot be set aside: no load has it; files that wait are {waiting}")
    if len(batches) > 1:
        several = ", ".join(f"{name}@{batch}" for batch in sorted(batches))
        raise LandingError(f"{file} is in several loads; say which is to be set aside: {several}")
    return name, batches[0]


def name_and_load(file: str, loads: dict[str, FileLoads]) -> tuple[str, int | None]:
    """What is a file's name, and the number of a load behind its last `@`; names may hold one too."""
    name, _, number = file.rpartition("@")
    if file in loads or not (name and number.isdecimal()):
        return file, None
    return name, int(number)


def loads_of_files(lake: Lake, feeds: Feeds, files: Sequence[str]) -> dict[str, FileLoads]:
    """The loads that files of these names were in, as they are or without a number behind their last `@`."""
    if not lake.exists(bronze.FILES):
        return {}
    names = {name for file in files for name in (file, file.rpartition("@")[0]) if name}
    full_name, last = F.concat_ws("/", "feed", "file"), last_of_feeds(lake, feeds)
    found: dict[str, FileLoads] = {}
    rows = lake.read(bronze.FILES).where(full_name.isin(*names)).select("feed", "file", "batch")
    for row in rows.collect():
        loads = found.setdefault(f"{row.feed}/{row.file}", FileLoads())
        (loads.waiting if row.batch > last.get(row.feed, 0) else loads.read).append(row.batch)
    return found


def waiting_files(lake: Lake, feeds: Feeds) -> dict[str, list[int]]:
    """The files that loads have and silver has not read, each with the numbers of these loads."""
    if not lake.exists(bronze.FILES):
        return {}
    unread = [(F.col("feed") == feed) & (F.col("batch") > batch) for feed, batch in last_of_feeds(lake, feeds).items()]
    waiting = lake.read(bronze.FILES).where(reduce(or_, unread))
    return loads_by_name(waiting.select("feed", "file", "batch").collect())


def last_of_feeds(lake: Lake, feeds: Feeds) -> dict[str, int]:
    """The last load of each feed that was read further on: by silver, or from bronze itself."""
    return {
        feed.name: last_read(lake, feed.silver) if feed.silver else lake.last_appended(feed.table) for feed in feeds
    }


def files_aside(lake: Lake) -> dict[str, list[int]]:
    """The files that were ever excluded, each with the numbers of its loads."""
    if not lake.exists(bronze.SET_ASIDE):
        return {}
    return loads_by_name(lake.read(bronze.SET_ASIDE).select("feed", "file", "batch").collect())


def loads_by_name(rows: Iterable[Row]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(f"{row.feed}/{row.file}", []).append(row.batch)
    return found


def is_all_read(lake: Lake, feeds: Feeds) -> bool:
    """Whether silver has read every load of the feeds that go there, and excluded what it should; asked of the logs only."""
    return all(
        lake.exists(feed.silver)
        and last_read(lake, feed.silver) == lake.last_appended(feed.table)
        and not has_files_to_take_back(lake, feed.silver)
        for feed in feeds
        if feed.silver
    )


def last_read(lake: Lake, table: Table) -> int:
    """The last load that a silver table has read; 0 where it has read none."""
    state = lake.state(table)
    return int(state.values.get("batch", 0)) if state else 0


def has_files_to_take_back(lake: Lake, table: Table) -> bool:
    """Whether files may have been excluded since a silver table last left any out."""
    state, version = lake.state(table), aside_version(lake)
    if state is None or version is None:
        return False
    before = state.values.get(ASIDE)
    if before is None or before > version:
        return True
    return lake.rows_written(bronze.SET_ASIDE, after=before, up_to=version)


def aside_version(lake: Lake) -> int | None:
    """The newest version of the excluded files; None where none ever was."""
    return lake.version(bronze.SET_ASIDE) if lake.exists(bronze.SET_ASIDE) else None


def left_in(lake: Lake, rows: DataFrame, *, feed: str, version: int | None = None) -> DataFrame:
    """Rows of bronze without those of files that are excluded, or were at a version."""
    if not lake.exists(bronze.SET_ASIDE):
        return rows
    aside = files_left_out(lake, feed=feed, version=version)
    return rows.join(F.broadcast(aside), on=["file", "batch"], how="left_anti")


def files_left_out(lake: Lake, *, feed: str, version: int | None = None) -> DataFrame:
    """`file, batch` of a feed's files that are excluded, or were at a version."""
    aside = lake.read(bronze.SET_ASIDE, version=version)
    return aside.where(F.col("feed") == feed).select("file", "batch").distinct()
