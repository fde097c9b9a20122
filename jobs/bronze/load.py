"""Load what landed into bronze, each file exactly once, whatever is killed when.

A load first claims its files under the next batch number, in one commit. Its rows are then appended under that
number, which Delta accepts once per table. The next load finishes a batch that was cut off before it claims one.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.bronze.batches import Batch, LandedFile, read_batch
from jobs.bronze.claimed import Source, judge_claimed
from jobs.bronze.landing import Listing, new_files
from jobs.bronze.set_aside import SetAside, set_aside
from jobs.bronze.topic import Topic, ends_of, new_parts, what_is_left
from tailrace.lake.held import ROWS, Held
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, landing
from tailrace.schemas.landing import Feed
from tailrace.schemas.tables import Table


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load took: files, usable rows per feed, and lines or files refused.

    `waiting` counts the messages that it left in the topic because they are behind a transaction that is open.
    """

    files: int = 0
    events: int = 0
    documents: int = 0
    direct_writes: int = 0
    quarantined: int = 0
    waiting: int = 0

    def __add__(self, other: "Loaded") -> "Loaded":
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Loaded(**sums | {"waiting": other.waiting})  # the later load left what the earlier one did


REFUSED = "feed string, file string, line bigint, reason string, raw string"


def run(
    lake: Lake, landing_folder: str, *, now: datetime, aside: SetAside | None = None, topic: Topic | None = None
) -> Loaded:
    """Take every new file of all feeds, and what is new in a topic; `now` is the wall clock.

    `aside` names files that an earlier load took and the quality gate stopped; they are left out from now on.
    """
    if aside:
        set_aside(lake, aside, now=now)
    loaded = Loaded()
    last = last_claim(lake)
    cut_off = unfinished(lake, last)
    if cut_off:
        cut_off = replace(cut_off, files=what_is_left(lake.spark, topic, cut_off.files))
        loaded += load_batch(lake, landing_folder, cut_off, topic=topic)
    listing = Listing.of(lake, landing_folder)
    ends = ends_of(lake.spark, topic) if topic else {}
    files = list(new_parts(lake, topic, ends, now=now)) if topic else []
    waiting = sum(of.waiting for of in ends.values())
    if listing.digest == last.listing and not files:
        return replace(loaded, waiting=waiting)
    files += [file for feed in landing.FEEDS for file in new_files(lake, listing, feed)]
    if files:
        claim(lake, files, batch=last.number + 1, now=now, listing=listing)
        claimed = read_batch(lake, last.number + 1)  # perhaps another process was faster, and claimed other files
        loaded += load_batch(lake, landing_folder, claimed, topic=topic)
    return replace(loaded, waiting=waiting)


@dataclass(frozen=True)
class Claim:
    """The newest claim: its batch, 0 before the first, the table that the batch appends to last, and what lay there.

    The latter two are None where the claim's log entry is gone.
    """

    number: int
    ends_with: str | None
    listing: str | None


def last_claim(lake: Lake) -> Claim:
    state = lake.state(bronze.FILES)
    if state is None:
        return Claim(lake.last_appended(bronze.FILES), None, None)
    told = state.values  # all of one commit: another load may claim at this moment
    return Claim(int(told["number"]), told.get("ends_with"), told.get("listing"))


def claim(lake: Lake, files: Sequence[LandedFile], *, batch: int, now: datetime, listing: Listing) -> None:
    rows = small_frame(lake.spark, [(*astuple(file), batch, now) for file in files], bronze.FILES.ddl)
    ends_with = tables_of(files)[-1].full_name
    lake.append_once(bronze.FILES, rows, number=batch, ends_with=ends_with, listing=listing.digest)


def unfinished(lake: Lake, last: Claim) -> Batch | None:
    """The batch of the newest claim if its last append was not made; which that is follows from the files left in it."""
    if not last.number:
        return None
    ends_with = [table for table in bronze.TABLES if table.full_name == last.ends_with]
    if any(lake.last_appended(table) >= last.number for table in ends_with):
        return None
    batch = read_batch(lake, last.number)  # some of its files may have been set aside since
    return None if lake.last_appended(tables_of(batch.files)[-1]) >= last.number else batch


def tables_of(files: Iterable[LandedFile]) -> list[Table]:
    """The tables a batch appends to, in order: quarantine always, then each feed with readable files."""
    readable = {file.feed for file in files if file.refusal is None}
    return [bronze.QUARANTINE, *(feed.table for feed in landing.FEEDS if feed.name in readable)]


def load_batch(lake: Lake, landing_folder: str, batch: Batch, *, topic: Topic | None = None) -> Loaded:
    lake.expect_rows()
    stamp = {"batch": F.lit(batch.number).cast("bigint"), "ingested_at": F.lit(batch.ingested_at)}
    whole = [file for file in batch.files if file.refusal]
    judged: dict[Feed, Held] = {}
    with ExitStack() as until_appended:
        for feed in landing.FEEDS:
            readable = [file for file in batch.files if file.feed == feed.name and file.refusal is None]
            folder = feed.folder(landing_folder)
            source = Source(lake=lake, feed=feed, folder=folder, topic=topic, until=batch.ingested_at)
            rows, unread = judge_claimed(source, readable, keep=until_appended)
            whole += unread
            if rows:
                judged[feed] = rows
        loaded = counted(batch, judged, whole)
        for feed, rows in judged.items():
            audit(lake, feed, rows, stamp)
        if loaded.quarantined:
            refused = refused_files(lake, whole)
            for feed, rows in judged.items():
                refused = refused.unionByName(refused_lines(rows.frame, feed))
            lake.append_once(bronze.QUARANTINE, refused.withColumns(stamp), number=batch.number)
        for feed, rows in judged.items():
            lake.append_once(feed.table, usable_rows(rows, stamp), number=batch.number)
    return loaded


def counted(batch: Batch, judged: Mapping[Feed, Held], whole: Sequence[LandedFile]) -> Loaded:
    usable = {feed.name: rows.counts["usable"] for feed, rows in judged.items()}
    lines = sum(rows.counts[ROWS] for rows in judged.values())
    return Loaded(files=len(batch.files), quarantined=len(whole) + lines - sum(usable.values()), **usable)


def refused_files(lake: Lake, files: Sequence[LandedFile]) -> DataFrame:
    return small_frame(lake.spark, [(file.feed, file.file, None, file.refusal, None) for file in files], REFUSED)


def usable_rows(rows: Held, stamp: dict[str, Column]) -> DataFrame:
    return rows.frame.where("reason is null").withColumns(stamp)


def audit(lake: Lake, feed: Feed, rows: Held, stamp: dict[str, Column]) -> None:
    """Have the quality gate look at a load: at its lines where some are refused, and at its usable rows."""
    everything, good = rows.counts[ROWS], rows.counts["usable"]
    if good < everything:
        lake.audit(feed.lines, Held(rows.frame.select(*feed.lines.columns), {ROWS: everything}), feed=feed.name)
    lake.audit(feed.table, Held(usable_rows(rows, stamp).select(*feed.table.columns), {ROWS: good}), feed=feed.name)


def refused_lines(judged: DataFrame, feed: Feed) -> DataFrame:
    raw = F.make_valid_utf8("value").alias("raw")
    return judged.where("reason is not null").select(F.lit(feed.name).alias("feed"), "file", "line", "reason", raw)
