"""Counters that all processes of a reader share."""

import multiprocessing
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import orjson

BLOCK_COUNTERS = 8192  # of one process
NAME_BYTES = 2**18
SPARE = 32  # counters at the end, for what no longer has room: it is counted nowhere

# Upper bounds of a histogram's buckets, in seconds; one more bucket has what is above them all.
BOUNDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
HISTOGRAM = len(BOUNDS) + 2  # the buckets, and the sum

Series = tuple[str, ...]  # the name of a metric, and its labels' values


class SharedMetrics:
    """A block of counters for each of so many processes; it is given to a process when that is started.

    It is memory without a name, which ends with the last process that has it.
    """

    def __init__(self, blocks: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.blocks = blocks
        self._counters = context.RawArray("d", blocks * BLOCK_COUNTERS)
        self._names = context.RawArray("c", blocks * NAME_BYTES)
        self._named = context.RawArray("Q", blocks)  # bytes of each block's names that are whole

    def counters(self, block: int) -> "memoryview[float]":
        return memoryview(self._counters).cast("B").cast("d")[block * BLOCK_COUNTERS : (block + 1) * BLOCK_COUNTERS]

    def places(self, block: int) -> Iterator[tuple[Series, int, int]]:
        """The counts of a block: the series, its first counter, and how many counters it has."""
        place, start = 0, block * NAME_BYTES
        for line in self._names[start : start + self._named[block]].splitlines():
            size, *series = orjson.loads(line)
            yield tuple(series), place, size
            place += size

    def name(self, block: int, series: Series, size: int) -> bool:
        """Note that the block's next free counters are of a series; False if there is no room for its name."""
        line = orjson.dumps([size, *series]) + b"\n"
        begin = self._named[block]
        if begin + len(line) > NAME_BYTES:
            return False
        start = block * NAME_BYTES + begin
        self._names[start : start + len(line)] = line
        self._named[block] = begin + len(line)  # last: whoever reads meanwhile, or after a kill, sees whole names
        return True

    def totals(self) -> dict[Series, list[float]]:
        """The counters of each series, summed over all blocks."""
        totals: dict[Series, list[float]] = {}
        for block in range(self.blocks):
            counters = self.counters(block)
            for series, place, size in self.places(block):
                values = list(counters[place : place + size])
                before = totals.get(series)
                totals[series] = values if before is None else [a + b for a, b in zip(before, values, strict=True)]
        return totals

    def clear(self, block: int, metrics: Collection[str]) -> None:
        """Set metrics of a process that has ended to zero: those that describe its work at that moment."""
        counters = self.counters(block)
        for series, place, size in self.places(block):
            if series[0] in metrics:
                counters[place : place + size] = memoryview(bytes(8 * size)).cast("d")


class Counters:
    """The counters of one process; it goes on from what the process before it in the block had counted."""

    def __init__(self, shared: SharedMetrics, block: int = 0) -> None:
        self.shared = shared
        self._block = block
        self._counters = shared.counters(block)
        self._places: dict[Series, int] = {}
        self._free = 0
        for series, place, size in shared.places(block):
            self._places[series] = place
            self._free = place + size

    def add(self, series: Series, amount: float = 1.0) -> None:
        place = self._places.get(series)
        if place is None:
            place = self._take(series, 1)
        self._counters[place] += amount

    def observe(self, series: Series, seconds: float) -> None:
        """Count a time in a histogram."""
        place = self._places.get(series)
        if place is None:
            place = self._take(series, HISTOGRAM)
        self._counters[place + bisect_left(BOUNDS, seconds)] += 1
        self._counters[place + HISTOGRAM - 1] += seconds

    def _take(self, series: Series, size: int) -> int:
        room = self._free + size <= BLOCK_COUNTERS - SPARE and self.shared.name(self._block, series, size)
        place = self._free if room else BLOCK_COUNTERS - SPARE
        self._free += size if room else 0
        self._places[series] = place
        return place


@dataclass(frozen=True)
class Metric:
    """`name` is without the prefix that all have, and without the suffix that counters get."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    meaning: str
    labels: tuple[str, ...] = ()


PREFIX = "tailrace_reader_"

REQUESTS = "requests"
REQUEST_SECONDS = "request_seconds"
STAGE_SECONDS = "stage_seconds"
ROWS_ASKED = "rows_asked"
ROWS = "rows"
WRITES = "written_values"
UNREADABLE = "unreadable_values"
STORE_READS = "store_reads"
STORE_KEYS = "store_keys"
SHEDS = "sheds"
AT_ONCE = "requests_at_once"
WORKERS = "workers"
ENDED = "worker_ends"
RELOADS = "reloads"
LINES_LOST = "access_log_lines_lost"

METRICS = (
    Metric(REQUESTS, "counter", "Requests answered", ("path", "status")),
    Metric(REQUEST_SECONDS, "histogram", "Time from a feature request's headers to its answer being made"),
    Metric(STAGE_SECONDS, "histogram", "Time that a feature request spent in each of its stages", ("stage",)),
    Metric(ROWS_ASKED, "counter", "Rows that answered feature requests asked for"),
    Metric(ROWS, "counter", "Rows of each view in answers, by what became of looking them up", ("view", "status")),
    Metric(WRITES, "counter", "Values that were to be written, by what became of them", ("view", "status")),
    Metric(UNREADABLE, "counter", "Values answered as not found: damaged, or of an unknown schema", ("view",)),
    Metric(STORE_READS, "counter", "Reads sent to the store: first ones, retries and hedges", ("kind",)),
    Metric(STORE_KEYS, "counter", "Keys that first reads asked the store for"),
    Metric(SHEDS, "counter", "Requests refused because there was no place for them"),
    Metric(AT_ONCE, "gauge", "Requests that hold a place, until their answer is sent"),
    Metric(WORKERS, "gauge", "Worker processes that serve"),
    Metric(ENDED, "counter", "Worker processes that ended while the reader went on, by exit code", ("exit_code",)),
    Metric(RELOADS, "counter", "Reloads of the definitions", ("outcome",)),
    Metric(LINES_LOST, "counter", "Lines of the access log that were not written because the output was too slow"),
)
# What the process that answers last read in the store, and what it is.
WATERMARK = Metric("view_watermark_seconds", "gauge", "As-of that the store's values hold for", ("view",))
AGE = Metric("view_age_seconds", "gauge", "Time since the view's watermark", ("view",))
READABLE = Metric("store_readable", "gauge", "Whether the control items can be read")
BUILD = Metric("build", "info", "Version of the reader, and fingerprint of its definitions", ("version", "definitions"))
OBSERVED = (WATERMARK, AGE, READABLE, BUILD)

# Gauges describe the present, and so end with the process that reported them.
GAUGES = frozenset(one.name for one in METRICS if one.kind == "gauge")
