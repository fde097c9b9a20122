"""A real broker and the real stream, killed and started again."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pytest
from confluent_kafka import Producer

from features.language import load_definitions
from features.language.recent import rings_of
from online.codec import Codec
from online.items import binary, read_items
from online.wire import StoreError
from sinks.lease import with_client
from sinks.rows import Address
from tailrace.local import broker
from tests.conftest import SPARK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE = 240  # seconds; the JVM alone may take many of them


@contextmanager
def running(command, **options):
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def produce(settings, *messages):
    producer = Producer({"bootstrap.servers": broker.servers(settings), "enable.idempotence": True})
    for message in messages:
        producer.produce("events", message)
    assert producer.flush(PATIENCE) == 0


def opened(number, document="d1"):
    now = datetime.now(UTC).isoformat()
    about = {"actor_id": "u1", "document_id": document, "occurred_at": now}
    return json.dumps({"event_id": f"e{number}", "event_type": "open", **about})


def recent_events(address, document):
    view = load_definitions().views["document_recent"]
    key = f"document|{len(document)}:{document}"
    try:
        found = with_client(address, lambda client: read_items(client, [key], (view.name,)))
    except StoreError:
        return 0  # the table is not there before the first micro-batch
    value = binary(found.get(key, {}), view.name)
    if not value:
        return 0
    columns = Codec(view.name, view.features).decode([value]).columns
    state = {feature.name: column.values for feature, column in zip(view.features, columns, strict=True)}
    ring, now = rings_of(view.aggregations)[0], np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
    return ring.value_at(state["_minute"], [state[c.name] for c in ring.columns], now).item()


def wait_for(address, document, count):
    deadline = time.monotonic() + PATIENCE
    while recent_events(address, document) < count:
        assert time.monotonic() < deadline, "the stream brought nothing"
        time.sleep(0.2)


def test_a_killed_stream_goes_on_and_takes_every_event_once(make_settings):
    with socket.socket() as probe:
        probe.bind((broker.HOST, 0))
        port = probe.getsockname()[1]
    variables = {"TAILRACE_KAFKA": f"{broker.HOST}:{port}", "TAILRACE_KAFKA_PORT": str(port)}
    settings = make_settings(**variables)
    address = Address.of(settings)
    environment = os.environ | SPARK | variables | {"TAILRACE_HOME": str(settings.home)}
    stream = [sys.executable, "-m", "tailrace", "stream", "run"]
    with running(broker.prepare(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        produce(settings, opened(1), "no event", opened(1), opened(2))
        with running(stream, env=environment) as first:
            wait_for(address, "d1", 2)
            produce(settings, *(opened(number) for number in range(3, 200)))
            first.kill()
        produce(settings, opened(3), opened(200))
        with running(stream, env=environment):
            wait_for(address, "d1", 200)
            produce(settings, opened(5), opened(300, "end"))
            wait_for(address, "end", 1)
        bronze = [sys.executable, "-m", "tailrace", "run", "bronze", "--json"]
        loads = [json.loads(subprocess.check_output(bronze, env=environment).splitlines()[-1]) for _ in range(2)]

    assert recent_events(address, "d1") == 200
    assert [(load["events"], load["quarantined"]) for load in loads] == [(204, 1), (0, 0)]
