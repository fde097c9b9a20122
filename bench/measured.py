"""Subjects under a load, a plan of sizes and rounds, and the figures that are measured."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any

import orjson

from bench.load_generator import DRAIN_SECONDS, Load
from bench.processes import Server
from tailrace.errors import UnavailableError

AT_MOST = 0.4  # of what a server answers at most, where the rate of the plan is more than that

PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "p99_9_ms": 0.999}
MARGIN_SECONDS = 30.0 + 3 * DRAIN_SECONDS  # for the generator to start, to warm up and to wait for what is late

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Requests of so many keys: at so many a second for so many seconds, or with so many `in_flight`."""

    keys: int
    rate: float
    seconds: float
    in_flight: int


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """Sizes of our reader and of the peer, which is slower; seconds at a fixed rate are divided into `rounds`."""

    ours: tuple[Size, ...]
    peer: tuple[Size, ...]
    rounds: int
    saturated_seconds: float
    peer_saturated_seconds: float
    format_seconds: float
    canned_seconds: float
    crowded_seconds: float  # for each part of each round with clients that ask for much


WHOLE = LoadPlan(
    ours=(
        Size(keys=1, rate=100, seconds=12, in_flight=64),
        Size(keys=100, rate=50, seconds=24, in_flight=32),
        Size(keys=500, rate=15, seconds=20, in_flight=16),
        Size(keys=1000, rate=8, seconds=16, in_flight=8),
    ),
    peer=(
        Size(keys=1, rate=20, seconds=8, in_flight=16),
        Size(keys=100, rate=8, seconds=15, in_flight=16),
        Size(keys=500, rate=2, seconds=12, in_flight=8),
        Size(keys=1000, rate=1, seconds=12, in_flight=8),
    ),
    rounds=3,
    saturated_seconds=4,
    peer_saturated_seconds=5,
    format_seconds=6,
    canned_seconds=5,
    crowded_seconds=10,
)
QUICK = LoadPlan(
    ours=tuple(Size(keys=size.keys, rate=size.rate, seconds=3, in_flight=size.in_flight) for size in WHOLE.ours),
    peer=(),
    rounds=1,
    saturated_seconds=1,
    peer_saturated_seconds=0,
    format_seconds=2,
    canned_seconds=2,
    crowded_seconds=4,
)


class LoadFailed(UnavailableError):
    """Requests were not answered as they should be, so there is no figure; the message has the reasons."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A load that was answered: latencies in milliseconds, one for each request, and processor time."""

    sent: int
    latencies: tuple[float, ...]
    seconds: float
    cpu_seconds: float
    bytes: int

    @property
    def answered(self) -> int:
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_seconds / self.answered

    @property
    def percentiles(self) -> dict[str, float]:
        return {name: round(percentile(self.latencies, part), 2) for name, part in PERCENTILES.items()}

    @property
    def figures(self) -> Figures:
        """The figures that every line has."""
        return {
            "sent": self.sent,
            "answered": self.answered,
            "answer_bytes": round(self.bytes / self.answered),
            "cpu_ms": round(self.cpu_ms, 3),
        }


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A server that is measured: where it answers, its requests of so many keys, and its processes, None for the generator itself."""

    name: str
    url: str
    requests: Callable[[int], list[list[str]]]
    headers: dict[str, str] = field(default_factory=dict)
    signed: str | None = None
    server: Server | None = None

    def at_rate(self, size: Size, *, rate: float, seconds: float) -> Sent:
        return self._under(size, rate=rate, seconds=seconds)

    def saturated(self, size: Size, *, seconds: float) -> Sent:
        return self._under(size, rate=None, seconds=seconds)

    def _under(self, size: Size, *, rate: float | None, seconds: float) -> Sent:
        """Send a load from a process of its own; raises `LoadFailed` unless every request was answered well."""
        load = Load(
            url=self.url,
            requests=self.requests(size.keys),
            rate=rate,
            seconds=seconds,
            headers=self.headers,
            in_flight=size.in_flight,
            signed=self.signed,
            watched=[worker.pid for worker in self.server.workers] if self.server else [],
        )
        measured = generate_load(load, self.name)
        if measured["failures"] or not measured["answered"]:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in measured["failures"].items())
            raise LoadFailed(
                f"{self.name}: {measured['answered']} of {measured['sent']} requests were answered: {reasons}"
            )
        return Sent(
            sent=measured["sent"],
            latencies=tuple(measured["latencies_ms"]),
            seconds=measured["seconds"],
            cpu_seconds=measured["cpu_seconds"] if self.server else measured["own_cpu_seconds"],
            bytes=measured["bytes"],
        )


def generate_load(load: Load, name: str) -> Figures:
    """Run the load generator; returns what it reports."""
    command = [sys.executable, "-m", "bench.load_generator"]
    spec, patience = orjson.dumps(asdict(load)), load.seconds + MARGIN_SECONDS
    try:
        generator = subprocess.run(command, input=spec, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{name}: the generator did not end within {patience:g} s") from error
    if generator.returncode:
        raise LoadFailed(f"{name}: the generator failed: {generator.stderr.decode().strip()[-500:]}")
    measured: Figures = orjson.loads(generator.stdout)
    return measured


def by_turns(subjects: Sequence[Subject], size: Size, *, rounds: int, saturated_seconds: float) -> list[Figures]:
    """A line for each subject at one size, all at the rate that the slowest of them bears with ease."""
    at_most = [one.saturated(size, seconds=saturated_seconds) for one in subjects]
    rate = min(size.rate, *(AT_MOST * one.per_second for one in at_most))
    turns = [[one.at_rate(size, rate=rate, seconds=size.seconds / rounds) for one in subjects] for _ in range(rounds)]
    steady = [together(parts) for parts in zip(*turns, strict=True)]
    return [
        line_of(subject, size, rate, at_rate, most)
        for subject, at_rate, most in zip(subjects, steady, at_most, strict=True)
    ]


def line_of(subject: Subject, size: Size, rate: float, steady: Sent, saturated: Sent) -> Figures:
    """Latencies and processor time at a fixed rate, and what is answered at most."""
    return {
        "of": subject.name,
        "keys": size.keys,
        "rate": round(rate, 1),
        "requests": steady.answered,
        **steady.percentiles,
        **steady.figures,
        "requests_per_second": round(saturated.per_second, 1),
        "cpu_ms_saturated": round(saturated.cpu_ms, 3),
        "sent": steady.sent + saturated.sent,
        "answered": steady.answered + saturated.answered,
    }


def together(parts: Iterable[Sent]) -> Sent:
    """Several rounds of one load as one."""
    return reduce(
        lambda one, other: Sent(
            sent=one.sent + other.sent,
            latencies=one.latencies + other.latencies,
            seconds=one.seconds + other.seconds,
            cpu_seconds=one.cpu_seconds + other.cpu_seconds,
            bytes=one.bytes + other.bytes,
        ),
        parts,
    )


def percentile(values: Sequence[float], part: float) -> float:
    """The least value that this part of all does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
