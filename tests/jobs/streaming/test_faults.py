"""A home that is up with a stream, of which one part after another fails while events go on; each test has a document.

The tests are one story: the last of them stop the stream, and then all.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from jobs.bronze import load
from jobs.bronze.topic import KafkaAway, ends_of
from tailrace.cli import app as cli
from tailrace.local import stack, streaming
from tailrace.local.streaming import keep_running
from tailrace.schemas.landing import LandingError
from tailrace.settings import read_properties
from tailrace.store import embedded
from tailrace.workspace.stream_status import stream_state
from tests import feeds
from tests.certificate import make_certificate
from tests.jobs.streaming.followed import PATIENCE, opened, recent_events, until
from tests.jobs.streaming.scene import PASSWORD, PLAIN, VIEWS, Scene, client_properties, free_ports
from tests.store_client import with_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

YEAR_58133 = 1_772_356_087_654_321  # in milliseconds: the clock of a producer that tells microseconds
SAME = {"missing": 0, "ghost": 0, "different": 0, "repaired": 0, "in_motion": 0}


@pytest.fixture(scope="module")
def scene(tmp_path_factory, spark):
    with pytest.MonkeyPatch.context() as monkeypatch:
        scene = Scene(tmp_path_factory.mktemp("faults"), monkeypatch, spark)
        try:
            scene.start_broker()
            scene.up()
            yield scene
        finally:
            stack.down(scene.home, lambda _: None)


def healthy(scene):
    found = stream_state(scene.home)
    return found if not found["why"] and found["batch"] is not None else None


def test_a_home_comes_up_with_its_stream_which_is_as_fresh_as_what_came_last(scene):
    before = scene.up()
    assert list(before) == ["store", "broker", "stream", "reader"]

    scene.produce(opened(0, "up"))
    scene.wait_for("up", 1)
    readable = time.time()
    # The micro-batch of the event, which may not be the first, is ended as well.
    first = until(lambda: scene.heartbeat.caught_up_to > readable and healthy(scene))
    assert (first["pid"], first["behind"]) == (before["stream"], 0)
    # Nothing comes any more, and the views are told to be as fresh as that all the same.
    until(
        lambda: stream_state(scene.home)["views"]["document_recent"]["watermark_age_seconds"] < first["lag_seconds"] + 5
    )
    assert scene.up() == before


def test_a_broker_that_was_killed_goes_on_with_every_event_once(scene):
    scene.produce(opened(0, "broker"))
    scene.wait_for("broker", 1)
    producer = scene.producer()
    for number in range(1, 200):
        producer.produce(scene.topic.name, opened(number, "broker"))
        producer.poll(0.005)
        if number == 100:
            scene.kill("broker")
    before = scene.up()
    assert producer.flush(PATIENCE) == 0

    scene.wait_for("broker", 200)
    assert scene.up() == before


def test_a_store_that_was_away_gets_every_event_once(scene):
    scene.produce(opened(0, "store"))
    scene.wait_for("store", 1)
    embedded.stop(scene.home)
    scene.produce(*(opened(number, "store") for number in range(1, 100)))
    time.sleep(3)  # long enough for the stream to meet it
    scene.produce(*(opened(number, "store") for number in range(100, 200)))
    embedded.start(scene.home)

    scene.wait_for("store", 200)


def test_partitions_that_are_added_are_followed(scene):
    scene.produce(opened(0, "partitions"), partition=0)
    scene.wait_for("partitions", 1)
    scene.add_partitions(6)
    for partition in (4, 5):
        scene.produce(opened(partition, "partitions"), opened(9, "partitions"), partition=partition)

    scene.wait_for("partitions", 4)  # the event 9, delivered twice, counts once
    scene.load()
    assert scene.loaded("partitions") == {"kafka:events/0": 1, "kafka:events/4": 2, "kafka:events/5": 2}


def test_messages_that_cannot_be_used_stop_nothing_and_are_told(scene):
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
    before = ends_of(scene.spark, scene.topic)[1].end
    scene.produce(opened(0, "poison"), *poison, None, " ", opened(1, "poison"), partition=1)

    scene.wait_for("poison", 2)
    scene.load()
    told = {(line, reason) for partition, line, reason in scene.quarantined() if partition == "1"}
    assert told == set(enumerate(poison.values(), before + 1))


def test_what_transactions_wrote_counts_once_it_is_committed_and_never_if_it_was_aborted(scene):
    aborted, committed = (in_transaction(scene, name) for name in ("aborted", "committed"))
    aborted.produce(scene.topic.name, opened(1, "transactions"), partition=1)
    aborted.abort_transaction(PATIENCE)
    committed.produce(scene.topic.name, opened(2, "transactions"), partition=1)
    assert committed.flush(PATIENCE) == 0
    scene.produce(opened(3, "transactions"), partition=1)
    scene.produce(opened(4, "transactions"), partition=3, timestamp=YEAR_58133)

    scene.wait_for("transactions", 1)
    first = scene.load()
    assert (first.waiting, scene.loaded("transactions")) == (2, {"kafka:events/3": 1})
    until(lambda: scene.heartbeat.waiting == 2)
    assert scene.load().waiting == 2  # and nothing waits for them
    lag = time.time() - scene.heartbeat.caught_up_to
    until(lambda: time.time() - scene.heartbeat.caught_up_to > lag + 3)
    committed.commit_transaction(PATIENCE)
    scene.wait_for("transactions", 3)
    until(lambda: scene.heartbeat.waiting == 0)
    assert (scene.load().waiting, scene.loaded("transactions")) == (
        0,
        {"kafka:events/1": 2, "kafka:events/3": 1},
    )
    assert not scene.lake.read(feeds.BRONZE_EVENTS).where("delivered_at > ingested_at").count()


def in_transaction(scene, name):
    producer = scene.producer(**{"transactional.id": name})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    return producer


def test_a_killed_stream_takes_every_event_once_and_a_gap_is_told_by_it_and_by_bronze(scene):
    scene.produce("no event", opened(1, "killed"), opened(1, "killed"), opened(2, "killed"), partition=0)
    scene.produce(opened(0, "gap"), partition=2)
    scene.wait_for("killed", 2)
    scene.wait_for("gap", 1)
    scene.load()
    running = stream_state(scene.home)
    scene.produce(*(opened(number, "killed") for number in range(3, 200)), partition=0)
    scene.kill("stream")
    stopped = stream_state(scene.home)
    assert (running["running"], stopped["running"]) == (True, False)
    scene.produce(opened(3, "killed"), opened(200, "killed"), partition=0)
    start = ends_of(scene.spark, scene.topic)[2].end
    scene.produce(*(opened(number, "gap") for number in range(1, 10)), partition=2)
    scene.remove(2, before=start + 8)

    with ThreadPoolExecutor() as two:
        asked = [two.submit(keep_running, scene.home) for _ in range(2)]
    assert sum("was started" in str(one.exception() or one.result()) for one in asked) == 1
    scene.wait_for("killed", 200)
    scene.wait_for("gap", 2)
    again = until(lambda: healthy(scene))
    assert again["pid"] != running["pid"]
    assert again["batch"] > running["batch"]
    assert keep_running(scene.home) == "the stream runs"
    scene.produce(opened(5, "killed"), opened(300, "end"), partition=0)
    scene.wait_for("end", 1)
    assert recent_events(scene.address, "killed") == 200

    gone = f"Kafka removed the messages at offsets {start} to {start + 7} before the stream took them"
    assert f"topic events, partition 2: {gone}".encode() in scene.logs
    scene.load()
    reasons = [reason for partition, _, reason in scene.quarantined() if partition == "2"]
    assert any(reason.endswith(f" to {start + 7} before they were consumed") for reason in reasons)
    assert scene.loaded("gap") == {"kafka:events/2": 2}
    assert scene.loaded("killed") == {"kafka:events/0": 203}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"password": "wrong"}, "Authentication failed: Invalid username or password"),
        ({"certificate": "other"}, "SSL handshake failed"),
    ],
)
def test_a_broker_that_refuses_is_told_at_once(scene, change, told):
    make_certificate(scene.folder, "other")
    properties = read_properties(client_properties(scene.folder, "other", **change))

    with pytest.raises(
        LandingError, match=f"Kafka at {scene.topic.servers} .* topic events: {told}.*KAFKA_PROPERTIES"
    ) as refused:
        ends_of(scene.spark, replace(scene.topic, properties=properties))
    assert not isinstance(refused.value, KafkaAway)


def test_a_topic_that_may_not_be_read_is_told(scene):
    with pytest.raises(LandingError, match="topic salaries: Not authorized") as refused:
        ends_of(scene.spark, replace(scene.topic, name="salaries"))
    assert not isinstance(refused.value, KafkaAway)


def test_a_broker_that_does_not_answer_is_told(scene):
    with pytest.raises(KafkaAway, match="Timeout expired"):
        # Plain, to a door of TLS.
        ends_of(scene.spark, replace(scene.topic, properties={"default.api.timeout.ms": "2000"}))


def test_a_broker_that_is_away_is_told_as_what_may_pass(scene):
    (dead,) = free_ports(1)
    away = replace(scene.topic, servers=f"{streaming.BROKER_HOST}:{dead}")
    limits = {"default.api.timeout.ms": "500"}
    for properties in (limits, dict(scene.topic.properties) | limits):
        with pytest.raises(KafkaAway, match=f"Kafka at {away.servers} .* topic events: Timeout expired"):
            ends_of(scene.spark, replace(away, properties=properties))


def test_no_password_is_told(scene):
    wrong = f'{PLAIN} username="a" password="un"SECRET"ed";'
    with pytest.raises(LandingError) as refused:
        ends_of(
            scene.spark, replace(scene.topic, properties=dict(scene.topic.properties) | {"sasl.jaas.config": wrong})
        )
    assert "SECRET" not in str(refused.value)

    streamed = [file.read_bytes() for file in (scene.home.home / "stream").rglob("*") if file.is_file()]
    assert not any(PASSWORD.encode() in text for text in [scene.logs, *streamed])


def test_all_goes_down_in_the_reverse_of_the_order_in_which_it_came_up(scene):
    assert stack.down(scene.home, lambda _: None) == ["reader", "stream", "broker", "store"]
    assert {one.state for one in stack.service_states(scene.home).values()} == {"stopped"}
    assert list(stack.service_states(scene.home)) == ["store", "reader"]


def test_the_lake_gives_back_what_a_stopped_stream_has_counted(scene):
    scene.start_without_stream()
    compared = tailrace("reconcile")["views"]
    documents = ("up", "broker", "store", "partitions", "poison", "transactions", "killed", "gap", "end")
    before = {document: recent_events(scene.address, document) for document in documents}
    with_client(scene.address, lambda client: client.call("DeleteTable", {"TableName": client.table}))
    rebuilt = tailrace("rebuild")["views"]

    written = {view: one["written"] for view, one in rebuilt.items()}
    assert compared == {view: {"compared": written[view]} | SAME for view in VIEWS}
    assert set(written.values()) == {len(documents)}
    assert before == {document: recent_events(scene.address, document) for document in documents}


def tailrace(*words):
    result = CliRunner().invoke(cli.app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_a_load_that_was_cut_off_goes_on_with_what_kafka_still_has(scene, monkeypatch):
    ends = ends_of(scene.spark, scene.topic)
    for partition in (0, 3):
        scene.produce(*(opened(number, "cut off") for number in range(3)), partition=partition)
    with monkeypatch.context() as patched:
        patched.setattr(load, "load_batch", cut_off)
        with pytest.raises(InterruptedError):
            scene.load()
    scene.remove(0, before=ends[0].end + 3)  # all of them
    scene.remove(3, before=ends[3].end + 2)

    scene.load()
    for partition, removed in ((0, 3), (3, 2)):
        told = [reason for of, _, reason in scene.quarantined() if of == str(partition)]
        assert any(
            reason.endswith(f" to {ends[partition].end + removed - 1} before they were consumed") for reason in told
        )
    assert scene.loaded("cut off") == {"kafka:events/3": 1}
    assert scene.load() == feeds.loaded()


def cut_off(*_, **__):
    raise InterruptedError
