"""The figures of `tailrace bench streaming` as a person reads them."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from tailrace.cli.report import plain_table

PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
COLUMNS = ("", "events a second", "produced a second", "measured", *PERCENTILES, "held")
PARTS = {"rates": "tailrace", "searched": "tailrace, tried", "naive_rates": "naive"}

Figures = dict[str, Any]


def streaming_tables(shown: Figures) -> Iterator[RenderableType]:
    """A line for each rate, and what the ratios are."""
    rows = [row(name, line) for part, name in PARTS.items() for line in shown[part]]
    yield plain_table("From produced to readable at the reader", COLUMNS, rows)
    ratios = ", ".join(
        f"{shown[f'p95_ratio_{rate}']} at {rate:,}" for rate in (line["rate"] for line in shown["naive_rates"])
    )
    yield (
        f"Held at most: {shown['highest_rate_held']:,} events a second. The naive way takes "
        f"{shown['naive_events_per_second']:,} a second from a backlog, {shown['ratio_to_naive']} times less.\n"
        f"p95 of the naive way over this one's: {ratios} events a second."
    )


def row(name: str, line: Figures) -> tuple[Any, ...]:
    """Where events were never readable, percentiles are what they are at least."""
    at_least = "≥ " if line["unreadable"] else ""
    text = (f"{at_least}{line[percentile]:,}" for percentile in PERCENTILES)
    held = line["missed"] or "yes"
    return name, line["rate"], line["produced_per_second"], line["measured"], *text, held
