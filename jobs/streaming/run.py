"""The stream: from a Kafka topic, or from a source's landing folder, to the views of the lane `stream`."""

import logging
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from jobs.bronze.topic import Ends, KafkaAway, Topic, behind_transaction, ends_of, for_spark, made_anew
from jobs.streaming.checkpoint import (
    Parked,
    committed_offsets,
    refuse_steps_back,
    remember_views,
    remembered_views,
    run_id,
)
from jobs.streaming.event_rows import EventRows
from jobs.streaming.fast_path import OtherDefinition
from jobs.streaming.micro_batch import MicroBatch, write_micro_batch
from jobs.streaming.source import appended_at, lines_of_batch
from tailrace.definitions import DefinitionError, Definitions
from tailrace.lake.session import configured, java_class
from tailrace.schemas.landing import LandingError
from tailrace.schemas.slots import to_micros
from tailrace.store.address import Address, with_store
from tailrace.store.port import Store

log = logging.getLogger(__name__)

MOST_MESSAGES = 20_000  # of one micro-batch: what came meanwhile, or a part of it after an outage
SOURCE = "org.apache.spark.sql.kafka010"
TOPIC_LOOKS = 60  # a second apart
# By default each of a micro-batch's two small files is renamed with several processes of the system (`readlink`).
CHECKPOINT = {
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    )
}


def fingerprints_of(definitions: Definitions) -> dict[str, str]:
    """The definitions' fingerprints of the views of the lane stream, by name."""
    return {view.name: definitions.fingerprint(view) for view in definitions.streamed}


def refuse_other_definitions(checkpoint: Path, definitions: Definitions) -> None:
    """Raise `OtherDefinition` for a view that was defined otherwise when the stream last kept it.

    Its columns may be the same: values would go on from events that the definition no longer counts.
    """
    known = remembered_views(checkpoint)
    for view in definitions.streamed:
        before = known.get(view.name)
        if before is not None and not definitions.is_of(before, view):
            raise OtherDefinition(view)


def from_kafka(spark: SparkSession, topic: Topic, *, checkpoint: str) -> DataFrame:
    """Messages of a topic from its beginning, or from where the checkpoint left off, which may be gone by now."""
    warn_of_gaps(topic, consumed=committed_offsets(Path(checkpoint), topic=topic.name), ends=await_topic(spark, topic))
    log_losses(spark)
    options = for_spark(topic.client) | {"subscribe": topic.name, "startingOffsets": "earliest"}
    options |= {"maxOffsetsPerTrigger": str(MOST_MESSAGES), "failOnDataLoss": "false"}
    messages = spark.readStream.format("kafka").options(**options).load()
    place = F.format_string("%010d %020d", "partition", "offset")
    return messages.where("value IS NOT NULL").select(
        F.col("value").cast("string").alias("value"),
        appended_at(F.col("timestamp"), until=F.current_timestamp()),
        "partition",
        place.alias("place"),
    )


def log_losses(spark: SparkSession) -> None:
    """Have Spark's own warnings of messages that are gone appear, whatever else of it is quiet."""
    level = java_class(spark, "org.apache.logging.log4j.Level").WARN
    java_class(spark, "org.apache.logging.log4j.core.config.Configurator").setLevel(SOURCE, level)


def warn_of_gaps(topic: Topic, *, consumed: Mapping[int, int], ends: Mapping[int, Ends]) -> None:
    """Warn of messages that Kafka removed before they were consumed; the stream, unlike Spark by itself, is to go on.

    `consumed` has the next offset of each partition, and is empty before the first micro-batch. Raises `LandingError` for a
    topic that ends before what was consumed, `KafkaAway` where it does so only until a transaction ends.
    """
    for partition in sorted(consumed.keys() | ends.keys()) if consumed else ():
        of, start = ends.get(partition, Ends(first=0, end=0, appended=0)), consumed.get(partition, 0)
        if of.appended < start:
            raise made_anew(topic.name, partition, of.appended, consumed=start)
        if of.end < start:
            raise KafkaAway(behind_transaction(topic.name, partition, of))
        if of.first > start:
            log.warning(
                "topic %s, partition %d: Kafka removed the messages at offsets %d to %d before the stream took them",
                *(topic.name, partition, start, of.first - 1),
            )


def stream_owner(checkpoint: str) -> str:
    """Who the stream is, whichever process runs it; a folder is that of its host."""
    return f"stream {socket.gethostname()}{Path(checkpoint).absolute()}"


def await_topic(spark: SparkSession, topic: Topic) -> dict[int, Ends]:
    """The ends of a topic, once the first message has made it; Spark fails where there is none."""
    for _ in range(TOPIC_LOOKS):
        if ends := ends_of(spark, topic):
            return ends
        time.sleep(1.0)
    raise LandingError(f"there is no topic {topic.name} at {topic.servers}; make it, or have the source read another")


def start_query(
    messages: DataFrame,
    definitions: Definitions,
    address: Address,
    *,
    checkpoint: str,
    topic: str | None = None,
    folder: str | None = None,
    bound: Callable[[], float | None] = lambda: None,
) -> StreamingQuery:
    """Start the stream; it goes on where the checkpoint, a local folder, left off. It follows the `topic` or the `folder`.

    `bound` says up to when all of the source can be read, in seconds since 1970; None where nothing of it has to wait.
    """
    if not definitions.streamed:
        raise DefinitionError("no view is in the lane stream; give one lane='stream'")
    refuse_other_definitions(Path(checkpoint), definitions)
    remember_views(Path(checkpoint), fingerprints_of(definitions))
    Parked(Path(checkpoint)).keep_only([view.name for view in definitions.streamed])
    take = partial(
        take_messages,
        rows=EventRows.of(definitions),
        address=address,
        checkpoint=checkpoint,
        topic=topic,
        folder=folder,
        bound=bound,
    )
    writer = messages.writeStream.foreachBatch(take).queryName("tailrace")
    with configured(messages.sparkSession, CHECKPOINT):
        return writer.option("checkpointLocation", checkpoint).start()


def take_messages(
    messages: DataFrame,
    number: int,
    *,
    rows: EventRows,
    address: Address,
    checkpoint: str,
    topic: str | None,
    folder: str | None,
    bound: Callable[[], float | None],
) -> None:
    """Write what the events of a micro-batch say."""
    of, now, readable = Path(checkpoint), to_micros(datetime.now(UTC)), bound()
    if topic:
        refuse_steps_back(of, number, topic=topic)
    if folder:
        messages = lines_of_batch(messages.sparkSession, rows.feed, folder, of, number)
    batch = MicroBatch(
        address=address,
        rows=rows,
        sequences={},
        run=run_id(of),
        number=number,
        as_of=now,
        parked=Parked(of),
        bound=now if readable is None else round(readable * 1e6),
    )
    write_micro_batch(messages, batch, owner=stream_owner(checkpoint))


def move_watermarks(definitions: Definitions, address: Address, *, checkpoint: str, to: float) -> None:
    """Have the views hold for a moment, in seconds since 1970, by which all that was appended is in them."""

    async def move(store: Store) -> None:
        for view in definitions.streamed:
            await store.move_stream_watermark(view.name, owner=stream_owner(checkpoint), to=round(to * 1e6))

    with_store(address, move)
