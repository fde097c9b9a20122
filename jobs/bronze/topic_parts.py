"""Parts of a topic, a partition's offsets from one to another: claimed like files, divided, and read."""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.bronze.listing import LandedFile
from jobs.bronze.topic import Ends, KafkaAway, Topic, behind_transaction, ends_of, for_spark, made_anew
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError

log = logging.getLogger(__name__)

PART = re.compile(r"offsets (\d+)-(\d+)( gone)?")


def new_parts(lake: Lake, topic: Topic, ends: Mapping[int, Ends], *, now: datetime) -> Iterator[LandedFile]:
    """What the topic has beyond what loads have claimed; a partition is loaded from its beginning.

    Messages that Kafka removed before they were consumed are refused as a whole; quarantine then has their offsets. Raises
    `LandingError` for a topic that ends before what was consumed.
    """
    reached = ends_claimed(lake, topic)
    for partition, of in sorted(ends.items()):
        start = reached.get(topic.file(partition), 0)
        if of.appended < start:
            raise made_anew(topic.name, partition, of.appended, consumed=start)
        if of.first > start:
            yield claimed_part(topic, partition, start, of.first, now=now, refusal=removed(start, of.first))
            start = of.first
        if of.end > start:
            yield claimed_part(topic, partition, start, of.end, now=now)
        elif of.waiting:
            log.warning("%s; a load after its end takes them", behind_transaction(topic.name, partition, of))


def what_is_left(spark: SparkSession, topics: Sequence[Topic], files: Sequence[LandedFile]) -> list[LandedFile]:
    """Files that were claimed and not read, with parts of topics divided into what Kafka removed since and the rest.

    Raises `KafkaAway` for a part that reaches behind a transaction that is open.
    """
    left = list(files)
    for topic in topics:
        if any(is_part_of(file, topic) for file in left):
            ends = ends_of(spark, topic)
            left = [part for file in left for part in parts_left(file, topic, ends)]
    return left


def parts_left(file: LandedFile, topic: Topic, ends: Mapping[int, Ends]) -> Iterator[LandedFile]:
    """What is left to read of a claimed part of a topic; a file, or a part of another topic, as it is."""
    if not is_part_of(file, topic):
        yield file
        return
    partition, (start, end) = number_of(file), offsets_of(file.sha256)
    of = ends.get(partition, Ends(first=0, end=0, appended=0))
    if of.end < end <= of.appended:
        raise KafkaAway(f"{behind_transaction(topic.name, partition, of)}; load again after its end")
    # A topic that ends before them was made anew; that is reported when its new messages are looked for.
    begin = end if end > of.appended else min(max(start, of.first), end)
    if begin > start:
        yield claimed_part(topic, partition, start, begin, now=file.delivered_at, refusal=removed(start, begin))
    yield claimed_part(topic, partition, begin, end, now=file.delivered_at)


def is_part_of(file: LandedFile, topic: Topic) -> bool:
    """Whether a file is a part of a topic that is not refused as a whole."""
    return file.feed == topic.feed and file.refusal is None and file.file.startswith(topic.prefix)


def removed(start: int, end: int) -> str:
    return f"Kafka removed the messages at offsets {start} to {end - 1} before they were consumed"


def claimed_part(
    topic: Topic, partition: int, start: int, end: int, *, now: datetime, refusal: str | None = None
) -> LandedFile:
    return LandedFile(
        feed=topic.feed,
        file=topic.file(partition),
        sha256=f"offsets {start}-{end}" + (" gone" if refusal else ""),
        bytes=0,
        delivered_at=now,
        refusal=refusal,
    )


def ends_claimed(lake: Lake, topic: Topic) -> dict[str, int]:
    """By partition's file, the offset up to which loads have claimed."""
    if not lake.exists(bronze.FILES):
        return {}
    claimed = lake.read(bronze.FILES).where((F.col("feed") == topic.feed) & F.col("file").startswith(topic.prefix))
    rows = claimed.select("file", "sha256").collect()
    ends: dict[str, int] = {}
    for row in rows:
        ends[row.file] = max(ends.get(row.file, 0), offsets_of(row.sha256)[1])
    return ends


def offsets_of(part: str) -> tuple[int, int]:
    matched = PART.fullmatch(part)
    if matched is None:
        raise LandingError(f"{bronze.FILES.full_name} has a part of a topic that says {part!r} in place of its offsets")
    return int(matched[1]), int(matched[2])


def read_parts(spark: SparkSession, topic: Topic | None, parts: Sequence[LandedFile]) -> DataFrame:
    """The messages of claimed parts as `file, line, value, delivered_at`: offsets as lines, delivered when appended."""
    if topic is None or any(not part.file.startswith(topic.prefix) for part in parts):
        raise LandingError(
            f"{parts[0].file} was claimed by a load that did not finish; set TAILRACE_KAFKA as it was then"
        )
    offsets = {number_of(part): offsets_of(part.sha256) for part in parts}
    messages = spark.read.format("kafka").options(
        **{
            **for_spark(topic.impatient),
            "assign": json.dumps({topic.name: sorted(offsets)}),
            "startingOffsets": by_partition(topic, ((number, start) for number, (start, _) in offsets.items())),
            "endingOffsets": by_partition(topic, ((number, end) for number, (_, end) in offsets.items())),
        }
    )
    file = F.concat(F.lit(topic.prefix), F.col("partition").cast("string"))
    return (
        messages.load()
        .select(
            F.col("offset").alias("line"),
            F.col("value").cast("string").alias("value"),
            file.alias("file"),
            F.col("timestamp").alias("delivered_at"),
        )
        .where(F.col("value").rlike(r"\S"))
    )


def number_of(part: LandedFile) -> int:
    return int(part.file.rpartition("/")[2])


def by_partition(topic: Topic, offsets: Iterable[tuple[int, int]]) -> str:
    return json.dumps({topic.name: {str(number): offset for number, offset in offsets}})
