"""Direct writes to a reader over an embedded store on disk: how many are acknowledged, and how soon they can be read.

The naive way is what a service without a log of its own would do: an update for each entity with boto3, as many threads as
the reader is sent requests side by side, nothing checked and nothing kept for the lake."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import orjson
from botocore.config import Config

from bench.load_generator import http_request
from bench.loopback import LoadConnections, address_of
from bench.measured import Figures, LoadFailed, Sent, Size, Subject
from bench.processes import Server
from bench.readers import JSON, reading
from tailrace.settings import Settings
from tailrace.store import embedded
from tailrace.store.dynamodb.calls import open_client
from tailrace.store.dynamodb.store import ensure_table
from tailrace.store.dynamodb.unconditional import boto_update
from tailrace.store.keys import item_keys

Progress = Callable[[str], None]

WRITTEN = Path(__file__).parent / "written"
PATH, READ_PATH = "/v1/write", "/get-online-features"
VIEW = "relevance"
DOCUMENTS = 20_000
TOGETHER = 25  # entities of one request where many are written
IN_FLIGHT = 16
RATE = 50  # writes a second whose way to a reader is timed
MOST_READS = 200  # of one value that does not appear


@dataclass(frozen=True, kw_only=True)
class DirectBench:
    """How long each part is measured, and in which home, which has to be the benchmark's own."""

    settings: Settings
    workers: int
    seconds: float
    progress: Progress

    def run(self) -> Figures:
        store = embedded.start(self.settings)
        try:
            asyncio.run(self.prepare(store.url))
            with reading(self.settings, url=store.url, workers=self.workers, features=WRITTEN) as reader:
                self.progress("one entity a request")
                one = self.writer(reader).saturated(size(1), seconds=self.seconds)
                self.progress(f"{TOGETHER} entities a request")
                many = self.writer(reader).saturated(size(TOGETHER), seconds=self.seconds)
                self.progress("from a write to its being read")
                seen = asyncio.run(self.times_to_readable(reader))
            self.progress("the naive way")
            naive = self.naive(store.url)
        finally:
            embedded.stop(self.settings)
        return summary(one, many, seen, naive) | {"workers": self.workers, "cores": os.cpu_count()}

    async def prepare(self, url: str) -> None:
        store = self.settings.store
        async with open_client(url=url, region=store.region, table=store.table) as client:
            await ensure_table(client)

    def writer(self, reader: Server) -> Subject:
        headers = {"Content-Type": JSON}
        return Subject(name="tailrace", url=reader.url + PATH, requests=bodies, headers=headers, server=reader)

    async def times_to_readable(self, reader: Server) -> list[dict[str, float]]:
        """Write at a fixed rate; of each write, when it was acknowledged and when a read had it, since it was due."""
        host, port = address_of(reader.url)
        connections = LoadConnections(host, port, most=64)

        async def exchange(path: str, body: bytes) -> Any:
            headers = {"Host": f"{host}:{port}", "Content-Type": JSON}
            reply = await connections.exchange(http_request(path, headers, body))
            if reply.status != 200:
                raise LoadFailed(f"{path} answered {reply.status}: {reply.body[:200]!r}")
            return orjson.loads(reply.body)

        async def write_and_read(number: int, due: float) -> dict[str, float]:
            document, score = f"seen{number}", number % 1_000 / 1_000
            body = {"view": VIEW, "entities": [entity(document, score)]}
            await exchange(PATH, orjson.dumps(body))
            acknowledged = time.monotonic() - due
            asked = orjson.dumps({"features": [f"{VIEW}:score"], "entities": {"document_id": [document]}})
            for _ in range(MOST_READS):
                answer = await exchange(READ_PATH, asked)
                if answer["results"][-1]["values"] == [score]:
                    return {"acknowledged": 1000 * acknowledged, "readable": 1000 * (time.monotonic() - due)}
            raise LoadFailed(f"{document} was acknowledged and is not read after {MOST_READS} reads")

        began, tasks = time.monotonic() + 0.05, []
        for number in range(round(RATE * self.seconds)):
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(write_and_read(number, due)))
        seen = await asyncio.gather(*tasks)
        connections.close()
        return seen

    def naive(self, url: str) -> float:
        """Updates a second, each of one entity."""
        store, until = self.settings.store, time.monotonic() + self.seconds
        config = Config(max_pool_connections=IN_FLIGHT, retries={"mode": "standard"})
        client = boto3.client(
            "dynamodb", endpoint_url=url, region_name=store.region, config=config,
            aws_access_key_id="local", aws_secret_access_key="local",
        )  # fmt: skip

        def write(thread: int) -> int:
            done = 0
            while time.monotonic() < until:
                [key] = item_keys({"document": "document_id"}, {"document_id": [f"naive{thread}-{done}"]})
                client.update_item(**boto_update(store.table, key, bytes(60), view=VIEW))
                done += 1
            return done

        began = time.monotonic()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            done = sum(pool.map(write, range(IN_FLIGHT)))
        return done / (time.monotonic() - began)


def size(entities: int) -> Size:
    return Size(keys=entities, rate=0, seconds=0, in_flight=IN_FLIGHT)


def bodies(entities: int) -> list[list[str]]:
    """Requests for so many entities each; no document comes twice before all had their turn."""
    starts = range(0, DOCUMENTS - entities + 1, entities)
    return [
        [
            orjson.dumps(
                {"view": VIEW, "entities": [entity(f"d{i}", i % 100 / 100) for i in range(start, start + entities)]}
            ).decode()
        ]
        for start in starts
    ]


def entity(document: str, score: float) -> dict[str, Any]:
    return {"keys": {"document_id": document}, "values": {"score": score, "model": "judge-1", "tokens": 900}}


def summary(one: Sent, many: Sent, seen: list[dict[str, float]], naive: float) -> Figures:
    """One object with what the aims are about; milliseconds are from when a write was due to a read that had it."""
    readable = replace(one, latencies=tuple(times["readable"] for times in seen)).percentiles
    acknowledged = replace(one, latencies=tuple(times["acknowledged"] for times in seen)).percentiles
    return {
        "entities_per_second": round(TOGETHER * many.per_second, 1),
        "p50_ms": readable["p50_ms"],
        "p95_ms": readable["p95_ms"],
        "p99_ms": readable["p99_ms"],
        "ratio_to_naive": round(TOGETHER * many.per_second / naive, 1),
        "acknowledged": acknowledged,
        "timed_writes": len(seen),
        "rate": RATE,
        "one_at_a_time": {"entities_per_second": round(one.per_second, 1), **one.percentiles, **one.figures},
        "together": {"entities": TOGETHER, **many.percentiles, **many.figures},
        "naive_entities_per_second": round(naive, 1),
    }


def direct_home(settings: Settings) -> Settings:
    """The settings of a home of the benchmark's own, with an embedded store."""
    home = settings.home / "bench" / "direct"
    store = replace(settings.store, url=None, table="direct")
    return replace(settings, home=home, landing=str(home / "landing"), store=store)
