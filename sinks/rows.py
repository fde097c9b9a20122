"""What every way of writing shares: where rows go, what they carry, and what became of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tailrace.settings import Settings, Writes
from tailrace.store.dynamodb.wire import StoreError
from tailrace.store.embedded import store_url

Row = tuple[str, bytes]  # item key and packed value

TOMBSTONE = b""
NAMED = 20  # keys that an error or an outcome names; the others are counted

OUTCOME = (
    "written bigint, removed bigint, stale bigint, bytes bigint, refused bigint, requests bigint, bytes_sent bigint, "
    "failed array<struct<key:string,reason:string>>"
)
FAILURE = pa.struct([("key", pa.string()), ("reason", pa.string())])
COUNTS = ("written", "removed", "stale", "bytes", "refused", "requests", "bytes_sent")
OUTCOME_SCHEMA = pa.schema([*((name, pa.int64()) for name in COUNTS), ("failed", pa.list_(FAILURE))])


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the store is, how it is written, how many requests one task keeps in flight, and how long a push holds its
    lease without renewing it.
    """

    url: str
    region: str
    table: str
    in_flight: int
    writes: Writes
    lease_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "Address":
        """The address that settings tell of; an embedded store is started where none runs."""
        store = settings.store
        return cls(
            url=store_url(settings),
            region=store.region,
            table=store.table,
            in_flight=store.in_flight,
            writes=store.writes,
            lease_seconds=store.lease_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """What every write of one push carries: the view and the sequence.

    `lease_seconds` is how long the push holds its lease without renewing it. `new_items` says that most rows are the
    first of their items, which are written whole then: quicker, and by the same rules.
    """

    view: str
    sequence: int
    lease_seconds: float
    new_items: bool = False


@dataclass
class Outcome:
    """What became of rows: values written, tombstones written, refused as stale; bytes of the values, and the requests
    and bytes that this took.

    `failed` has the first keys that the store refused for themselves, with its reasons; `refused` counts all.
    """

    written: int = 0
    removed: int = 0
    stale: int = 0
    bytes: int = field(default=0, compare=False)
    refused: int = 0
    requests: int = field(default=0, compare=False)
    bytes_sent: int = field(default=0, compare=False)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def count(self, row: Row) -> None:
        """Count one row that was written."""
        _, value = row
        self.removed += value == TOMBSTONE
        self.written += value != TOMBSTONE
        self.bytes += len(value)

    def refuse(self, key: str, reason: str) -> None:
        """Count one row that the store will never take."""
        self.refused += 1
        if len(self.failed) < NAMED:
            self.failed.append((key, reason))

    def to_arrow(self) -> pa.RecordBatch:
        """One row of `OUTCOME`."""
        failed = [{"key": key, "reason": reason} for key, reason in self.failed]
        return pa.RecordBatch.from_pylist([vars(self) | {"failed": failed}], schema=OUTCOME_SCHEMA)


def outcome_of(row: Any) -> Outcome:
    """The outcome of one task from Spark's row of `OUTCOME`."""
    return Outcome(**row.asDict() | {"failed": [(failure.key, failure.reason) for failure in row.failed]})


def total(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of all tasks together."""
    together = Outcome()
    for outcome in outcomes:
        for name in COUNTS:
            setattr(together, name, getattr(together, name) + getattr(outcome, name))
        together.failed = [*together.failed, *outcome.failed][:NAMED]
    return together


def told_of(error: StoreError, rows: list[Row], push: Sequenced) -> StoreError:
    """The error with the view and the keys that it stopped."""
    keys = ", ".join(repr(key) for key, _ in rows[:NAMED])
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return StoreError(error.code, f"view {push.view}: {keys}{more}: {error.message}", error.details)
