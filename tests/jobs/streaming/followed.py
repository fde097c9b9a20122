"""Events for a stream, and what the store has of them."""

import json
import time
from datetime import UTC, datetime

import numpy as np

from tailrace.definitions import load_definitions
from tailrace.definitions.stream_view import rings_of
from tailrace.store.codec import Codec
from tailrace.store.dynamodb.calls import binary, read_items
from tailrace.store.failures import StoreError
from tests.store_client import with_client

PATIENCE = 240  # seconds; the JVM alone may take many of them


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


def until(holds):
    """Wait for what a function returns to be true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)
    return found
