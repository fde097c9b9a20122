"""Claimed files and parts of topics: read and validated; what cannot be used of them goes to quarantine, each line once."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.file_check import UNREADABLE, check, read_lines, spread_lines, why_unread
from jobs.bronze.lines import extra_names, validate_lines
from jobs.bronze.listing import Batch, LandedFile
from jobs.bronze.topic import Topic, is_of_topic
from jobs.bronze.topic_parts import read_parts
from tailrace.lake import storage
from tailrace.lake.session import ROWS, Materialized, materialized, small_frame, to_join
from tailrace.lake.storage import StoredFile
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import Feed, LandingError

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


REFUSED = "feed string, file string, line bigint, reason string, raw string"
BATCH_BITS = 32  # of a number that has the batch in its upper half, and in its lower what is there of it


@dataclass(frozen=True, kw_only=True)
class RefusedPart:
    """What a batch refuses of one feed: whole files, and lines among those that were validated, if any were."""

    feed: str
    files: Sequence[LandedFile]
    validated: DataFrame | None

    def rows(self, lake: Lake, batch: Batch) -> DataFrame:
        """The rows of `bronze.QUARANTINE`."""
        whole = [(self.feed, file.file, None, file.refusal, None) for file in self.files]
        rows = small_frame(lake.spark, whole, REFUSED)
        if self.validated is not None:
            rows = rows.unionByName(refused_lines(self.validated, self.feed))
        return rows.withColumns(batch.stamp)


def refused_lines(validated: DataFrame, feed: str) -> DataFrame:
    """The lines that have a reason, with their text."""
    raw = F.make_valid_utf8("value").alias("raw")
    return validated.where("reason is not null").select(F.lit(feed).alias("feed"), "file", "line", "reason", raw)


def quarantine(lake: Lake, batch: Batch, refused: Sequence[RefusedPart]) -> None:
    """Append what a batch refuses, in one commit if it is the first of this batch.

    A batch may come back, for a feed that was blocked or by a process that goes on where another was killed; then only
    those lines are appended that are not there.
    """
    if not refused:
        return
    if lake.last_appended(bronze.QUARANTINE) < batch.number:
        run = uuid.uuid4().hex
        rows = reduce(DataFrame.unionByName, (one.rows(lake, batch) for one in refused))
        lake.append_once(bronze.QUARANTINE, rows, number=batch.number, run=run)
        state = lake.state(bronze.QUARANTINE)
        if state is not None and state.values.get("run") == run:
            return
    for one in refused:
        append_missing(lake, batch, one)


def append_missing(lake: Lake, batch: Batch, refused: RefusedPart) -> None:
    """Append what the quarantine does not have of a feed's part of a batch.

    Processes that found the same there append under the same number, and one of them does.
    """
    there = lake.read(bronze.QUARANTINE, version=lake.version(bronze.QUARANTINE))
    there = there.where((F.col("feed") == refused.feed) & (F.col("batch") == batch.number))
    # Of a file as a whole there may be several refusals: parts of a topic have one name.
    mark = F.coalesce(F.col("line").cast("string"), F.col("reason")).alias("mark")
    with materialized(there.select("file", mark)) as known:
        rows = refused.rows(lake, batch).withColumn("mark", mark)
        known_rows = to_join(known.frame, rows=known.counts[ROWS])
        with materialized(rows.join(known_rows, on=["file", "mark"], how="left_anti")) as left:
            if left.counts[ROWS]:
                lake.append_numbered(
                    bronze.QUARANTINE,
                    left.frame,
                    name=f"{bronze.QUARANTINE.full_name}/{refused.feed}",
                    number=(batch.number << BATCH_BITS) + known.counts[ROWS],
                )
