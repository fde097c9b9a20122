"""The broker and the stream as services of a home, here without Airflow; tests/jobs/streaming/test_faults.py runs them."""

import os
import socket
import sys

import psutil
import pytest

from bench.followed import free_port
from tailrace.local import airflow, stack, streaming
from tailrace.local.background import LocalError, Service, service_lock
from tailrace.local.streaming import keep_running, stop_running
from tailrace.settings import read_settings
from tailrace.workspace.resources import remembered, settings_of_home
from tests.conftest import SPARK


@pytest.fixture
def settings(monkeypatch, make_settings):
    """A home in which `up` starts all but Airflow."""
    variables = {"TAILRACE_KAFKA_PORT": str(free_port()), "TAILRACE_READER_PORT": str(free_port())}
    monkeypatch.delenv("TAILRACE_KAFKA", raising=False)
    for name, value in (SPARK | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(airflow, "airflow_services", lambda *_: [])
    made = make_settings(**variables)
    yield made
    stack.down(made, lambda _: None)


def up(settings, *, with_stream=False):
    found = stack.up(settings, lambda _: None, with_stream=with_stream)
    assert {one.state for one in found.values()} == {"healthy"}
    return {name: one.pid for name, one in found.items()}


def test_what_up_was_told_of_the_stream_holds_for_commands_that_are_told_nothing(make_settings):
    settings = make_settings(TAILRACE_KAFKA="one:9092", TAILRACE_KAFKA_TOPIC="clicks")
    assert streaming.streaming_services(settings) == []
    assert streaming.turn_on(settings)
    assert not streaming.turn_on(settings)

    plain = streaming.known(make_settings())

    assert (plain.stream.enabled, plain.stream.kafka, plain.stream.topic) == (True, "one:9092", "clicks")
    (stream,) = streaming.streaming_services(plain)  # no broker beside another
    assert stream.environment["TAILRACE_KAFKA"] == "one:9092"
    for environment in (stream.environment, airflow.environment(plain)):
        assert read_settings({k: v for k, v in environment.items() if k.startswith("TAILRACE_")}).stream.enabled
    streaming.turn_off(settings)
    assert streaming.known(make_settings()).stream.enabled is False


def test_a_command_by_hand_takes_the_topic_that_up_was_told_of_unless_it_is_told_another(make_settings, monkeypatch):
    settings = make_settings(TAILRACE_KAFKA="one:9092", TAILRACE_KAFKA_TOPIC="clicks")
    monkeypatch.setenv("TAILRACE_HOME", str(settings.home))
    monkeypatch.delenv("TAILRACE_KAFKA", raising=False)
    assert settings_of_home() == read_settings()
    streaming.turn_on(settings)

    by_hand = settings_of_home()
    monkeypatch.setenv("TAILRACE_KAFKA", "two:9092")
    told = settings_of_home()

    assert (by_hand.stream.kafka, by_hand.stream.topic) == ("one:9092", "clicks")
    assert by_hand.spark.kafka_jars  # with what reads it
    assert (told.stream.kafka, told.stream.topic) == ("two:9092", "events")


def test_without_servers_the_homes_own_broker_is_followed_on_its_port(make_settings):
    streaming.turn_on(make_settings(TAILRACE_KAFKA_PORT="29999"))

    plain = streaming.known(make_settings())

    assert [one.name for one in streaming.streaming_services(plain)] == ["broker", "stream"]
    assert (plain.stream.kafka, plain.stream.broker_port) == ("127.0.0.1:29999", 29999)
    assert streaming.service_of_broker(plain).environment["TAILRACE_KAFKA_PORT"] == "29999"


@pytest.mark.slow
def test_an_airflow_that_runs_without_the_stream_is_started_again_with_it(settings, monkeypatch):
    def one_service(known, folder):
        command = (sys.executable, "-c", "import time; time.sleep(600)")
        environment = airflow.environment(known)
        return [Service(name="scheduler", command=command, environment=environment, folder=folder, stop_seconds=9)]

    monkeypatch.setattr(airflow, "airflow_services", one_service)
    monkeypatch.setattr(airflow, "airflow_health", lambda _: {"scheduler": "healthy"})
    monkeypatch.setattr(streaming, "streaming_services", lambda _: [])
    plain = up(settings)

    with_it = up(settings, with_stream=True)

    assert with_it["scheduler"] != plain["scheduler"]
    assert (with_it["reader"], with_it["store"]) == (plain["reader"], plain["store"])
    variables = psutil.Process(with_it["scheduler"]).environ()
    assert variables["TAILRACE_STREAMING"] == "1"
    assert variables["TAILRACE_KAFKA"] == f"127.0.0.1:{settings.stream.broker_port}"
    assert up(settings) == up(settings, with_stream=True) == with_it


@pytest.mark.parametrize("taken_by", ["broker", "controller"])
def test_a_taken_port_of_the_broker_is_told_with_its_setting_and_nothing_is_remembered(settings, taken_by):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.stream.broker_port + (taken_by == "controller")))
        with pytest.raises(LocalError, match="set TAILRACE_KAFKA_PORT to a free one for broker"):
            stack.up(settings, lambda _: None, with_stream=True)

    assert remembered(settings) is None


def test_while_services_are_started_or_stopped_nobody_else_starts_the_stream(settings):
    with service_lock(settings), pytest.raises(LocalError, match="being started or stopped"):
        keep_running(settings)


def test_a_stream_that_was_started_otherwise_has_to_be_stopped_first(settings, monkeypatch):
    monkeypatch.setattr(streaming, "find", lambda service: service.name == "stream")

    with pytest.raises(LocalError, match="`tailrace stream stop` it first"):
        streaming.turn_on(settings)
    assert remembered(settings) is None


@pytest.mark.slow
def test_a_stream_that_ends_at_once_is_told_with_the_end_of_its_log(settings, monkeypatch):
    monkeypatch.setenv("TAILRACE_FEATURES", os.devnull + "/none")

    with pytest.raises(LocalError, match="the end of its log"):
        keep_running(settings)
    assert not stop_running(settings)


OWN_SOURCE = """
from datetime import timedelta
from tailrace import Count, Entity, EventSource, FeatureView, Field, Kafka, Landing, STRING, Time

pages = EventSource(name="pages", id="id", time=Time("ts"), fields=(Field("page", STRING),), read_from={read_from})
page_views = FeatureView(
    name="page_views", source=pages, entities=(Entity("page", "page"),), owner="tests", description="Counts.", lane="stream",
    freshness=timedelta(minutes=1), aggregations=(Count(name="n", over=("1h",)),),
)
"""


@pytest.mark.parametrize(
    ("read_from", "followed"),
    [
        ('Kafka("own")', "the topic own at TAILRACE_KAFKA=one:9092"),
        ("Kafka()", "the topic clicks at TAILRACE_KAFKA=one:9092"),
        ("Landing()", "the landing folder of pages"),
        ("nothing", None),
    ],
)
def test_what_the_stream_follows_is_what_its_source_reads(make_settings, tmp_path, read_from, followed):
    (tmp_path / "pages.py").write_text(OWN_SOURCE.format(read_from=read_from))
    settings = make_settings(TAILRACE_FEATURES=str(tmp_path), TAILRACE_KAFKA="one:9092", TAILRACE_KAFKA_TOPIC="clicks")

    assert streaming.followed_by_stream(settings) is None
    streaming.turn_on(settings)

    assert streaming.followed_by_stream(streaming.known(settings)) == followed
