"""This reader as a process over a store at any address, and how a client with small requests fares next to others."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from bench import documents
from bench.documents import PATH, SERVED, reader_body, slices, store_bodies
from bench.load_generator import Load, http_request
from bench.measured import Figures, LoadFailed, Subject, generate_load, percentile
from bench.processes import Server, server, without_settings
from tailrace.settings import Settings

JSON = "application/json"
# A long budget: nothing is cut off, and so counted as quick.
HEADERS = {"Content-Type": JSON, "Tailrace-Budget-Ms": "10000"}

LIGHT_KEYS, LIGHT_RATE = 5, 30.0
HEAVY_ROWS, HEAVY_CLIENTS = 5_000, 8
TAKING_NOTHING = 80
LEAD_SECONDS = 3.0  # in which the heavy clients start
LOOKS_EVERY_SECONDS = 0.1
RECEIVE_BYTES = 2**16  # that the kernel takes for a client that takes nothing


@dataclass(frozen=True, kw_only=True)
class Documents:
    """So many documents in a table, and who can be asked for them."""

    settings: Settings
    number: int

    def slices(self, keys: int) -> list[list[str]]:
        return slices(keys, documents=self.number)

    def asked_of_readers(self, keys: int) -> list[list[str]]:
        return [[reader_body(ids)] for ids in self.slices(keys)]

    def asked_of_store(self, keys: int) -> list[list[str]]:
        return [store_bodies(ids, table=self.settings.store.table) for ids in self.slices(keys)]

    def limit(self, url: str) -> Subject:
        """The bare loop: reads of the table, signed and sent by the generator itself."""
        return Subject(name="limit", url=url, requests=self.asked_of_store, signed=self.settings.store.region)

    def reader(self, running: Server, *, accept: str = JSON) -> Subject:
        headers = HEADERS | {"Accept": accept}
        url = running.url + PATH
        return Subject(name="tailrace", url=url, requests=self.asked_of_readers, headers=headers, server=running)

    def feast(self, running: Server) -> Subject:
        headers, url = {"Content-Type": JSON}, running.url + PATH
        return Subject(name="feast", url=url, requests=self.asked_of_readers, headers=headers, server=running)


@contextmanager
def reading(settings: Settings, *, url: str, workers: int, features: Path = SERVED) -> Iterator[Server]:
    """Run `python -m serving` over the store at a URL, with definitions of the benchmark."""
    environment = without_settings() | {
        "TAILRACE_HOME": str(settings.home),
        "TAILRACE_STORE_URL": url,
        "TAILRACE_STORE_TABLE": settings.store.table,
        "TAILRACE_STORE_REGION": settings.store.region,
        "TAILRACE_FEATURES": str(features),
    }
    options = ["--local", "--port", "0", "--workers", str(workers)]
    with server("serving", *options, log=settings.home / "reader.log", environment=environment) as running:
        yield running


def serving_home(settings: Settings, *, documents: int) -> Settings:
    """The settings of a home of the benchmark's own, with an embedded store and a table of so many documents."""
    store = replace(settings.store, url=None, table=f"documents-{documents}")
    return replace(settings, home=settings.home / "bench" / "serving", store=store)


@dataclass(frozen=True, kw_only=True)
class Crowded:
    """A reader, the ids of requests of 100 keys each, and how long each round takes."""

    running: Server
    slices: Sequence[list[str]]
    seconds: float
    rounds: int

    def run(self) -> Figures:
        """The light client by itself and next to the heavy ones by turns, and then the memory of answers that nobody takes."""
        by_itself: list[float] = []
        crowded: list[float] = []
        heavy: list[Figures] = []
        for _ in range(self.rounds):
            by_itself += self.light()
            with ThreadPoolExecutor(1) as aside:
                others: Future[Figures] = aside.submit(self.heavy)
                time.sleep(LEAD_SECONDS)
                crowded += self.light()
                heavy.append(others.result())
        p99_by_itself, p99_crowded = percentile(by_itself, 0.99), percentile(crowded, 0.99)
        before, most = asyncio.run(self.untaken())
        return {
            "requests": len(by_itself) + len(crowded),
            **median_and_p99("alone", by_itself),
            **median_and_p99("beside", crowded),
            "p99_ratio": round(p99_crowded / p99_by_itself, 2),
            "heavy_per_second": round(sum(one["answered"] / one["seconds"] for one in heavy) / len(heavy), 1),
            "heavy_refused": sum(one["sent"] - one["answered"] for one in heavy),
            "untaken_mb": round(most - before, 1),
            "workers_mb_before": round(before, 1),
        }

    @property
    def heavy_bodies(self) -> list[list[str]]:
        return [[documents.reader_body(list(chain.from_iterable(self.slices))[:HEAVY_ROWS])]]

    def light(self) -> list[float]:
        """Latencies of the light client; raises `LoadFailed` if it is not answered."""
        bodies = [[documents.reader_body(ids[:LIGHT_KEYS])] for ids in self.slices]
        measured = generate_load(self.load(bodies, rate=LIGHT_RATE, seconds=self.seconds), "light")
        if measured["failures"]:
            raise LoadFailed(f"the light client: {measured['failures']}")
        return list(measured["latencies_ms"])

    def heavy(self) -> Figures:
        seconds = self.seconds + 2 * LEAD_SECONDS
        return generate_load(self.load(self.heavy_bodies, rate=None, seconds=seconds, in_flight=HEAVY_CLIENTS), "heavy")

    def load(
        self, bodies: list[list[str]], *, rate: float | None, seconds: float, in_flight: int = HEAVY_CLIENTS
    ) -> Load:
        url = self.running.url + documents.PATH
        return Load(url=url, requests=bodies, rate=rate, seconds=seconds, headers=HEADERS, in_flight=in_flight)

    async def untaken(self) -> tuple[float, float]:
        """Megabytes of all workers before clients ask and take nothing, and the most while they do."""
        address = urlsplit(self.running.url)
        host = {"Host": address.netloc}
        request = http_request(documents.PATH, host | HEADERS, self.heavy_bodies[0][0].encode())
        before = most = self.megabytes()
        clients = []
        try:
            for _ in range(TAKING_NOTHING):
                incoming, outgoing = await asyncio.open_connection(address.hostname, address.port, limit=RECEIVE_BYTES)
                outgoing.write(request)
                clients.append((incoming, outgoing))
            deadline = time.monotonic() + self.seconds
            while time.monotonic() < deadline:
                await asyncio.sleep(LOOKS_EVERY_SECONDS)
                most = max(most, self.megabytes())
        finally:
            for _, outgoing in clients:
                outgoing.transport.abort()
        return before, most

    def megabytes(self) -> float:
        return sum(worker.memory_info().rss for worker in self.running.workers) / 1e6


def median_and_p99(part: str, latencies: Sequence[float]) -> Figures:
    """Two percentiles in milliseconds, named for a part of the measurement."""
    return {
        f"p50_{part}_ms": round(percentile(latencies, 0.5), 2),
        f"p99_{part}_ms": round(percentile(latencies, 0.99), 2),
    }
