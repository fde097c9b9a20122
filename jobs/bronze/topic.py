"""A Kafka topic as something that lands: each part of it, a partition's offsets from one to another, is claimed like a file."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts import bronze, landing
from jobs.bronze.batches import LandedFile, LandingError
from lake.jvm import java_class
from lake.tables import Lake

PREFIX = "kafka:"
PART = re.compile(r"offsets (\d+)-(\d+)( gone)?")
BYTES = "org.apache.kafka.common.serialization.ByteArrayDeserializer"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic whose messages are lines of the feed `events`."""

    servers: str
    name: str

    def file(self, partition: int) -> str:
        """What bronze calls a partition, whose offsets are its lines."""
        return f"{PREFIX}{self.name}/{partition}"


def new_parts(lake: Lake, topic: Topic, *, now: datetime) -> Iterator[LandedFile]:
    """What the topic has beyond what loads have claimed; a partition is taken from its beginning.

    Messages that Kafka removed before they were taken are refused as a whole, so that quarantine tells of them. Raises
    `LandingError` for a topic that ends before what was taken.
    """
    reached = ends_claimed(lake, topic)
    for partition, (first, end) in sorted(ends_of(lake.spark, topic).items()):
        start = reached.get(topic.file(partition), 0)
        if end < start:
            raise LandingError(
                f"topic {topic.name}, partition {partition} ends at offset {end}, and {start} were taken of it: it was made "
                "anew; give the new topic another name"
            )
        if first > start:
            why = f"Kafka removed the messages at offsets {start} to {first - 1} before they were taken"
            yield part_of(topic, partition, start, first, now=now, refusal=why)
            start = first
        if end > start:
            yield part_of(topic, partition, start, end, now=now)


def part_of(
    topic: Topic, partition: int, start: int, end: int, *, now: datetime, refusal: str | None = None
) -> LandedFile:
    return LandedFile(
        feed=landing.EVENTS.name,
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
    rows = (
        lake.read(bronze.FILES).where(F.col("file").startswith(topic.file(0)[:-1])).select("file", "sha256").collect()
    )
    ends: dict[str, int] = {}
    for row in rows:
        ends[row.file] = max(ends.get(row.file, 0), offsets_of(row.sha256)[1])
    return ends


def offsets_of(part: str) -> tuple[int, int]:
    matched = PART.fullmatch(part)
    if matched is None:
        raise LandingError(f"{bronze.FILES.full_name} has a part of a topic that says {part!r} in place of its offsets")
    return int(matched[1]), int(matched[2])


def ends_of(spark: SparkSession, topic: Topic) -> dict[int, tuple[int, int]]:
    """By partition, the first offset that Kafka still has, and the one after the last."""
    properties = java_class(spark, "java.util.Properties")()
    for name, value in (
        ("bootstrap.servers", topic.servers),
        ("key.deserializer", BYTES),
        ("value.deserializer", BYTES),
    ):
        properties.put(name, value)
    consumer = java_class(spark, "org.apache.kafka.clients.consumer.KafkaConsumer")(properties)
    try:
        parts: Any = java_class(spark, "java.util.ArrayList")()
        for info in consumer.partitionsFor(topic.name) or ():
            parts.add(java_class(spark, "org.apache.kafka.common.TopicPartition")(topic.name, info.partition()))
        first, end = consumer.beginningOffsets(parts), consumer.endOffsets(parts)
        return {part.partition(): (int(first[part]), int(end[part])) for part in parts}
    finally:
        consumer.close()


def is_of_topic(file: LandedFile) -> bool:
    return file.file.startswith(PREFIX)


def read_parts(spark: SparkSession, topic: Topic | None, parts: Sequence[LandedFile]) -> DataFrame:
    """The messages of claimed parts as `file, line, value, delivered_at`: offsets as lines, delivered when appended."""
    if topic is None or any(not part.file.startswith(topic.file(0)[:-1]) for part in parts):
        raise LandingError(
            f"{parts[0].file} was claimed by a load that did not finish; set TAILRACE_KAFKA as it was then"
        )
    offsets = {number_of(part): offsets_of(part.sha256) for part in parts}
    messages = spark.read.format("kafka").options(
        **{
            "kafka.bootstrap.servers": topic.servers,
            "assign": json.dumps({topic.name: sorted(offsets)}),
            "startingOffsets": by_partition(topic, ((number, start) for number, (start, _) in offsets.items())),
            "endingOffsets": by_partition(topic, ((number, end) for number, (_, end) in offsets.items())),
        }
    )
    file = F.concat(F.lit(topic.file(0)[:-1]), F.col("partition").cast("string"))
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
