"""The bronze load: files are claimed, and their rows appended to bronze, each exactly once; and what a load reports."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame

from jobs.blocked import Blocked, Reasons, raise_first
from jobs.bronze.claimed import FeedFiles, RefusedPart, quarantine, validate_claimed
from jobs.bronze.lines import check_rules, count_extra_names
from jobs.bronze.listing import (
    Batch,
    Claim,
    Known,
    LandedFile,
    Listing,
    check_declared,
    claim,
    conformed_to,
    declared_tables,
    last_claim,
    new_files,
    read_batch,
    unfinished,
)
from jobs.bronze.schema_change import PARTLY, conform, remember_conformed
from jobs.bronze.set_aside import FilesToExclude, exclude_files
from jobs.bronze.topic import Topic, ends_of
from jobs.bronze.topic_parts import ends_claimed, new_parts, what_is_left
from tailrace.lake.session import ROWS, Materialized
from tailrace.lake.tables import Lake
from tailrace.schemas.landing import Feed, Feeds, LandingError


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load brought: files, valid rows per feed, and lines or files refused.

    `waiting` counts the messages that it left in topics because they are behind a transaction that is open. `unread` are the
    folders in the landing folder that no source reads. `extra` are fields of usable lines that no field of their feed names,
    by feed, each with its lines. `blocked` has the feeds that are refused, each with the reason; their new data waits.
    """

    files: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    waiting: int = 0
    unread: tuple[str, ...] = field(default=(), compare=False)
    extra: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    blocked: Reasons = field(default_factory=dict)

    def __add__(self, other: "Loaded") -> "Loaded":
        names = dict.fromkeys((*self.rows, *other.rows))
        return Loaded(
            files=self.files + other.files,
            rows={name: self.rows.get(name, 0) + other.rows.get(name, 0) for name in names},
            quarantined=self.quarantined + other.quarantined,
            waiting=other.waiting,  # the later load left what the earlier one did
            unread=other.unread,
            blocked={**self.blocked, **other.blocked},
            extra={
                **self.extra,
                **{feed: added(self.extra.get(feed, {}), names) for feed, names in other.extra.items()},
            },
        )

    def json(self) -> dict[str, Any]:
        """The figures as reports print them, with the rows of each feed; what is extra or unread only where there is any."""
        shown: dict[str, Any] = {
            "files": self.files,
            **self.rows,
            "quarantined": self.quarantined,
            "waiting": self.waiting,
        }
        if self.unread:
            shown["unread_folders"] = list(self.unread)
        if self.extra:
            shown["extra_fields"] = {feed: dict(names) for feed, names in self.extra.items()}
        return shown


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The sums of counts by name."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What loads take: the files of `feeds` in the landing folder, and the messages of topics."""

    folder: str
    feeds: Feeds
    topics: tuple[Topic, ...] = ()

    def feed(self, name: str) -> Feed | None:
        """The feed of a name; None where none is declared."""
        return next((feed for feed in self.feeds if feed.name == name), None)

    def topics_of(self, feed: str) -> tuple[Topic, ...]:
        """The topic that a feed is read from, too, if there is one."""
        return tuple(topic for topic in self.topics if topic.feed == feed)

    def only(self, feed: str) -> "Intake":
        """What loads take of one feed."""
        return replace(self, feeds=tuple(one for one in self.feeds if one.name == feed), topics=self.topics_of(feed))

    def listing(self, lake: Lake) -> Listing:
        """What lies in the folders now."""
        return Listing.of(lake, self.folder, self.feeds)


def run(lake: Lake, intake: Intake, *, now: datetime, aside: FilesToExclude | None = None) -> Loaded:
    """Take every new file of all feeds, and what is new in topics; `now` is the wall clock.

    `aside` names files that an earlier load took and the quality gate stopped; they are left out from now on. A feed that
    is refused is in `Loaded.blocked`: its batch stays claimed, its newer files are not, and the next load looks again.
    """
    if aside:
        exclude_files(lake, intake.feeds, aside, now=now)
    blocked, last = Blocked(), last_claim(lake)
    bring_to_declared(lake, intake.feeds, last, blocked)
    cut_off = unfinished(lake, last)
    loaded = Loaded(rows=dict.fromkeys((feed.name for feed in intake.feeds), 0))
    for batch in cut_off:
        loaded += load_batch(lake, intake, what_can_go_on(lake, intake, batch, blocked), blocked)
    listing = intake.listing(lake)
    if listing.others:
        log.warning("no source reads the folders %s in %s", ", ".join(listing.others), intake.folder)
    files, waiting = parts_of_topics(lake, intake, blocked, now=now)
    if listing.digest != last.listing or files:
        for feed in intake.feeds:
            if feed.name not in blocked:
                with blocked.isolated(feed.name):
                    files += list(new_files(lake, listing, feed))
    if files:
        pending = {feed: batch.number for batch in cut_off for feed in batch.feeds if feed in blocked}
        # What is left unclaimed is to be found by the next load, though nothing else may land till then.
        digest = "" if blocked.reasons else listing.digest
        known = Known(listing=digest, declared=declared_tables(intake.feeds), pending=pending)
        claim(lake, files, batch=last.number + 1, now=now, known=known)
        claimed = read_batch(lake, last.number + 1)  # perhaps another process was faster, and claimed other files
        loaded += load_batch(lake, intake, claimed, blocked)
    return replace(loaded, waiting=waiting, unread=listing.others, blocked=blocked.reasons)


def bring_to_declared(lake: Lake, feeds: Feeds, last: Claim, blocked: Blocked) -> None:
    """Have tables follow the declarations of their feeds."""
    declared = declared_tables(feeds)
    is_as_before = not last.number or (conformed_to(lake) or last.declared) == declared
    for feed in feeds:
        with blocked.isolated(feed.name):
            check_rules(lake.spark, feed)
            if not is_as_before:
                conform(lake, feed)
    # Where some could not follow, all are looked at again: also if the declarations of before come back.
    now = PARTLY if blocked.reasons else declared
    if not is_as_before and conformed_to(lake) != now:
        remember_conformed(lake, now)


def what_can_go_on(lake: Lake, intake: Intake, batch: Batch, blocked: Blocked) -> Batch:
    """What is left of a batch that was cut off, or had a feed that was blocked then."""
    files: list[LandedFile] = []
    for name in batch.feeds:
        if name not in blocked:
            with blocked.isolated(name):
                check_declared(intake.feeds, batch, name)
                of_feed = [file for file in batch.files if file.feed == name]
                files += what_is_left(lake.spark, intake.topics_of(name), of_feed)
    return replace(batch, files=files)


def parts_of_topics(lake: Lake, intake: Intake, blocked: Blocked, *, now: datetime) -> tuple[list[LandedFile], int]:
    """What topics have that no load has claimed, and how many messages wait behind open transactions."""
    parts, waiting = list[LandedFile](), 0
    for topic in intake.topics:
        if topic.feed not in blocked:
            with blocked.isolated(topic.feed):
                ends = ends_of(lake.spark, topic)
                parts += list(new_parts(lake, topic, ends, now=now))
                waiting += sum(of.waiting for of in ends.values())
    return parts, waiting


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a batch has of one feed: its validated rows, if any file could be read, and the files refused as a whole.

    `feed` is None for files of one that is no longer declared, which are all refused.
    """

    name: str
    feed: Feed | None
    files: int
    rows: Materialized | None
    whole: list[LandedFile]
    extra: Mapping[str, int]

    @property
    def valid(self) -> int:
        return self.rows.counts["valid"] if self.rows else 0

    @property
    def quarantined(self) -> int:
        return len(self.whole) + (self.rows.counts[ROWS] - self.valid if self.rows else 0)

    @property
    def loaded(self) -> Loaded:
        """The part as reports have it."""
        return Loaded(
            files=self.files,
            rows={self.name: self.valid} if self.rows else {},
            quarantined=self.quarantined,
            extra={self.name: self.extra} if self.extra else {},
        )


def load_batch(lake: Lake, intake: Intake, batch: Batch, blocked: Blocked) -> Loaded:
    """Append what a batch has of each feed that is not blocked, what it refuses of them first."""
    parts, loaded = list[Part](), Loaded()
    if batch.files:
        lake.expect_rows()
    with ExitStack() as until_appended:
        for name in batch.feeds:
            if name not in blocked:
                with blocked.isolated(name):
                    parts.append(audited(lake, batch, part_of(lake, intake, batch, name, keep=until_appended)))
        refused = (
            RefusedPart(feed=part.name, files=part.whole, validated=part.rows.frame if part.rows else None)
            for part in parts
            if part.quarantined
        )
        quarantine(lake, batch, list(refused))
        for part in parts:
            with blocked.isolated(part.name):
                if part.feed and part.rows:
                    lake.append_once(part.feed.table, valid_rows(part.rows, batch), number=batch.number)
                loaded += part.loaded
    return loaded


def part_of(lake: Lake, intake: Intake, batch: Batch, name: str, *, keep: ExitStack) -> Part:
    """Read and validate what a batch has of a feed; its rows are kept until `keep` ends."""
    feed, files = intake.feed(name), [file for file in batch.files if file.feed == name]
    whole = [file for file in files if file.refusal]
    readable = [file for file in files if file.refusal is None]
    rows, extra = None, dict[str, int]()
    if feed is not None:
        topic = next(iter(intake.topics_of(name)), None)
        source = FeedFiles(
            lake=lake, feed=feed, folder=feed.folder(intake.folder), topic=topic, until=batch.ingested_at
        )
        rows, unread = validate_claimed(source, readable, keep=keep)
        whole += unread
        if rows and rows.counts["extra"]:
            extra = count_extra_names(rows.frame, feed)
    return Part(name=name, feed=feed, files=len(files), rows=rows, whole=whole, extra=extra)


def valid_rows(rows: Materialized, batch: Batch) -> DataFrame:
    return rows.frame.where("reason is null").withColumns(batch.stamp)


def audited(lake: Lake, batch: Batch, part: Part) -> Part:
    """Have the quality gate look at a load: at its lines where some are refused, and at its valid rows."""
    feed, rows = part.feed, part.rows
    if feed is None or rows is None:
        return part
    if part.valid < rows.counts[ROWS]:
        lines = Materialized(rows.frame.select(*feed.lines.columns), {ROWS: rows.counts[ROWS]})
        lake.audit(feed.lines, lines, feed=feed.name)
    valid = valid_rows(rows, batch).select(*feed.table.columns)
    lake.audit(feed.table, Materialized(valid, {ROWS: part.valid}), feed=feed.name)
    return part


LOADS = 20  # each of which another process may have cut short by taking a part


def catch_up(lake: Lake, intake: Intake, load: Callable[[], Loaded]) -> Loaded:
    """Load again and again until all that lies there now is appended; raises `LandingError` where others never end.

    One load is not enough while others run: what these have claimed it leaves to them, appended or not. Raises the reason
    of a feed that is blocked.
    """
    listing = intake.listing(lake)
    ends = {
        (topic, topic.file(one)): of.end for topic in intake.topics for one, of in ends_of(lake.spark, topic).items()
    }
    loaded = Loaded()
    for _ in range(LOADS):
        loaded += load()
        raise_first(loaded.blocked, of=(feed.name for feed in intake.feeds))
        claimed = {(topic, file): end for topic in intake.topics for file, end in ends_claimed(lake, topic).items()}
        if all(claimed.get(file, 0) >= end for file, end in ends.items()) and is_appended(lake, intake.feeds, listing):
            return loaded
    raise LandingError("bronze does not come to have all that has landed: other loads are under way; try again")


def is_appended(lake: Lake, feeds: Feeds, listing: Listing) -> bool:
    """Whether all files of a listing are claimed, and all that is claimed of their feeds is appended."""
    left = (file for feed in feeds for file in new_files(lake, listing, feed))
    names = {feed.name for feed in feeds}
    return next(left, None) is None and not any(
        names.intersection(batch.feeds) for batch in unfinished(lake, last_claim(lake))
    )
