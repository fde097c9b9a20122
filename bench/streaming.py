"""How long after an event is produced its value is readable in the store, under a steady load of other events."""

import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from bench.measured import PERCENTILES, percentile
from online.items import ensure_table, read_items
from sinks.lease import with_client
from sinks.rows import Address

RATES = (100, 1_000, 5_000)
ACTORS = DOCUMENTS = 20_000
PROBE_SECONDS = 0.1  # from one measured event to the next
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
TICK_SECONDS = 0.01

Figures = dict[str, Any]


class Probes:
    """Events on documents of their own, and when each was produced and became readable, in seconds."""

    def __init__(self, address: Address, view: str, name: str) -> None:
        self.address, self.view, self.name = address, view, name
        self.waiting: dict[str, float] = {}
        self.latencies: list[float] = []
        self.made = 0

    def next_event(self) -> str:
        document = f"{self.name}-{self.made}"
        self.made += 1
        self.waiting[f"document|{len(document)}:{document}"] = time.monotonic()
        return event("probe", document)

    def look(self) -> None:
        """Note which of the waiting events can be read."""
        if not self.waiting:
            return
        found = with_client(self.address, lambda client: read_items(client, self.waiting, (self.view,)))
        now = time.monotonic()
        self.latencies += [now - self.waiting.pop(key) for key, item in found.items() if self.view in item]


def event(actor: str, document: str) -> str:
    about = {
        "event_id": f"{random.getrandbits(64):x}",
        "event_type": "open",
        "actor_id": actor,
        "document_id": document,
    }
    return json.dumps(about | {"occurred_at": datetime.now(UTC).isoformat()})


def measure(
    send: Callable[[str], None], address: Address, view: str, *, seconds: float, rates: Sequence[int] = RATES
) -> Figures:
    """Latencies at each rate, one after another; a rate is not held where events stay unreadable when it has ended."""
    with_client(address, ensure_table)
    warm = Probes(address, view, f"warm-{random.getrandbits(32):x}")
    send(warm.next_event())
    wait(warm)
    lines = [
        at_rate(send, Probes(address, view, f"r{rate}-{random.getrandbits(32):x}"), rate, seconds) for rate in rates
    ]
    figures: Figures = {
        f"{name}_{line['rate']}": line[name] for line in lines for name in ("p50_ms", "p95_ms", "p99_ms")
    }
    held = [line["rate"] for line in lines if line["p95_ms"] < 5_000]
    return figures | {"highest_rate_held": max(held, default=0), "rates": lines}


def at_rate(send: Callable[[str], None], probes: Probes, rate: int, seconds: float) -> Figures:
    began, sent, looked = time.monotonic(), 0, 0.0
    while (passed := time.monotonic() - began) < seconds:
        while sent < passed * rate:
            send(event(f"u{random.randrange(ACTORS)}", f"d{random.randrange(DOCUMENTS)}"))
            sent += 1
        if probes.made < passed / PROBE_SECONDS:
            send(probes.next_event())
        if passed - looked > LOOK_SECONDS:
            probes.look()
            looked = passed
        time.sleep(TICK_SECONDS)
    produced_seconds = time.monotonic() - began
    wait(probes)
    milliseconds = [1000 * one for one in probes.latencies]
    told = {name: round(percentile(milliseconds, part)) for name, part in PERCENTILES.items()}
    return {"rate": rate, "produced_per_second": round(sent / produced_seconds), "measured": len(milliseconds), **told}


def wait(probes: Probes) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while probes.waiting:
        probes.look()
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{len(probes.waiting)} events were not readable after {PATIENCE_SECONDS:g} s; does the stream run?"
            )
        time.sleep(LOOK_SECONDS)
