"""What a workspace works with: its settings, definitions, Spark, the lake, its gate and the store."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tailrace.settings import Settings, SparkSettings, check_store_is_reachable, read_settings

Remembered = dict[str, str | int | None]


def settings_of_home(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings, with the topic that the home remembers where they name no Kafka."""
    settings = read_settings(environment)
    known = remembered(settings)
    if settings.stream.kafka or known is None:
        return settings
    topic = {"TAILRACE_KAFKA": str(known["kafka"]), "TAILRACE_KAFKA_TOPIC": str(known["topic"])}
    return read_settings({**environment, **topic})


def remembered(settings: Settings) -> Remembered | None:
    """The servers and the topic of the stream, and the port of an own broker; None where the home has no stream."""
    try:
        known: Remembered = json.loads(stream_record(settings).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return known


def stream_record(settings: Settings) -> Path:
    """The file that has it."""
    return settings.run_folder / "streaming.json"


ONE_COMPILER = "-XX:TieredStopAtLevel=1"
BOTH_COMPILERS = "-XX:TieredStopAtLevel=4"

# So many bytes of landed files and tables together: some hundred thousand events, compressed, and what follows from them.
LITTLE = 32 * 2**20


def with_java_options(spark: SparkSettings, options: str) -> SparkSettings:
    """Spark with further options of Java; those that are set come later and win."""
    return replace(spark, java_options=f"{options} {spark.java_options}")


def for_many_rows(spark: SparkSettings) -> SparkSettings:
    """Spark as it is by itself, however little data there is at the start."""
    return with_java_options(spark, BOTH_COMPILERS)


def fitting(settings: Settings) -> SparkSettings:
    """Spark with one compiler where all data is on this machine, and there is little of it."""
    return with_java_options(settings.spark, ONE_COMPILER) if has_little(settings) else settings.spark


def has_little(settings: Settings) -> bool:
    """Whether a home has little data; what lies elsewhere, or waits in a topic, may be any amount."""
    places = (settings.landing, settings.lake)
    if settings.stream.kafka or any("://" in place for place in places):
        return False
    left = LITTLE
    for size in (size for place in places for size in sizes_below(place)):
        left -= size
        if left < 0:
            return False
    return True


def sizes_below(folder: str) -> Iterator[int]:
    """The bytes of each file below a folder, that of a link itself; what vanishes meanwhile counts nothing."""
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                yield Path(where, name).lstat().st_size
            except OSError:
                continue


if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tailrace.definitions import Definitions
    from tailrace.lake.tables import Lake
    from tailrace.quality.gate import Gate
    from tailrace.store.address import Address


class Resources:
    """The resources of one home; each is imported and opened when it is first needed.

    `views` names the views that are refreshed; all of them if none is named.
    """

    def __init__(self, settings: Settings, *, views: Iterable[str] = ()) -> None:
        self.settings = settings
        self.views = tuple(views)

    @cached_property
    def definitions(self) -> "Definitions":
        """All definitions of the folders that the settings name."""
        from tailrace.definitions import load_definitions

        return load_definitions(self.settings.features)

    @cached_property
    def chosen(self) -> "Definitions":
        """The definitions of the views that gold and the store are refreshed of; maintenance is of all."""
        return self.definitions.only(self.views)

    @cached_property
    def spark(self) -> "SparkSession":
        """The Spark session, which starts with the first use."""
        from tailrace.lake.session import is_submitted, open_session

        if not is_submitted():  # a cluster need not be asked for executors first
            check_store_is_reachable(self.settings, master=self.settings.spark.master)
        session = open_session(fitting(self.settings))
        check_store_is_reachable(self.settings, master=str(session.sparkContext.master))
        return session

    @cached_property
    def lake(self) -> "Lake":
        """The tables."""
        from tailrace.lake.log_store import check_log_store
        from tailrace.lake.tables import Lake

        check_log_store(
            self.settings.lake,
            spark_setting=self.spark.sparkContext.getConf().get,
            single_writer=self.settings.single_writer,
        )
        retention = timedelta(hours=self.settings.retention_hours)
        return Lake(self.spark, self.settings.lake, retention=retention, gate=self.gate)

    @cached_property
    def gate(self) -> "Gate":
        """The quality gate, which validates new rows of every table."""
        from tailrace.quality.gate import Gate

        return Gate(self.settings.home / "quality")

    @cached_property
    def store(self) -> "Address":
        """Where the online store is; an embedded one is started."""
        from tailrace.store.address import Address

        return Address.of(self.settings)
