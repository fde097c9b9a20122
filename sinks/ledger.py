"""The ledger of runs: every push with its figures, those that failed too."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import functions as F

from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import from_micros, to_text
from tailrace.schemas.view_tables import RUNS


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """One view after a push: values written and their bytes, tombstones, keys unchanged or newer in the store, the
    requests and bytes that the writes took, and how.

    `why` says what made a snapshot necessary, `change_rows` how many rows of the change feed or of a comparison came to
    `net` keys. net = pushed + removed + suppressed + stale. `as_of` and `confirmed_at`, when the store had all of the
    push, its watermark too, are in microseconds.
    """

    how: str
    why: str | None = None
    sequence: int = 0
    as_of: int = 0
    confirmed_at: int | None = None
    change_rows: int = 0
    net: int = 0
    pushed: int = 0
    removed: int = 0
    suppressed: int = 0
    stale: int = 0
    bytes: int = 0
    requests: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    write_seconds: float = 0.0

    @property
    def rows_per_second(self) -> int:
        """Values and tombstones written, per second of writing."""
        return rate(self.pushed + self.removed, self.write_seconds)


def rate(rows: int, seconds: float | None) -> int:
    """Rows per second, 0 where no time passed or none is known."""
    return round(rows / seconds) if seconds else 0


# What adds up where one run has several leases of one view.
SUMS = (
    "change_rows", "net", "pushed", "removed", "suppressed", "stale", "bytes", "requests", "bytes_sent", "seconds",
    "write_seconds",
)  # fmt: skip


def total(parts: Sequence[Pushed]) -> Pushed:
    """The figures of several leases of one view as those of one push, of the last sequence."""
    return replace(parts[-1], **{name: sum(getattr(part, name) for part in parts) for name in SUMS})


@dataclass(frozen=True)
class Run:
    """One run of the publisher over several views."""

    allowed: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def append(lake: Lake, run: Run, results: Mapping[str, Pushed | Exception]) -> None:
    """Add a run to the ledger: per view its figures, or why it stopped."""
    common = {"run": run.id, "started_at": run.started_at, "allowed": run.allowed}
    rows = [common | {"view": view} | columns_of(result) for view, result in results.items()]
    ordered = [tuple(row.get(column) for column in RUNS.columns) for row in rows]
    lake.append(RUNS, small_frame(lake.spark, ordered, RUNS.ddl))


def columns_of(result: Pushed | Exception) -> dict[str, Any]:
    if isinstance(result, Exception):
        return {"failure": f"{type(result).__name__}: {next(iter(str(result).strip().splitlines()), '')}"}
    confirmed_at = None if result.confirmed_at is None else from_micros(result.confirmed_at)
    return asdict(result) | {"as_of": from_micros(result.as_of), "confirmed_at": confirmed_at}


def read_runs(lake: Lake, *, last: int) -> list[dict[str, Any]]:
    """The newest runs, newest first, each with its views."""
    if not lake.exists(RUNS):
        return []
    rows = lake.read(RUNS)
    newest = rows.groupBy("run").agg(F.min("started_at").alias("began")).orderBy(F.desc("began"), "run").limit(last)
    found = rows.join(F.broadcast(newest), on="run").orderBy(F.desc("began"), "run", "view").collect()
    runs: dict[str, dict[str, Any]] = {}
    for row in found:
        entered = row.asDict()  # a ledger of before may lack the newest columns
        view = {
            name: entered.get(name) for name in RUNS.columns if name not in ("run", "started_at", "view", "allowed")
        }
        times = {name: entered.get(name) for name in ("as_of", "confirmed_at")}
        view |= {name: to_text(at.replace(tzinfo=UTC)) if at else None for name, at in times.items()}
        view["rows_per_second"] = None if row.failure else rate(row.pushed + row.removed, view["write_seconds"])
        started = to_text(row.started_at.replace(tzinfo=UTC))
        run = runs.setdefault(row.run, {"run": row.run, "started_at": started, "allowed": row.allowed, "views": {}})
        run["views"][row.view] = view
    return list(runs.values())
