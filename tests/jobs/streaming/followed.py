"""A topic that a stream follows: what is produced to it, and what readers are told of it."""

import json
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
from confluent_kafka import Producer

from features.language import load_definitions
from features.language.recent import rings_of
from online.codec import Codec
from online.items import binary, read_items
from online.wire import StoreError
from sinks.lease import with_client
from tailrace.local import broker

PATIENCE = 240  # seconds; the JVM alone may take many of them


@contextmanager
def running(command, **options):
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def producer_of(settings):
    return Producer({"bootstrap.servers": broker.servers(settings), "enable.idempotence": True, "log_level": 0})


def produce(settings, *messages, **where):
    producer = producer_of(settings)
    for message in messages:
        producer.produce(settings.stream.topic, message, **where)
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
