"""A Kafka topic as something that lands: each part of it, a partition's offsets from one to another, is claimed like a file."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from tailrace.definitions import Definitions, Kafka
from tailrace.definitions.declared_source import DeclaredSource
from tailrace.errors import UnavailableError
from tailrace.lake.session import java_class
from tailrace.schemas.landing import LandingError
from tailrace.settings import StreamSettings, read_properties

log = logging.getLogger(__name__)

PREFIX = "kafka:"
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
    properties: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

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


def is_of_topic(file: str) -> bool:
    """Whether what bronze calls a file is a partition of a topic."""
    return file.startswith(PREFIX)
