"""A Kafka topic as something that lands: each part of it, a partition's offsets from one to another, is claimed like a file."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.bronze.listing import LandedFile
from tailrace.definitions import Definitions, Kafka
from tailrace.definitions.declared_source import DeclaredSource
from tailrace.errors import UnavailableError
from tailrace.lake.session import java_class
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError
from tailrace.settings import StreamSettings, read_properties

log = logging.getLogger(__name__)

PREFIX = "kafka:"
PART = re.compile(r"offsets (\d+)-(\d+)( gone)?")
BYTES = "org.apache.kafka.common.serialization.ByteArrayDeserializer"
# Milliseconds for an answer, where the properties name none: Kafka's own minute is tried three times by Spark.
LIMITS = {"request.timeout.ms": "20000", "default.api.timeout.ms": "20000"}
SOON = {"default.api.timeout.ms": "3000"}  # of one who looks again and again, and has a heartbeat to keep
# Spark asks for what it knows to be there. A consumer waits half a second for more, and keeps its next question in line.
FETCHES = {"max.poll.records": "20000", "fetch.max.wait.ms": "1"}
# Kafka's own default is to hand out what transactions wrote that were aborted, or are not committed yet.
COMMITTED = {"isolation.level": "read_committed"}
APPENDED = {"isolation.level": "read_uncommitted"}
# What Kafka's client says of what may pass by itself: no answer in time, a connection that broke, no leader at the moment.
PASSES = "org.apache.kafka.common.errors.RetriableException"
# What it says of what does not, whatever came of it.
LASTS = {
    "org.apache.kafka.common.config.ConfigException",
    "org.apache.kafka.common.errors.AuthenticationException",
    "org.apache.kafka.common.errors.AuthorizationException",
}


class KafkaAway(UnavailableError):
    """Kafka does not answer, which may pass by itself; the message says what its client said."""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic whose messages are lines of a feed; `properties` are of Kafka's clients, and partly secret."""

    servers: str
    name: str
    feed: str = ""
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def prefix(self) -> str:
        return f"{PREFIX}{self.name}/"

    def file(self, partition: int) -> str:
        """What bronze calls a partition, whose offsets are its lines."""
        return f"{self.prefix}{partition}"

    @property
    def client(self) -> dict[str, str]:
        """The properties of every client of Kafka."""
        return {"bootstrap.servers": self.servers, **COMMITTED, **self.properties}

    @property
    def impatient(self) -> dict[str, str]:
        """The same for one that had rather fail than wait."""
        return self.client if LIMITS.keys() & self.properties.keys() else self.client | LIMITS


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Offsets of a partition: the first that Kafka still has, the one after the last that can be read, and the one after all.

    Messages between the latter two wait behind a transaction that is open.
    """

    first: int
    end: int
    appended: int

    @property
    def waiting(self) -> int:
        return self.appended - self.end


def topic_of(settings: StreamSettings, source: DeclaredSource) -> Topic | None:
    """The topic that a source is read from; None without one. Raises `LandingError` for a named one without servers."""
    named = [one.topic for one in source.readings if isinstance(one, Kafka)]
    if not named:
        return None
    if settings.kafka is None:
        if named[0] is None:
            return None
        raise LandingError(
            f"source {source.name!r} reads the topic {named[0]}; set TAILRACE_KAFKA to the servers that have it"
        )
    properties = read_properties(settings.properties)
    return Topic(servers=settings.kafka, name=named[0] or settings.topic, feed=source.name, properties=properties)


def topics_of(settings: StreamSettings, definitions: Definitions) -> tuple[Topic, ...]:
    """The topics that sources are read from."""
    found = (topic_of(settings, source) for source in definitions.sources.values())
    return tuple(topic for topic in found if topic)


def for_spark(properties: Mapping[str, str]) -> dict[str, str]:
    return {f"kafka.{name}": value for name, value in {**FETCHES, **properties}.items()}


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


def behind_transaction(topic: str, partition: int, ends: Ends) -> str:
    return (
        f"topic {topic}, partition {partition}: {ends.waiting} messages from offset {ends.end} on wait behind an open "
        "transaction of their producer"
    )


def made_anew(topic: str, partition: int, end: int, *, consumed: int) -> LandingError:
    return LandingError(
        f"topic {topic}, partition {partition} ends at offset {end}, and {consumed} were consumed of it: it was made "
        "anew; give the new topic another name"
    )


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


def ends_of(spark: SparkSession, topic: Topic) -> dict[int, Ends]:
    """The ends of each partition, none of a topic that is not there; raises `KafkaAway`, `LandingError`."""
    with kafka_errors(topic), looking_at(spark, topic) as look:
        return look()


class Watch:
    """The ends of a topic, looked at again and again over connections that stay open; Spark is started for the first look."""

    def __init__(self, spark: Callable[[], SparkSession], topic: Topic) -> None:
        self._spark, self._topic = spark, topic
        self._clients = ExitStack()
        self._look: Callable[[], dict[int, Ends]] | None = None

    def ends(self) -> dict[int, Ends]:
        """The ends of each partition; raises `KafkaAway`, `LandingError`."""
        with kafka_errors(self._topic):
            if self._look is None:
                self._look = self._clients.enter_context(looking_at(self._spark(), self._topic, **SOON))
            return self._look()


@contextmanager
def looking_at(spark: SparkSession, topic: Topic, **properties: str) -> Iterator[Callable[[], dict[int, Ends]]]:
    """A look at the ends of each partition of a topic, which raises what Kafka's client does."""
    with client_of(spark, topic, properties) as reader, client_of(spark, topic, properties | APPENDED) as watcher:

        def look() -> dict[int, Ends]:
            parts = partitions_of(spark, topic, reader)
            first, appended = reader.beginningOffsets(parts), watcher.endOffsets(parts)
            end = reader.endOffsets(parts)  # later: what is appended meanwhile does not seem to wait
            return {part.partition(): ends_at(first[part], end[part], appended[part]) for part in parts}

        yield look


def ends_at(first: int, end: int, appended: int) -> Ends:
    return Ends(first=int(first), end=int(end), appended=max(int(appended), int(end)))


@contextmanager
def client_of(spark: SparkSession, topic: Topic, properties: Mapping[str, str]) -> Iterator[Any]:
    """A consumer of Kafka's, which belongs to no group; `properties` come before those of the topic."""
    given = java_class(spark, "java.util.Properties")()
    properties = {**topic.impatient, "key.deserializer": BYTES, "value.deserializer": BYTES, **properties}
    for name, value in properties.items():
        given.put(name, value)
    consumer = java_class(spark, "org.apache.kafka.clients.consumer.KafkaConsumer")(given)
    try:
        yield consumer
    finally:
        consumer.close()


def partitions_of(spark: SparkSession, topic: Topic, consumer: Any) -> Any:
    """The partitions of a topic, in a list of Java's."""
    parts: Any = java_class(spark, "java.util.ArrayList")()
    for info in consumer.partitionsFor(topic.name) or ():
        parts.add(java_class(spark, "org.apache.kafka.common.TopicPartition")(topic.name, info.partition()))
    return parts


@contextmanager
def kafka_errors(topic: Topic) -> Iterator[None]:
    """Raise what Kafka's client says as a `LandingError`, a `KafkaAway` where it may pass, without the client's properties."""
    try:
        yield
    except Py4JJavaError as error:
        causes, kinds, cause = [], set[str](), error.java_exception
        while cause is not None:
            # Java quotes what it cannot parse, which may be a part of a password.
            kind, message = cause.getClass().getName(), cause.getMessage()
            causes.append(message if message and not kind.startswith("java.lang.") else kind)
            kinds.update(kinds_of(cause))
            cause = cause.getCause()
        away = PASSES in kinds and not kinds & LASTS
        raise (KafkaAway if away else LandingError)(
            f"Kafka at {topic.servers} does not answer for topic {topic.name}: {': '.join(causes)}; "
            "look at TAILRACE_KAFKA, and at the file TAILRACE_KAFKA_PROPERTIES for authentication and TLS"
        ) from None


def kinds_of(error: Any) -> Iterator[str]:
    """The names of a Java error's class and of those above it."""
    kind = error.getClass()
    while kind is not None:
        yield kind.getName()
        kind = kind.getSuperclass()


def is_of_topic(file: LandedFile) -> bool:
    return file.file.startswith(PREFIX)


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
