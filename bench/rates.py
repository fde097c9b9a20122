"""Which rates a stream holds, and which one to try next."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.measured import percentile

PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
HELD_P95_MS = 5_000
MADE = 0.97  # of a rate, which the producer has to reach for the rate to count
GROWING = 0.15  # seconds that an event waits longer than one produced a second before it
A_BATCH = 1.0  # seconds more or less of waiting that come of where in a micro-batch the measurement ends
SETTLED = 1 / 3  # of a measurement, before which micro-batches still grow to the size that the rate takes
CLOSE = 1.15  # between the highest rate that was held and the lowest that was not

Figures = dict[str, Any]


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
        """Why the rate was not held; None where it was."""
        if self.produced_per_second < MADE * self.rate:
            return "not produced"
        if self.unreadable:
            return "not all readable"
        if self.percentiles["p95_ms"] >= HELD_P95_MS:
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


def highest_held(measured: Sequence[Measured]) -> int:
    return max((one.rate for one in measured if one.missed is None), default=0)


def next_rate(measured: Sequence[Measured]) -> int | None:
    """Twice the highest rate held, or between it and the lowest above it that was not; None where it is known."""
    held = highest_held(measured)
    if not held:
        return None
    too_high = min((one.rate for one in measured if one.missed and one.rate > held), default=None)
    if too_high is None:
        return 2 * held
    between = 10 * round((held * too_high) ** 0.5 / 10)
    return None if too_high <= CLOSE * held or not held < between < too_high else between


def summary(
    fixed: Sequence[Measured], searched: Sequence[Measured], naive: Sequence[Measured], *, naive_per_second: float
) -> Figures:
    """One object: percentiles at the fixed rates, the highest rate held, and the naive way's with the ratios to ours.

    Where events of the naive way were never readable, its percentiles and the ratios to them are what they are at least.
    """
    held = highest_held([*fixed, *searched])
    ours = {one.rate: one.percentiles for one in fixed}
    figures: Figures = {
        f"{name}_{rate}": value for rate, percentiles in ours.items() for name, value in percentiles.items()
    }
    figures |= {"highest_rate_held": held, "naive_events_per_second": round(naive_per_second, 1)}
    figures |= {"ratio_to_naive": round(held / naive_per_second, 1)}
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
