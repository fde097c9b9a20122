"""How long after an event is produced a reader answers with it, and how the naive way does on the same broker and store.

Everything is started here and stopped again: a store, a broker, a stream and a reader, processes of a home of their own.
First the stream is measured, then, without it, the naive way, whose values are read from the store itself."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench import naive_stream
from bench.followed import naive_items, reader_of, store_of, streaming, through
from bench.naive_stream import consumed
from bench.processes import process, without_settings
from bench.timed import Measured, ProducedTopic, Timing, next_rate, summary
from tailrace.settings import Settings
from tailrace.store.address import Address, with_store

NAIVE = "naive"
RATES, NAIVE_RATES = (100, 1_000, 5_000), (100, 1_000)
WARM_RATE = 500
PATIENCE_SECONDS = 60.0  # for what is not readable when producing has ended
NAIVE_PATIENCE_SECONDS = 20.0

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StreamingBench:
    """Which rates are measured for how long, in a home of the benchmark's own, and how many more are tried at most."""

    settings: Settings
    seconds: float
    progress: Callable[[str], None]
    rates: Sequence[int] = RATES
    naive_rates: Sequence[int] = NAIVE_RATES
    tries: int = 4

    def run(self) -> Figures:
        began, busy = time.monotonic(), os.getloadavg()[0]
        with store_of(self.settings) as address, streaming(self.settings, "broker"):
            self.progress("starting the stream")
            fixed, searched = self.ours()
            naive, naive_per_second = self.naive(replace(address, table=NAIVE))
        return summary(fixed, searched, naive, naive_per_second=naive_per_second) | {
            "seconds_a_rate": self.seconds,
            "cores": os.cpu_count(),
            "load_before": round(busy, 2),
            "seconds": round(time.monotonic() - began, 1),
        }

    def ours(self) -> tuple[list[Measured], list[Measured]]:
        """The stream at the fixed rates, and at those that were tried for the highest that it holds."""
        topic = ProducedTopic(self.settings.stream.kafka or "", self.settings.stream.topic)
        with reader_of(self.settings) as reader, streaming(self.settings, "run") as stream:
            timing = Timing(topic=topic, readable=through(reader), patience=PATIENCE_SECONDS, watched=(stream,))
            timing.first_event()
            self.progress("warming up")
            timing.at(WARM_RATE, seconds=self.seconds / 2)
            fixed = [self.at(timing, rate) for rate in self.rates]
            return fixed, self.search(timing, fixed)

    def search(self, timing: Timing, fixed: Sequence[Measured]) -> list[Measured]:
        """Try more rates for the highest that is kept up, until one leaves a backlog that would be counted in the next."""
        tried = list(fixed)
        while len(tried) < len(fixed) + self.tries and not tried[-1].unreadable and (rate := next_rate(tried)):
            tried.append(self.at(timing, rate, while_hopeful=True))
        return tried[len(fixed) :]

    def naive(self, address: Address) -> tuple[list[Measured], float]:
        """The naive way at its rates, and how many events a second it takes from a backlog."""
        with_store(address, lambda opened: opened.ensure_ready())
        topic = ProducedTopic(self.settings.stream.kafka or "", NAIVE)
        options = ["--servers", topic.servers, "--topic", topic.name, "--store", address.url]
        options += ["--region", address.region, "--table", address.table]
        command, log = [sys.executable, "-m", naive_stream.__name__, *options], self.settings.home / "naive.log"
        with process(command, log=log, environment=without_settings()) as follower:
            timing = Timing(
                topic=topic, readable=naive_items(address), patience=NAIVE_PATIENCE_SECONDS, watched=(follower,)
            )
            timing.first_event()
            self.progress("the naive way")
            measured = [self.at(timing, rate) for rate in self.naive_rates]
            self.progress("the naive way with a backlog")
            return measured, self.naive_per_second(topic)

    def naive_per_second(self, topic: ProducedTopic) -> float:
        """Produce more than the naive way takes while it is measured, and see how far it comes."""
        topic.produce_at_once(round(max(self.naive_rates) * self.seconds))
        before, began = consumed(topic.servers, topic.name), time.monotonic()
        time.sleep(self.seconds)
        return (consumed(topic.servers, topic.name) - before) / (time.monotonic() - began)

    def at(self, timing: Timing, rate: int, *, while_hopeful: bool = False) -> Measured:
        self.progress(f"{rate:,} events a second")
        return timing.at(rate, seconds=self.seconds, while_hopeful=while_hopeful)
