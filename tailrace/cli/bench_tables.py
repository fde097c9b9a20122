"""The figures of `tailrace bench serving` and `streaming` as a person reads them."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from bench.serving import AIMS, COMPARED, figure, ratio, reached
from tailrace.cli.output import plain_table

Json = dict[str, Any]

SERVING_COLUMNS = {
    "p50_ms": "p50 ms",
    "p95_ms": "p95",
    "p99_ms": "p99",
    "p99_9_ms": "p99.9",
    "requests_per_second": "at most/s",
    "cpu_ms": "CPU ms",
    "cpu_ms_saturated": "saturated",
}
SAID = {True: "reached", False: "missed", None: "not measured"}

PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
STREAMING_COLUMNS = ("", "events a second", "produced a second", "measured", *PERCENTILES, "kept")
PARTS = {"rates": "tailrace", "searched": "tailrace, tried", "naive_rates": "naive"}

Figures = dict[str, Any]


def serving_tables(shown: Json) -> Iterator[RenderableType]:
    yield plain_table("Reading: aims", ("figure", "value", "aim", ""), [aim_row(name, shown[name]) for name in AIMS])
    columns = ("of", "keys", "sent/s", "requests", *SERVING_COLUMNS.values(), "× Feast")
    title = f"{shown['features']} features, a store {shown['delay_ms']:g} ms away, workers: {shown['workers']}"
    yield plain_table(title, columns, [line_row(line, shown["table"]) for line in shown["table"]])
    names = ("cpu_ms", "answer_bytes", "p50_ms", "p95_ms", "p99_ms")
    rows = [(one["accept"], *(one[name] for name in names)) for one in shown["formats"]]
    yield plain_table(f"Formats, {COMPARED} keys", ("Accept", *(name.replace("_", " ") for name in names)), rows)
    canned = shown["canned"]
    yield (
        f"Over a store that costs nothing, {COMPARED} keys: {canned['requests_per_second']:,} requests a second, "
        f"{canned['requests_per_second_per_core']:,} a second of a core."
    )
    among = canned["beside"]
    yield (
        f"A client of 5 keys by itself: {latencies(among, 'alone')}; among 8 of 5,000 rows: "
        f"{latencies(among, 'beside')}, {among['p99_ratio']} times as long. "
        f"80 clients that take nothing: {among['untaken_mb']} MB more."
    )
    yield feast_line(shown["feast"])


def latencies(figures: Json, part: str) -> str:
    return f"p50 {figures[f'p50_{part}_ms']} ms, p99 {figures[f'p99_{part}_ms']} ms"


def aim_row(name: str, value: float | None) -> tuple[Any, ...]:
    sign, aim = AIMS[name]
    return name, "-" if value is None else f"{value:,}", f"{sign} {aim:g}", SAID[reached(name, value)]


def line_row(line: Json, table: list[Json]) -> tuple[Any, ...]:
    times = ratio(line["requests_per_second"], figure(table, "feast", line["keys"]))
    figures = (line[name] for name in SERVING_COLUMNS)
    return line["of"], line["keys"], line["rate"], line["requests"], *figures, "-" if times is None else times


def feast_line(feast: Json) -> str:
    if "missing" in feast:
        return f"Feast was not measured: {feast['missing']}"
    return (
        f"Feast and this reader answered {feast['equal_values']:,} values alike; "
        f"a worker of Feast's holds {feast['worker_mb']:.0f} MB."
    )


def streaming_tables(shown: Figures) -> Iterator[RenderableType]:
    """A line for each rate, and what the ratios are."""
    rows = [row(name, line) for part, name in PARTS.items() for line in shown[part]]
    yield plain_table("From produced to readable at the reader", STREAMING_COLUMNS, rows)
    ratios = ", ".join(
        f"{shown[f'p95_ratio_{rate}']} at {rate:,}" for rate in (line["rate"] for line in shown["naive_rates"])
    )
    yield (
        f"Kept at most: {shown['highest_rate_held']:,} events a second. The naive way takes "
        f"{shown['naive_events_per_second']:,} a second from a backlog, {shown['ratio_to_naive']} times less.\n"
        f"p95 of the naive way over this one's: {ratios} events a second."
    )


def row(name: str, line: Figures) -> tuple[Any, ...]:
    """Where events were never readable, percentiles are what they are at least."""
    at_least = "≥ " if line["unreadable"] else ""
    text = (f"{at_least}{line[percentile]:,}" for percentile in PERCENTILES)
    kept = line["missed"] or "yes"
    return name, line["rate"], line["produced_per_second"], line["measured"], *text, kept
