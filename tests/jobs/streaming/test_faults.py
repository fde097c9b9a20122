"""A real broker, stream and store, of which one after another fails while events go on; each test has a document.

The stream and bronze come to the broker with a password over TLS.
"""

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewPartitions
from pyspark.sql import functions as F

from contracts import bronze
from jobs.bronze import load
from jobs.bronze.batches import LandingError
from jobs.bronze.topic import KafkaAway, ends_of, topic_of
from jobs.streaming import progress
from lake.tables import Lake
from online import embedded
from settings import read_properties, read_settings
from sinks.rows import Address
from tailrace.local import broker
from tests.certificate import make_certificate
from tests.conftest import SPARK
from tests.jobs.streaming.followed import PATIENCE, opened, produce, producer_of, recent_events, wait_for
from tests.jobs.streaming.secured import PASSWORD, PLAIN, Broker, client_properties, free_ports, resolve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

YEAR_58133 = 1_772_356_087_654_321  # in milliseconds: the clock of a producer that tells microseconds


class Scene:
    """Broker and store of one home, and the stream that follows the topic of the one into the other."""

    def __init__(self, folder):
        port, secure, controller = free_ports(3)
        self.folder = folder
        variables = {
            "TAILRACE_HOME": str(folder / "home"),
            "TAILRACE_KAFKA": f"{broker.HOST}:{secure}",
            "TAILRACE_KAFKA_PORT": str(port),
            "TAILRACE_KAFKA_PROPERTIES": str(client_properties(folder)),
        }
        self.environment = os.environ | SPARK | variables
        self.settings = read_settings(SPARK | variables)
        self.broker = Broker(self.settings, folder, secure=secure, controller=controller)
        self.log = folder / "stream.log"
        self.address = Address.of(self.settings)

    @property
    def topic(self):
        topic = topic_of(self.settings.stream)
        assert topic
        return topic

    def start_stream(self):
        command = [sys.executable, "-m", "tailrace", "stream", "run"]
        with self.log.open("ab") as log:
            self.stream = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def kill_stream(self):
        self.stream.kill()
        self.stream.wait()

    def wait_for(self, document, count):
        wait_for(self.address, document, count)
        assert recent_events(self.address, document) == count

    def remove(self, partition, *, before):
        """Have Kafka remove the messages of a partition, as it does when they are old."""
        resolve(self.broker.admin.delete_records([TopicPartition(self.topic.name, partition, before)]))

    def load(self, spark):
        lake = Lake(spark, self.settings.lake)
        return load.run(lake, self.settings.landing, now=datetime.now(UTC), topic=self.topic)

    def quarantined(self, spark):
        rows = Lake(spark, self.settings.lake).read(bronze.QUARANTINE).select("file", "line", "reason").collect()
        return {(row.file.removeprefix("kafka:events/"), row.line, row.reason) for row in rows}

    def loaded(self, spark, document):
        """How many events of a document are in bronze, by file."""
        events = Lake(spark, self.settings.lake).read(bronze.EVENTS).where(F.col("document_id") == document)
        return {row.file: row["count"] for row in events.groupBy("file").count().collect()}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("faults"))
    scene.broker.start()
    try:
        scene.broker.make(scene.topic.name, partitions=4)
        scene.start_stream()
        yield scene
        scene.kill_stream()
    finally:
        embedded.stop(scene.settings)
        scene.broker.kill()


def test_a_broker_that_was_killed_goes_on_with_every_event_once(scene):
    produce(scene.settings, opened(0, "broker"))
    scene.wait_for("broker", 1)
    producer = producer_of(scene.settings)
    for number in range(1, 200):
        producer.produce(scene.topic.name, opened(number, "broker"))
        producer.poll(0.005)
        if number == 100:
            scene.broker.kill()
    scene.broker.start()
    assert producer.flush(PATIENCE) == 0

    scene.wait_for("broker", 200)


def test_a_store_that_was_away_gets_every_event_once(scene):
    produce(scene.settings, opened(0, "store"))
    scene.wait_for("store", 1)
    embedded.stop(scene.settings)
    produce(scene.settings, *(opened(number, "store") for number in range(1, 100)))
    time.sleep(3)  # long enough for the stream to meet it
    produce(scene.settings, *(opened(number, "store") for number in range(100, 200)))
    embedded.start(scene.settings)

    scene.wait_for("store", 200)


def test_partitions_that_are_added_are_followed(scene, spark):
    produce(scene.settings, opened(0, "partitions"), partition=0)
    scene.wait_for("partitions", 1)
    resolve(scene.broker.admin.create_partitions([NewPartitions(scene.topic.name, 6)]))
    for partition in (4, 5):
        produce(scene.settings, opened(partition, "partitions"), opened(9, "partitions"), partition=partition)

    scene.wait_for("partitions", 4)  # the event 9, delivered twice, counts once
    scene.load(spark)
    assert scene.loaded(spark, "partitions") == {"kafka:events/0": 1, "kafka:events/4": 2, "kafka:events/5": 2}


def test_messages_that_cannot_be_used_stop_nothing_and_are_told(scene, spark):
    poison = {
        b"no event": "the line is not a JSON object",
        b"\xff\xfe{}": "the line is not UTF-8",
        b'{"event_id": "e1"}': "event_type is missing",
        b"[" * 20_000: "the line is not a JSON object",
        opened(1, "poison").replace("e1", "\\u0000" * 2000).encode(): "event_id is longer than 1000 bytes of UTF-8",
        opened(1, "poison")
        .replace("T", " at ")
        .encode(): "occurred_at is not an ISO 8601 time such as 2026-01-31T09:15:00Z",
    }
    before = ends_of(spark, scene.topic)[1].end
    produce(scene.settings, opened(0, "poison"), *poison, None, " ", opened(1, "poison"), partition=1)

    scene.wait_for("poison", 2)
    scene.load(spark)
    told = {(line, reason) for partition, line, reason in scene.quarantined(spark) if partition == "1"}
    assert told == set(enumerate(poison.values(), before + 1))


def test_what_transactions_wrote_counts_once_it_is_committed_and_never_if_it_was_aborted(scene, spark):
    aborted, committed = (in_transaction(scene, name) for name in ("aborted", "committed"))
    aborted.produce(scene.topic.name, opened(1, "transactions"), partition=1)
    aborted.abort_transaction(PATIENCE)
    committed.produce(scene.topic.name, opened(2, "transactions"), partition=1)
    assert committed.flush(PATIENCE) == 0
    produce(scene.settings, opened(3, "transactions"), partition=1)
    produce(scene.settings, opened(4, "transactions"), partition=3, timestamp=YEAR_58133)

    scene.wait_for("transactions", 1)
    first = scene.load(spark)
    assert (first.waiting, scene.loaded(spark, "transactions")) == (2, {"kafka:events/3": 1})
    until(lambda: heartbeat_of(scene).waiting == 2)
    assert scene.load(spark).waiting == 2  # and nothing waits for them
    lag = time.time() - heartbeat_of(scene).caught_up_to
    until(lambda: time.time() - heartbeat_of(scene).caught_up_to > lag + 3)
    committed.commit_transaction(PATIENCE)
    scene.wait_for("transactions", 3)
    until(lambda: heartbeat_of(scene).waiting == 0)
    assert (scene.load(spark).waiting, scene.loaded(spark, "transactions")) == (
        0,
        {"kafka:events/1": 2, "kafka:events/3": 1},
    )
    lake = Lake(spark, scene.settings.lake)
    assert not lake.read(bronze.EVENTS).where("delivered_at > ingested_at").count()


def in_transaction(scene, name):
    producer = Producer({"bootstrap.servers": broker.servers(scene.settings), "transactional.id": name, "log_level": 0})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    return producer


def heartbeat_of(scene):
    heartbeat = progress.read(scene.settings.home)
    assert heartbeat
    return heartbeat


def until(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_gap_is_told_by_the_stream_and_by_bronze_and_both_go_on(scene, spark):
    produce(scene.settings, opened(0, "gap"), partition=2)
    scene.wait_for("gap", 1)
    scene.kill_stream()
    start = ends_of(spark, scene.topic)[2].end
    produce(scene.settings, *(opened(number, "gap") for number in range(1, 10)), partition=2)
    scene.remove(2, before=start + 8)
    scene.start_stream()

    scene.wait_for("gap", 2)
    gone = f"Kafka removed the messages at offsets {start} to {start + 7} before the stream took them"
    assert f"topic events, partition 2: {gone}" in scene.log.read_text()
    scene.load(spark)
    reasons = [reason for partition, _, reason in scene.quarantined(spark) if partition == "2"]
    assert any(reason.endswith(f" to {start + 7} before they were taken") for reason in reasons)
    assert scene.loaded(spark, "gap") == {"kafka:events/2": 1}


def test_a_load_that_was_cut_off_goes_on_with_what_kafka_still_has(scene, spark, monkeypatch):
    ends = ends_of(spark, scene.topic)
    for partition in (0, 3):
        produce(scene.settings, *(opened(number, "cut off") for number in range(3)), partition=partition)
    with monkeypatch.context() as patched:
        patched.setattr(load, "load_batch", cut_off)
        with pytest.raises(InterruptedError):
            scene.load(spark)
    scene.remove(0, before=ends[0].end + 3)  # all of them
    scene.remove(3, before=ends[3].end + 2)

    scene.load(spark)
    for partition, removed in ((0, 3), (3, 2)):
        told = [reason for of, _, reason in scene.quarantined(spark) if of == str(partition)]
        assert any(
            reason.endswith(f" to {ends[partition].end + removed - 1} before they were taken") for reason in told
        )
    assert scene.loaded(spark, "cut off") == {"kafka:events/3": 1}
    assert scene.load(spark) == load.Loaded()


def cut_off(*_, **__):
    raise InterruptedError


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"password": "wrong"}, "Authentication failed: Invalid username or password"),
        ({"certificate": "other"}, "SSL handshake failed"),
    ],
)
def test_a_broker_that_refuses_is_told_at_once(scene, spark, change, told):
    make_certificate(scene.folder, "other")
    properties = read_properties(client_properties(scene.folder, "other", **change))

    with pytest.raises(
        LandingError, match=f"Kafka at {scene.topic.servers} .* topic events: {told}.*KAFKA_PROPERTIES"
    ) as refused:
        ends_of(spark, replace(scene.topic, properties=properties))
    assert not isinstance(refused.value, KafkaAway)


def test_a_topic_that_may_not_be_read_is_told(scene, spark):
    with pytest.raises(LandingError, match="topic salaries: Not authorized") as refused:
        ends_of(spark, replace(scene.topic, name="salaries"))
    assert not isinstance(refused.value, KafkaAway)


def test_a_broker_that_does_not_answer_is_told(scene, spark):
    with pytest.raises(KafkaAway, match="Timeout expired"):
        ends_of(spark, replace(scene.topic, properties={"default.api.timeout.ms": "2000"}))  # plain, to a door of TLS


def test_a_broker_that_is_away_is_told_as_what_may_pass(scene, spark):
    (dead,) = free_ports(1)
    away = replace(scene.topic, servers=f"{broker.HOST}:{dead}")
    limits = {"default.api.timeout.ms": "500"}
    for properties in (limits, dict(scene.topic.properties) | limits):
        with pytest.raises(KafkaAway, match=f"Kafka at {away.servers} .* topic events: Timeout expired"):
            ends_of(spark, replace(away, properties=properties))


def test_no_password_is_told(scene, spark):
    wrong = f'{PLAIN} username="a" password="un"SECRET"ed";'
    with pytest.raises(LandingError) as refused:
        ends_of(spark, replace(scene.topic, properties=dict(scene.topic.properties) | {"sasl.jaas.config": wrong}))
    assert "SECRET" not in str(refused.value)

    streamed = [file.read_bytes() for file in (scene.settings.home / "stream").rglob("*") if file.is_file()]
    assert not any(PASSWORD.encode() in text for text in [scene.log.read_bytes(), *streamed])
