"""Events produced at a rate, when each of them can be read, and which rates a stream bears."""

import random
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from confluent_kafka import Producer

from bench.measured import LoadFailed, percentile

PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
MOST_P95_MS = 5_000
MADE = 0.97  # of a rate, which the producer has to reach for the rate to count
GROWING = 0.15  # seconds that an event waits longer than one produced a second before it
A_BATCH = 1.0  # seconds more or less of waiting that come of where in a micro-batch the measurement ends
SETTLED = 1 / 3  # of a measurement, before which micro-batches still grow to the size that the rate takes
CLOSE = 1.15  # between the highest rate that was kept up and the lowest that was not

Figures = dict[str, Any]

ACTORS = DOCUMENTS = 20_000
PROBE_SECONDS = 0.1  # from one timed event to the next
TICK_SECONDS = 0.01
FLUSH_SECONDS = 30.0
QUEUE = 1_000_000  # messages

START_SECONDS = 120.0  # for the first event to be readable: a broker, a JVM and its first micro-batch
LOOK_SECONDS = 0.05  # from one look to the next, at least
LOOKING = 0.2  # of the time at most: who looks takes time from the store as well
HOPELESS = 0.05  # of the timed events too late for p95 to be kept

# Takes documents, and returns those of them of which an event can be read.
Readable = Callable[[list[str]], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Events at one rate: of each that was timed, in order, when it was due and how many seconds it took to be readable.

    Those that were never seen, `unreadable` of them, have the seconds for which they were waited for: percentiles with
    them are what it took at least.
    """

    rate: int
    produced_per_second: float
    waits: Sequence[tuple[float, float]]
    unreadable: int = 0

    @property
    def percentiles(self) -> dict[str, int]:
        milliseconds = [1000 * wait for _, wait in self.waits]
        return {name: round(percentile(milliseconds, part)) for name, part in PERCENTILES.items()}

    @property
    def growth(self) -> float:
        """Seconds of waiting that were added each second, once settled: above 0 where a backlog builds up."""
        dues, waits = zip(*(wait for wait in self.waits if wait[0] >= self.settled), strict=True)
        return statistics.linear_regression(dues, waits).slope if dues[0] < dues[-1] else 0.0

    @property
    def settled(self) -> float:
        """When micro-batches have their size, as the time at which events were due."""
        return self.waits[0][0] + SETTLED * (self.waits[-1][0] - self.waits[0][0])

    @property
    def backlog_grew(self) -> bool:
        added = self.growth * (self.waits[-1][0] - self.settled)
        return self.growth > GROWING and added > A_BATCH

    @property
    def missed(self) -> str | None:
        """Why the rate was not kept up; None if it was."""
        if self.produced_per_second < MADE * self.rate:
            return "not produced"
        if self.unreadable:
            return "not all readable"
        if self.percentiles["p95_ms"] >= MOST_P95_MS:
            return "p95"
        return "backlog grew" if self.backlog_grew else None

    @property
    def line(self) -> Figures:
        return {
            "rate": self.rate,
            "produced_per_second": round(self.produced_per_second),
            "measured": len(self.waits),
            "unreadable": self.unreadable,
            **self.percentiles,
            "growth": round(self.growth, 3),
            "missed": self.missed,
        }


def highest_kept(measured: Sequence[Measured]) -> int:
    return max((one.rate for one in measured if one.missed is None), default=0)


def next_rate(measured: Sequence[Measured]) -> int | None:
    """Twice the highest rate kept up, or between it and the lowest above it that was not; None if it is known."""
    kept = highest_kept(measured)
    if not kept:
        return None
    too_high = min((one.rate for one in measured if one.missed and one.rate > kept), default=None)
    if too_high is None:
        return 2 * kept
    between = 10 * round((kept * too_high) ** 0.5 / 10)
    return None if too_high <= CLOSE * kept or not kept < between < too_high else between


def summary(
    fixed: Sequence[Measured], searched: Sequence[Measured], naive: Sequence[Measured], *, naive_per_second: float
) -> Figures:
    """One object: percentiles at the fixed rates, the highest rate kept up, and the naive way's with the ratios to ours.

    Where events of the naive way were never readable, its percentiles and the ratios to them are what they are at least.
    """
    kept = highest_kept([*fixed, *searched])
    ours = {one.rate: one.percentiles for one in fixed}
    figures: Figures = {
        f"{name}_{rate}": value for rate, percentiles in ours.items() for name, value in percentiles.items()
    }
    figures |= {"highest_rate_held": kept, "naive_events_per_second": round(naive_per_second, 1)}
    figures |= {"ratio_to_naive": round(kept / naive_per_second, 1)}
    for one in naive:
        percentiles = one.percentiles
        figures |= {f"naive_{name}_{one.rate}": value for name, value in percentiles.items()}
        figures |= {f"naive_unreadable_{one.rate}": one.unreadable}
        figures |= {f"p95_ratio_{one.rate}": round(percentiles["p95_ms"] / ours[one.rate]["p95_ms"], 2)}
    return figures | {
        "rates": [one.line for one in fixed],
        "searched": [one.line for one in searched],
        "naive_rates": [one.line for one in naive],
    }


class Timed(Protocol):
    """Makes the next event that is timed."""

    def __call__(self, *, due: float) -> bytes: ...


class ProducedTopic:
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


@dataclass(kw_only=True)
class Probes:
    """Events on documents of their own: when each was due, and how long it took until it was readable, in seconds."""

    readable: Readable
    name: str = field(default_factory=lambda: f"p{random.getrandbits(48):x}")
    waiting: dict[str, float] = field(default_factory=dict)
    seen: list[tuple[float, float]] = field(default_factory=list)
    made: int = 0

    def next_event(self, *, due: float) -> bytes:
        document = f"{self.name}-{self.made}"
        self.made += 1
        self.waiting[document] = due
        return event("probe", document)

    def look(self) -> None:
        """Note which of the waiting events can be read, and rest."""
        began, asked = time.monotonic(), list(self.waiting)
        found = self.readable(asked) if asked else ()
        now = time.monotonic()
        for document in found:
            due = self.waiting.pop(document)
            self.seen.append((due, now - due))
        time.sleep(max(LOOK_SECONDS, (now - began) * (1 - LOOKING) / LOOKING))

    @property
    def waits(self) -> list[tuple[float, float]]:
        """When each was due and how long it took; of those that are waiting still, how long they have waited."""
        now = time.monotonic()
        return sorted([*self.seen, *((due, now - due) for due in list(self.waiting.values()))])


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Events produced to a topic, who says which can be read, for how long the last are waited for, and the processes
    without which none would be.
    """

    topic: ProducedTopic
    readable: Readable
    patience: float
    watched: Sequence[subprocess.Popen[bytes]]

    def first_event(self) -> None:
        """Wait until one event has come through; raises `LoadFailed` if it does not."""
        probes = Probes(readable=self.readable)
        self.topic.send(probes.next_event(due=time.monotonic()))
        self.topic.flush(within=START_SECONDS)
        self.wait(probes, seconds=START_SECONDS)
        if probes.waiting:
            raise LoadFailed(f"the first event of {self.topic.name} was not readable within {START_SECONDS:g} s")

    def at(self, rate: int, *, seconds: float, while_hopeful: bool = False) -> Measured:
        """Produce at a rate and time some of the events; `while_hopeful` ends it when p95 cannot be kept any more."""
        probes, enough = Probes(readable=self.readable), threading.Event()
        most_late = HOPELESS * seconds / PROBE_SECONDS
        with ThreadPoolExecutor(1) as pool:
            producing = pool.submit(
                self.topic.produce, rate=rate, seconds=seconds, enough=enough, timed=probes.next_event
            )
            try:
                while not producing.done():
                    probes.look()
                    if while_hopeful and late(probes.waits) > most_late:
                        enough.set()
            except BaseException:
                enough.set()
                self.topic.drop()
                raise
        self.wait(probes, seconds=self.patience)
        return Measured(
            rate=rate,
            produced_per_second=producing.result(),
            waits=probes.waits,
            unreadable=len(probes.waiting),
        )

    def wait(self, probes: Probes, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while probes.waiting and time.monotonic() < deadline:
            probes.look()
            for one in self.watched:
                if one.poll() is not None:
                    raise LoadFailed(f"{one.args!r} ended with {one.returncode}")


def late(waits: Sequence[tuple[float, float]]) -> int:
    return sum(1000 * wait >= MOST_P95_MS for _, wait in waits)
