"""Which metrics there are."""

from dataclasses import dataclass
from typing import Literal


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
    Metric(AT_ONCE, "gauge", "Requests that hold a place, until their answer is taken"),
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
