"""Leave landed files out that the quality gate stopped, so that the rest goes on; who did it and why is kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from contracts import bronze, landing, silver
from contracts.tables import Table
from jobs.bronze.batches import LandingError
from lake.session import small_frame
from lake.tables import Lake

SOURCE = {feed.name: feed.table for feed in landing.FEEDS}
SILVER = {landing.EVENTS.name: silver.INTERACTIONS, landing.DOCUMENTS.name: silver.DOCUMENTS}


@dataclass(frozen=True)
class SetAside:
    """Files that are to be left out, each as `events/new.jsonl`, or `events/new.jsonl@7` of load 7, and why."""

    files: tuple[str, ...]
    why: str


def set_aside(lake: Lake, aside: SetAside, *, now: datetime) -> None:
    """Leave files out of loads that silver has not read; their rows stay in the files.

    Raises `LandingError`, and leaves out nothing, where one of them is no such file.
    """
    waiting, done = waiting_files(lake), files_aside(lake)
    rows = []
    for file in aside.files:
        name, _, number = file.partition("@")
        batches = [batch for batch in waiting.get(name, ()) if number in {"", str(batch)}]
        if not batches and name not in done:
            told = ", ".join(sorted(waiting)) or "none"
            raise LandingError(
                f"{file} cannot be set aside: it was not taken yet, or went on to silver; files that wait are {told}"
            )
        if len(batches) > 1:
            told = ", ".join(f"{name}@{batch}" for batch in sorted(batches))
            raise LandingError(f"{file} was taken by several loads; say which is to be set aside: {told}")
        rows += [(*name.split("/", 1), batch, aside.why, now) for batch in batches if batch not in done.get(name, ())]
    if rows:
        lake.append(bronze.SET_ASIDE, small_frame(lake.spark, rows, bronze.SET_ASIDE.ddl))


def waiting_files(lake: Lake) -> dict[str, list[int]]:
    """The files that loads have taken and silver has not read, each with the numbers of these loads."""
    if not lake.exists(bronze.FILES):
        return {}
    read = {feed: last_read(lake, table) for feed, table in SILVER.items()}
    read[landing.DIRECT_WRITES.name] = lake.last_appended(bronze.DIRECT_WRITES)  # bronze is where they are read from
    unread = [(F.col("feed") == feed) & (F.col("batch") > batch) for feed, batch in read.items()]
    waiting = lake.read(bronze.FILES).where(reduce(or_, unread))
    return by_name(waiting.select("feed", "file", "batch").collect())


def files_aside(lake: Lake) -> dict[str, list[int]]:
    """The files that were ever set aside, each with the numbers of its loads."""
    if not lake.exists(bronze.SET_ASIDE):
        return {}
    return by_name(lake.read(bronze.SET_ASIDE).select("feed", "file", "batch").collect())


def by_name(rows: Iterable[Row]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(f"{row.feed}/{row.file}", []).append(row.batch)
    return found


def is_all_read(lake: Lake) -> bool:
    """Whether silver has read every load of the feeds that go there; asked of the logs alone."""
    return all(
        lake.exists(table) and last_read(lake, table) == lake.last_appended(SOURCE[feed])
        for feed, table in SILVER.items()
    )


def last_read(lake: Lake, table: Table) -> int:
    """The last load that a silver table has read."""
    state = lake.state(table)
    return int(state.values["batch"]) if state else 0


def left_in(lake: Lake, rows: DataFrame, *, feed: str) -> DataFrame:
    """Rows of bronze without those of files that are set aside."""
    if not lake.exists(bronze.SET_ASIDE):
        return rows
    aside = lake.read(bronze.SET_ASIDE).where(F.col("feed") == feed).select("file", "batch").distinct()
    return rows.join(F.broadcast(aside), on=["file", "batch"], how="left_anti")
