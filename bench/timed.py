"""When events can be read, while they are produced."""

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.measured import LoadFailed
from bench.produced import PROBE_SECONDS, Topic, event
from bench.rates import HELD_P95_MS, Measured

START_SECONDS = 120.0  # for the first event to be readable: a broker, a JVM and its first micro-batch
LOOK_SECONDS = 0.05  # from one look to the next, at least
LOOKING = 0.2  # of the time at most: who looks takes time from the store as well
HOPELESS = 0.05  # of the timed events too late for p95 to be held

# Is told documents, and returns those of them of which an event can be read.
Readable = Callable[[list[str]], Iterable[str]]


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
    """Events produced to a topic, who tells which can be read, for how long the last are waited for, and the processes
    without which none would be.
    """

    topic: Topic
    readable: Readable
    patience: float
    watched: Sequence[subprocess.Popen[bytes]]

    def first_event(self) -> None:
        """Wait until one event has come through; raises `LoadFailed` where it does not."""
        probes = Probes(readable=self.readable)
        self.topic.send(probes.next_event(due=time.monotonic()))
        self.topic.flush(within=START_SECONDS)
        self.wait(probes, seconds=START_SECONDS)
        if probes.waiting:
            raise LoadFailed(f"the first event of {self.topic.name} was not readable within {START_SECONDS:g} s")

    def at(self, rate: int, *, seconds: float, while_hopeful: bool = False) -> Measured:
        """Produce at a rate and time some of the events; `while_hopeful` ends it when p95 cannot be held any more."""
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
    return sum(1000 * wait >= HELD_P95_MS for _, wait in waits)
