"""Readers of one embedded store that is 20 ms away: ours, Feast's, and a bare loop of reads, in one run.

Latencies are measured at a fixed rate, from when a request was due. The bare loop is the limit: only the reads, signed
and sent side by side by the same generator, which does not look at what they bring.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.documents import VIEW, ask_once, equal_values, fill, keys_of, speaks
from bench.measured import Figures, LoadFailed, LoadPlan, Size, by_turns
from bench.peer_feast import Feast, PeerMissing
from bench.processes import Server, server
from bench.readers import Crowded, Documents, reading
from tailrace.settings import Settings
from tailrace.store import embedded
from tailrace.store.dynamodb.calls import READ_MANY, control_key, open_client, read_request
from tailrace.store.dynamodb.control_item import ATTRIBUTES

COMPARED = 100  # keys of a request where nothing else is said
# At least, or at most.
AIMS: dict[str, tuple[str, float]] = {
    "ratio_to_feast": ("≥", 10.0),
    "overhead_p50_ms_100": ("≤", 2.0),
    "overhead_p95_ms_100": ("≤", 5.0),
    "p99_ms_500": ("≤", 68.0),
    "cpu_ms_100": ("≤", 1.0),
    "requests_per_second_per_core_canned": ("≥", 1_000.0),
    "worker_mb": ("≤", 150.0),
    "p99_ratio_beside": ("≤", 5.0),
    "untaken_mb": ("≤", 200.0),
}

Progress = Callable[[str], None]

DELAY_MS = 20.0
CANNED_IN_FLIGHT = 8
FORMATS = ("application/json", "application/vnd.tailrace.columns+json", "application/vnd.apache.arrow.stream")


def summary(ours: Figures, peer: Figures) -> Figures:
    """One object with what the aims are about, and all lines; what a run left out is null."""
    table = [*ours["table"], *peer.get("table", ())]
    counted = [*table, *ours["formats"], ours["canned"]]
    crowded = ours["canned"]["beside"]
    return {
        "ratio_to_feast": ratio(figure(table, "tailrace", COMPARED), figure(table, "feast", COMPARED)),
        "p99_ms_500": figure(table, "tailrace", 500, "p99_ms"),
        "cpu_ms_100": figure(table, "tailrace", COMPARED, "cpu_ms"),
        "cpu_ms_100_saturated": figure(table, "tailrace", COMPARED, "cpu_ms_saturated"),
        "overhead_p50_ms_100": overhead(table, "p50_ms"),
        "overhead_p95_ms_100": overhead(table, "p95_ms"),
        "requests_per_second_per_core_canned": ours["canned"]["requests_per_second_per_core"],
        "worker_mb": round(ours["worker_mb"], 1),
        "p99_ratio_beside": crowded["p99_ratio"],
        "untaken_mb": crowded["untaken_mb"],
        "table": table,
        "formats": ours["formats"],
        "canned": ours["canned"],
        "feast": {name: value for name, value in peer.items() if name != "table"},
        "sent": sum(line["sent"] for line in counted),
        "answered": sum(line["answered"] for line in counted),
    }


def figure(table: Sequence[Figures], of: str, keys: int, name: str = "requests_per_second") -> float | None:
    return next((line[name] for line in table if (line["of"], line["keys"]) == (of, keys)), None)


def ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 1)


def overhead(table: Sequence[Figures], name: str) -> float | None:
    """This reader's percentile less that of the bare loop."""
    ours, limit = (figure(table, of, COMPARED, name) for of in ("tailrace", "limit"))
    return None if ours is None or limit is None else round(ours - limit, 2)


def reached(name: str, value: float | None) -> bool | None:
    """Whether a figure is what it aims at; None if there is no figure."""
    sign, aim = AIMS[name]
    if value is None:
        return None
    return value >= aim if sign == "≥" else value <= aim


@dataclass(frozen=True, kw_only=True)
class ServingBench:
    """The plan of a measurement and its home, which has to be the benchmark's own."""

    settings: Settings
    plan: LoadPlan
    documents: int
    workers: int
    formats: Sequence[str]
    progress: Progress

    def run(self) -> Figures:
        began, busy = time.monotonic(), os.getloadavg()[0]
        store = embedded.start(self.settings)
        try:
            self.progress(f"writing {self.documents:,} documents")
            known = asyncio.run(self.prepare(store.url))
            delay = ["--upstream", store.url, "--milliseconds", str(DELAY_MS)]
            with server("bench.delay_proxy", *delay, log=self.log("proxy")) as proxy:
                ours, answer = self.ours(proxy.url)
                peer = self.peer(store.url, proxy.url, answer)
        finally:
            embedded.stop(self.settings)
        ours["canned"] = self.canned(known)
        return summary(ours, peer) | {
            "documents": self.documents,
            "features": len(VIEW.features),
            "delay_ms": DELAY_MS,
            "workers": self.workers,
            "cores": os.cpu_count(),
            "load_before": round(busy, 2),  # what else the machine does slows down whoever needs the most of it
            "seconds": round(time.monotonic() - began, 1),
        }

    @property
    def asked(self) -> Documents:
        return Documents(settings=self.settings, number=self.documents)

    async def prepare(self, url: str) -> list[tuple[list[str], Any]]:
        """Fill our table; returns what the store that costs nothing will know: item keys, and the answer with them."""
        store = self.settings.store
        async with open_client(url=url, region=store.region, table=store.table) as client:
            await fill(client, self.documents)
            reads = [(keys_of(ids), [VIEW.name], False) for ids in self.asked.slices(COMPARED)]
            reads.append(([control_key(VIEW.name)], list(ATTRIBUTES), True))
            known = []
            for keys, attributes, consistent in reads:
                read = read_request(store.table, keys, attributes, consistent=consistent)
                known.append((keys, await client.call(READ_MANY, read)))
            return known

    def ours(self, url: str) -> tuple[Figures, bytes]:
        """Our reader and the limit by turns; also returns an answer of ours."""
        plan, limit = self.plan, self.asked.limit(url)
        lines: list[Figures] = []
        with reading(self.settings, url=url, workers=self.workers) as running:
            us = self.asked.reader(running)
            for size in plan.ours:
                self.progress(f"this reader and the limit, {size.keys:,} keys")
                lines += by_turns((us, limit), size, rounds=plan.rounds, saturated_seconds=plan.saturated_seconds)
            self.progress("this reader's formats")
            formats = [one for accept in self.formats if (one := self.format(running, accept))]
            figures = {"table": lines, "formats": formats, "worker_mb": running.worker_mb}
            return figures, ask_once(us.url, us.requests(COMPARED)[0][0], us.headers)[1]

    def format(self, running: Server, accept: str) -> Figures | None:
        """The cost of an answer in one format; None if the reader does not speak it."""
        us, size = self.asked.reader(running, accept=accept), self.compared
        if not speaks(us.url, us.requests(size.keys)[0][0], us.headers):
            return None
        sent = us.at_rate(size, rate=size.rate, seconds=self.plan.format_seconds)
        return {"accept": accept, "rate": size.rate, **sent.percentiles, **sent.figures}

    @property
    def compared(self) -> Size:
        return next(size for size in self.plan.ours if size.keys == COMPARED)

    def peer(self, store: str, proxy: str, answer: bytes) -> Figures:
        """Feast's figures, or why there are none; first it has to answer what we answered."""
        plan, region = self.plan, self.settings.store.region
        if not plan.peer:
            return {"missing": "left out"}
        feast = Feast(folder=self.settings.home / "feast", region=region, documents=self.documents)
        lines: list[Figures] = []
        try:
            self.progress("Feast: its environment and its table")
            feast.prepare(store)
            with feast.serve(proxy, workers=self.workers) as running:
                them = self.asked.feast(running)
                equal = equal_values(answer, ask_once(them.url, them.requests(COMPARED)[0][0], them.headers)[1])
                for size in plan.peer:
                    self.progress(f"Feast, {size.keys:,} keys")
                    lines += by_turns((them,), size, rounds=1, saturated_seconds=plan.peer_saturated_seconds)
                return {"table": lines, "equal_values": equal, "worker_mb": running.worker_mb}
        except (PeerMissing, LoadFailed, OSError) as error:
            self.progress(f"without Feast: {error}")
            return {"missing": str(error)}

    def canned(self, known: Sequence[tuple[list[str], Any]]) -> Figures:
        """Requests that workers answer in a second of a core while the store costs nothing and is near."""
        self.progress("this reader over a store that costs nothing")
        answers = self.settings.home / "canned.json"
        answers.write_bytes(orjson.dumps(known))
        size = Size(keys=COMPARED, rate=0, seconds=0, in_flight=CANNED_IN_FLIGHT)
        with (
            server("bench.canned_store", "--answers", answers, log=self.log("canned")) as store,
            reading(self.settings, url=store.url, workers=self.workers) as running,
        ):
            sent = self.asked.reader(running).saturated(size, seconds=self.plan.canned_seconds)
            self.progress("a client that asks for little among those that ask for much")
            slices, plan = self.asked.slices(COMPARED), self.plan
            crowded = Crowded(running=running, slices=slices, seconds=plan.crowded_seconds, rounds=plan.rounds).run()
        return {
            "beside": crowded,
            "requests_per_second": round(sent.per_second, 1),
            "requests_per_second_per_core": round(1000 / sent.cpu_ms, 1),
            **sent.figures,
        }

    def log(self, name: str) -> Path:
        return self.settings.home / f"{name}.log"
