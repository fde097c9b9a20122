"""The process of the stream: it follows the source of its home until it is stopped."""

from contextlib import nullcontext
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from jobs.bronze.topic import Topic, Watch, topic_of
from jobs.streaming import run
from jobs.streaming.repair import StreamInput
from jobs.streaming.source import Plans, follow_plans
from jobs.streaming.supervise import Pulse, keep_following
from tailrace.errors import CommandError
from tailrace.lake.task_progress import Progress
from tailrace.settings import Settings, SparkSettings
from tailrace.store.address import Address
from tailrace.workspace.resources import ONE_COMPILER, Resources, with_java_options

NO_CODE = "-Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN"


def follow(settings: Settings, progress: Progress) -> None:
    """Follow the topic, or the landing folder, whatever passes meanwhile."""
    resources = Resources(replace(settings, spark=of_stream(settings.spark)))
    definitions = resources.definitions
    source = StreamInput.of(settings, definitions)
    checkpoint = str(source.checkpoint)

    kafka = topic_of(settings.stream, definitions.streamed_source)
    plans = None if kafka else Plans(source.folder, source.checkpoint)

    def begin() -> StreamingQuery:
        source.refuse_another()
        address = Address.of(settings)
        topic = topic_of(settings.stream, definitions.streamed_source)
        messages = messages_of(resources, topic, plans, checkpoint=checkpoint)
        query = run.start_query(
            messages,
            definitions,
            address,
            checkpoint=checkpoint,
            topic=topic.name if topic else None,
            folder=None if topic else source.folder,
            bound=lambda: pulse.bound,
        )
        progress(f"The stream follows {f'the topic {topic.name} of {topic.servers}' if topic else source.folder}")
        return query

    def tend(caught_up_to: float | None) -> None:
        address = Address.of(settings)  # an embedded store that has ended is started again
        if caught_up_to is not None:
            run.move_watermarks(definitions, address, checkpoint=checkpoint, to=caught_up_to)

    pulse = Pulse(
        settings.home,
        tend=tend,
        ends=Watch(lambda: resources.spark, kafka).ends if kafka else dict,
        listed=lambda: plans.listed if plans else None,
    )
    with plans.looking() if plans else nullcontext():
        keep_following(begin, pulse)


def of_stream(spark: SparkSettings) -> SparkSettings:
    """Spark for micro-batches, which are planned anew each time and then have few rows.

    The JVM's second compiler took more than half of its processor time, and found little to make quicker; generating code
    for each micro-batch took a fifth of what was left. Options that are set come later and win.
    """
    return replace(with_java_options(spark, f"{ONE_COMPILER} {NO_CODE}"), shuffle_partitions=2)


def messages_of(resources: Resources, topic: Topic | None, plans: Plans | None, *, checkpoint: str) -> DataFrame:
    """The messages of the topic, or else the plans of the folder."""
    if topic:
        return run.from_kafka(resources.spark, topic, checkpoint=checkpoint)
    if plans is None or "://" in plans.folder:
        raise CommandError("the stream reads a folder of this machine, or Kafka: set TAILRACE_KAFKA")
    plans.look()
    return follow_plans(resources.spark, plans)
