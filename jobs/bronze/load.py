"""The bronze load: files are claimed, and their rows appended to bronze, each exactly once."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.bronze.file_check import UNREADABLE, check, read_lines, spread_lines, why_unread
from jobs.bronze.lines import check_rules, count_extra_names, extra_names, validate_lines
from jobs.bronze.listing import (
    Batch,
    LandedFile,
    Listing,
    claim,
    conformed_to,
    declared_tables,
    last_claim,
    new_files,
    read_batch,
    unfinished,
)
from jobs.bronze.loaded import Loaded
from jobs.bronze.schema_change import conform, remember_conformed
from jobs.bronze.set_aside import FilesToExclude, exclude_files
from jobs.bronze.topic import Topic, ends_of, is_of_topic
from jobs.bronze.topic_parts import ends_claimed, new_parts, read_parts, what_is_left
from tailrace.lake import storage
from tailrace.lake.session import ROWS, Materialized, materialized, small_frame
from tailrace.lake.storage import StoredFile
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import Feed, Feeds, LandingError

ORIGIN = "path string, file string, delivered_at timestamp"


AGAIN = "land it again under another name"


@dataclass(frozen=True, kw_only=True)
class FeedFiles:
    """Where one feed's files and messages are read from; `until` is when the load began."""

    lake: Lake
    feed: Feed
    folder: str
    topic: Topic | None
    until: datetime


def validate_claimed(
    source: FeedFiles, claimed: Sequence[LandedFile], *, keep: ExitStack
) -> tuple[Materialized | None, list[LandedFile]]:
    """The verdicts on all lines, kept until `keep` ends, and the files that cannot be read, each with its refusal.

    Files are read together. Where that fails, those that are the cause are refused and the others read again; what no file
    is the cause of is raised.
    """
    left, refused = list(claimed), list[LandedFile]()
    while left:
        stored = list_claimed(source, left)
        lost = [replace(file, refusal=why) for file in landed(left) if (why := why_lost(stored.get(file.file)))]
        if not lost:
            try:
                lines = deliveries(source, left, stored)
                validated = validate_lines(lines, source.feed, now=source.until)
                is_valid = F.isnull("reason")
                rows = materialized(validated, valid=is_valid, extra=is_valid & (F.size(extra_names(source.feed)) > 0))
                return keep.enter_context(rows), refused
            except UNREADABLE:
                lost = culprits(source, landed(left), stored)
                if not lost:
                    raise
        refused += lost
        left = [file for file in left if file.file not in {one.file for one in lost}]
    return None, refused


def landed(files: Sequence[LandedFile]) -> list[LandedFile]:
    """The files among files and parts of a topic."""
    return [file for file in files if not is_of_topic(file.file)]


def list_claimed(source: FeedFiles, files: Sequence[LandedFile]) -> dict[str, StoredFile]:
    """What the feed's folder holds now; raises `LandingError` where the folder is gone, and not only a file."""
    of_folder = landed(files)
    if not of_folder:
        return {}
    if not storage.is_there(source.lake.spark, source.folder):
        raise LandingError(
            f"{source.folder} is gone, and with it {of_folder[0].file}, which a load has claimed; "
            "put the folder back, or put an empty one in its place to give its files up"
        )
    return {file.name: file for file in storage.list_files(source.lake.spark, source.folder)}


def why_lost(stored: StoredFile | None) -> str | None:
    """Why a claimed file must not be opened any more, None where it may."""
    if stored is None:
        return f"the file was gone when it was to be read; {AGAIN}"
    return stored.refusal


def culprits(source: FeedFiles, files: Sequence[LandedFile], stored: Mapping[str, StoredFile]) -> list[LandedFile]:
    """The files that a failed read is due to, each with its refusal; none where they are fine one by one.

    First by what is checked of every file, then by reading each by itself. Where that fails for all of several, it is not theirs.
    """
    checked = [(file, check(source.lake.spark, stored[file.file], source.feed)) for file in files]
    found = [
        replace(file, refusal=look.refusal if look else why_lost(None))
        for file, look in checked
        if look is None or look.refusal
    ]
    if found:
        return found
    found = [replace(file, refusal=why) for file in files if (why := why_unread_by_itself(source, stored[file.file]))]
    return [] if len(found) == len(files) > 1 else found


def why_unread_by_itself(source: FeedFiles, file: StoredFile) -> str | None:
    """What an attempt to read one file by itself fails with, None where it works."""
    try:
        read_lines(source.lake.spark, [file], source.feed).write.format("noop").mode("overwrite").save()
    except UNREADABLE as error:
        return why_unread(file, error)
    return None


def deliveries(source: FeedFiles, claimed: Sequence[LandedFile], stored: Mapping[str, StoredFile]) -> DataFrame:
    """The lines of claimed files and messages of claimed parts, each with where it came from and when.

    A time after the load began counts as that: a delivery from the future would win against every correction till then.
    """
    parts, files = [file for file in claimed if is_of_topic(file.file)], landed(claimed)
    frames = [lines_of_feed(source, files, stored)] if files else []
    frames += [read_parts(source.lake.spark, source.topic, parts)] if parts else []
    lines = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)
    return lines.withColumn("delivered_at", F.least("delivered_at", F.lit(source.until)))


def lines_of_feed(source: FeedFiles, files: Sequence[LandedFile], stored: Mapping[str, StoredFile]) -> DataFrame:
    """The lines of claimed files, each with its file and when that was delivered."""
    spark = source.lake.spark
    known = [(storage.reported_path(spark, stored[file.file]), file.file, file.delivered_at) for file in files]
    with_lines = [stored[file.file] for file in files if stored[file.file].bytes]
    lines = spread_lines(read_lines(spark, with_lines, source.feed), with_lines)
    # A line without its file would break bronze's NOT NULL rather than be lost.
    return lines.join(F.broadcast(small_frame(spark, known, ORIGIN)), on="path", how="left").drop("path")


log = logging.getLogger(__name__)

REFUSED = "feed string, file string, line bigint, reason string, raw string"


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What loads take: the files of `feeds` in the landing folder, and the messages of topics."""

    folder: str
    feeds: Feeds
    topics: tuple[Topic, ...] = ()

    def topic(self, feed: str) -> Topic | None:
        """The topic that a feed is read from, too; None where there is none."""
        return next((topic for topic in self.topics if topic.feed == feed), None)

    def listing(self, lake: Lake) -> Listing:
        """What lies in the folders now."""
        return Listing.of(lake, self.folder, self.feeds)


def run(lake: Lake, intake: Intake, *, now: datetime, aside: FilesToExclude | None = None) -> Loaded:
    """Take every new file of all feeds, and what is new in topics; `now` is the wall clock.

    `aside` names files that an earlier load took and the quality gate stopped; they are left out from now on.
    """
    check_rules(lake.spark, intake.feeds)
    if aside:
        exclude_files(lake, intake.feeds, aside, now=now)
    loaded = Loaded(rows=dict.fromkeys((feed.name for feed in intake.feeds), 0))
    last = last_claim(lake)
    if last.number and (conformed_to(lake) or last.declared) != declared_tables(intake.feeds):
        conform(lake, intake.feeds)
        remember_conformed(lake, declared_tables(intake.feeds))
    cut_off = unfinished(lake, intake.feeds, last)
    if cut_off:
        cut_off = replace(cut_off, files=what_is_left(lake.spark, intake.topics, cut_off.files))
        loaded += load_batch(lake, intake, cut_off)
    listing = intake.listing(lake)
    if listing.others:
        log.warning("no source reads the folders %s in %s", ", ".join(listing.others), intake.folder)
    ends = {topic: ends_of(lake.spark, topic) for topic in intake.topics}
    files = [part for topic, of in ends.items() for part in new_parts(lake, topic, of, now=now)]
    waiting = sum(of.waiting for by_partition in ends.values() for of in by_partition.values())
    if listing.digest == last.listing and not files:
        return replace(loaded, waiting=waiting, unread=listing.others)
    files += [file for feed in intake.feeds for file in new_files(lake, listing, feed)]
    if files:
        claim(lake, intake.feeds, files, batch=last.number + 1, now=now, listing=listing)
        claimed = read_batch(lake, last.number + 1)  # perhaps another process was faster, and claimed other files
        loaded += load_batch(lake, intake, claimed)
    return replace(loaded, waiting=waiting, unread=listing.others)


def load_batch(lake: Lake, intake: Intake, batch: Batch) -> Loaded:
    lake.expect_rows()
    stamp = {"batch": F.lit(batch.number).cast("bigint"), "ingested_at": F.lit(batch.ingested_at)}
    whole = [file for file in batch.files if file.refusal]
    validated: dict[Feed, Materialized] = {}
    with ExitStack() as until_appended:
        for feed in intake.feeds:
            readable = [file for file in batch.files if file.feed == feed.name and file.refusal is None]
            folder, topic = feed.folder(intake.folder), intake.topic(feed.name)
            source = FeedFiles(lake=lake, feed=feed, folder=folder, topic=topic, until=batch.ingested_at)
            rows, unread = validate_claimed(source, readable, keep=until_appended)
            whole += unread
            if rows:
                validated[feed] = rows
        extra = {
            feed.name: count_extra_names(rows.frame, feed) for feed, rows in validated.items() if rows.counts["extra"]
        }
        loaded = replace(count_loaded(batch, validated, whole), extra=extra)
        for feed, rows in validated.items():
            audit(lake, feed, rows, stamp)
        if loaded.quarantined:
            refused = refused_files(lake, whole)
            for feed, rows in validated.items():
                refused = refused.unionByName(refused_lines(rows.frame, feed))
            lake.append_once(bronze.QUARANTINE, refused.withColumns(stamp), number=batch.number)
        for feed, rows in validated.items():
            lake.append_once(feed.table, valid_rows(rows, stamp), number=batch.number)
    return loaded


def count_loaded(batch: Batch, validated: Mapping[Feed, Materialized], whole: Sequence[LandedFile]) -> Loaded:
    valid = {feed.name: rows.counts["valid"] for feed, rows in validated.items()}
    lines = sum(rows.counts[ROWS] for rows in validated.values())
    quarantined = len(whole) + lines - sum(valid.values())
    return Loaded(files=len(batch.files), rows=valid, quarantined=quarantined)


def refused_files(lake: Lake, files: Sequence[LandedFile]) -> DataFrame:
    return small_frame(lake.spark, [(file.feed, file.file, None, file.refusal, None) for file in files], REFUSED)


def valid_rows(rows: Materialized, stamp: dict[str, Column]) -> DataFrame:
    return rows.frame.where("reason is null").withColumns(stamp)


def audit(lake: Lake, feed: Feed, rows: Materialized, stamp: dict[str, Column]) -> None:
    """Have the quality gate look at a load: at its lines where some are refused, and at its valid rows."""
    everything, good = rows.counts[ROWS], rows.counts["valid"]
    if good < everything:
        lake.audit(feed.lines, Materialized(rows.frame.select(*feed.lines.columns), {ROWS: everything}), feed=feed.name)
    lake.audit(
        feed.table, Materialized(valid_rows(rows, stamp).select(*feed.table.columns), {ROWS: good}), feed=feed.name
    )


def refused_lines(validated: DataFrame, feed: Feed) -> DataFrame:
    raw = F.make_valid_utf8("value").alias("raw")
    return validated.where("reason is not null").select(F.lit(feed.name).alias("feed"), "file", "line", "reason", raw)


LOADS = 20  # each of which another process may have cut short by taking a part


def catch_up(lake: Lake, intake: Intake, load: Callable[[], Loaded]) -> Loaded:
    """Load again and again until all that lies there now is appended; raises `LandingError` where others never end.

    One load is not enough while others run: what these have claimed it leaves to them, appended or not.
    """
    listing = intake.listing(lake)
    ends = {
        (topic, topic.file(one)): of.end for topic in intake.topics for one, of in ends_of(lake.spark, topic).items()
    }
    loaded = Loaded()
    for _ in range(LOADS):
        loaded += load()
        claimed = {(topic, file): end for topic in intake.topics for file, end in ends_claimed(lake, topic).items()}
        if all(claimed.get(file, 0) >= end for file, end in ends.items()) and is_appended(lake, intake.feeds, listing):
            return loaded
    raise LandingError("bronze does not come to have all that has landed: other loads are under way; try again")


def is_appended(lake: Lake, feeds: Feeds, listing: Listing) -> bool:
    """Whether all files of a listing are claimed, and the last claim of all is appended."""
    left = (file for feed in feeds for file in new_files(lake, listing, feed))
    return next(left, None) is None and unfinished(lake, feeds, last_claim(lake)) is None
