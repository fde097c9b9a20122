"""Events of many actors on many documents, produced to a topic at a steady rate."""

import random
import threading
import time
from datetime import UTC, datetime
from typing import Protocol

import orjson
from confluent_kafka import Producer

ACTORS = DOCUMENTS = 20_000
PROBE_SECONDS = 0.1  # from one timed event to the next
TICK_SECONDS = 0.01
FLUSH_SECONDS = 30.0
QUEUE = 1_000_000  # messages


class Timed(Protocol):
    """Makes the next event that is timed."""

    def __call__(self, *, due: float) -> bytes: ...


class Topic:
    """A topic of a broker, which is made by its first message."""

    def __init__(self, servers: str, name: str) -> None:
        self.servers, self.name = servers, name
        # The client tries until the broker has started, and would log each time that it has not.
        options = {"bootstrap.servers": servers, "linger.ms": 5, "log_level": 0, "queue.buffering.max.messages": QUEUE}
        self._producer = Producer(options)

    def send(self, message: bytes) -> None:
        self._producer.produce(self.name, message)
        self._producer.poll(0)

    def flush(self, *, within: float = FLUSH_SECONDS) -> None:
        """Wait until the broker has all; raises `TimeoutError`."""
        if left := self._producer.flush(within):
            raise TimeoutError(f"the broker did not take {left} events within {within:g} s")

    def drop(self) -> None:
        """Forget what the broker does not have yet: it may be gone as well."""
        self._producer.purge()

    def produce(self, *, rate: int, seconds: float, enough: threading.Event, timed: Timed) -> float:
        """Produce at a rate until it is enough, with a timed event now and then; returns how many the broker took a second."""
        began, sent, timed_events = time.monotonic(), 0, 0
        while (passed := time.monotonic() - began) < seconds and not enough.is_set():
            while sent < passed * rate:
                self.send(any_event())
                sent += 1
            while (due := timed_events * PROBE_SECONDS) <= passed:
                self.send(timed(due=began + due))
                timed_events += 1
            time.sleep(TICK_SECONDS)
        self.flush()
        return sent / (time.monotonic() - began)

    def produce_at_once(self, events: int) -> None:
        for _ in range(events):
            self.send(any_event())
        self.flush()


def any_event() -> bytes:
    return event(f"u{random.randrange(ACTORS)}", f"d{random.randrange(DOCUMENTS)}")


def event(actor: str, document: str) -> bytes:
    about = {"event_id": f"{random.getrandbits(64):x}", "event_type": "open", "actor_id": actor}
    return orjson.dumps(about | {"document_id": document, "occurred_at": datetime.now(UTC).isoformat()})
