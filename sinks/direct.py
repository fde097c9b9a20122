"""Write rows of one view of the lane `direct` from Spark, by the rules of the write endpoint, and land what was written."""

import asyncio
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pyarrow as pa

from tailrace.definitions import FeatureView
from tailrace.errors import DataError
from tailrace.schemas import landing
from tailrace.schemas.slots import to_micros, to_text
from tailrace.store.address import Address, with_store
from tailrace.store.direct.log import Intent, land, landed_line
from tailrace.store.direct.replay import ordered, write_as_owner
from tailrace.store.direct.sender import Overwritten, Sender, first_unknown
from tailrace.store.direct.values import ValueProblem, checked, checked_keys, checked_time
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.order import Revisions
from tailrace.store.port import Refused, Stale, Store

ROWS_AT_ONCE = 1_000
ROWS_PER_FILE = 50_000


class DirectError(DataError):
    """Rows that cannot be written, or that the store did not take; the message names the view and what to do."""


@dataclass
class DirectOutcome:
    """How many rows were written and how many were stale: the store had a later value for their key."""

    written: int = 0
    stale: int = 0


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where rows of one view go, and how they are read.

    `removed` names a column that is true where a key is to go, `occurred_at` one that has the time of each row; `as_of`,
    in microseconds, is the time of all others. What was written is landed in the `landing` folder.
    """

    address: Address
    view: FeatureView
    landing: str
    as_of: int
    removed: str | None = None
    occurred_at: str | None = None

    def begin(self) -> Revisions:
        """The revision of all rows of one write: those of an earlier write with equal times give way to them."""
        return with_store(self.address, self._begin)

    async def _begin(self, store: Store) -> Revisions:
        await store.ensure_ready()
        return await store.take_revisions(self.view.name, self.view.features, count=1)

    def write(self, batches: Iterable[pa.RecordBatch], *, revision: int) -> DirectOutcome:
        """Write one task's rows; raises `DirectError` for one that does not fit, those before it being written."""
        outcome, unlanded = DirectOutcome(), Unlanded(self.landing)
        try:
            for batch in batches:
                # Spark may take its time for the next batch: no request is under way meanwhile that would time out.
                asyncio.run(self._write_batch(list(self.intents(batch, revision)), outcome, unlanded))
        finally:
            unlanded.land()
        return outcome

    async def _write_batch(self, intents: Sequence[Intent], outcome: DirectOutcome, unlanded: "Unlanded") -> None:
        async with self.address.open(patience=PATIENCE_SECONDS) as store:
            sender = Sender(store, self.address.writes == "transactions")
            for start in range(0, len(intents), ROWS_AT_ONCE):
                part = intents[start : start + ROWS_AT_ONCE]
                results = await write_as_owner(sender, self.view, partial(ordered, self.view, part))
                done = [
                    intent
                    for intent, result in zip(part, results, strict=True)
                    if result is None or isinstance(result, Overwritten)
                ]
                unlanded.add(done)
                outcome.written += len(done)
                outcome.stale += sum(isinstance(result, Stale) for result in results)
                for intent, result in zip(part, results, strict=True):
                    if isinstance(result, Refused):
                        raise DirectError(f"view {self.view.name}: the store refused {intent.keys}: {result.why}")
                if failure := first_unknown(results):
                    raise failure

    def intents(self, batch: pa.RecordBatch, revision: int) -> Iterator[Intent]:
        """Rows, checked as the write endpoint checks them."""
        now = time.time_ns() // 1000
        for number, row in enumerate(batch.to_pylist()):
            keys = {key: row[key] for key in self.view.keys}
            if None in keys.values():
                raise DirectError(
                    f"view {self.view.name}: a row has no {', '.join(self.view.keys)}; every row needs its key"
                )
            at = row[self.occurred_at] if self.occurred_at else None
            try:
                yield Intent(
                    number=number,
                    view=self.view.name,
                    keys=checked_keys(self.view, keys),
                    occurred_at=checked_time(self.as_of if at is None else to_micros(at), now=now),
                    revision=revision,
                    values=None if self.removed and row[self.removed] else self.values(row),
                    accepted_at=now,
                )
            except ValueProblem as problem:
                raise DirectError(f"view {self.view.name}, row {keys}: {problem}") from problem

    def values(self, row: dict[str, Any]) -> dict[str, Any]:
        given = {feature.name: json_value(row[feature.name]) for feature in self.view.features}
        return checked(given, self.view.features)

    def finish(self, outcomes: Iterable[DirectOutcome]) -> DirectOutcome:
        """Move the watermark, by which readers know how fresh the view is."""
        with_store(
            self.address,
            lambda store: store.move_direct_watermark(self.view.name, to=self.as_of),
            patience=PATIENCE_SECONDS,
        )
        all_parts = list(outcomes)
        return DirectOutcome(sum(one.written for one in all_parts), sum(one.stale for one in all_parts))


@dataclass
class Unlanded:
    """Rows that the store has and the landing folder has not."""

    folder: str
    lines: list[bytes] = field(default_factory=list)

    def add(self, rows: Iterable[Intent]) -> None:
        now = to_text(datetime.now(UTC))
        self.lines += [landed_line(row.to_line(), now) for row in rows]
        if len(self.lines) >= ROWS_PER_FILE:
            self.land()

    def land(self) -> None:
        if self.lines:
            content = b"".join(self.lines)
            land(content, name=f"{uuid.uuid4().hex}.jsonl", folder=landing.DIRECT_WRITES.folder(self.folder))
            self.lines.clear()


def json_value(value: Any) -> Any:
    """A value of Arrow as JSON has it."""
    if isinstance(value, datetime):
        return to_text(value)
    return value.isoformat() if isinstance(value, date) else value
