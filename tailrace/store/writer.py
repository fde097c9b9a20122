"""The conditional writer. It writes rows in batches, each all or none, and notes what became of every row.

All lanes use it. The store checks each write by a condition, and lanes differ only in that: a push has its sequence, a direct
write its event time. The store keeps a row out if it has a newer value, or will never take this one. The other rows of that
batch are then sent again without it.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tailrace.settings import Writes
from tailrace.store.failures import Patience, StoreError
from tailrace.store.lease import Fence, Sequenced
from tailrace.store.pace import Pace
from tailrace.store.port import BYTES_TOGETHER, ROWS_TOGETHER, TOMBSTONE, KeptOut, Refused, Row, Stale, Store

T = TypeVar("T")
Row_contra = TypeVar("Row_contra", contravariant=True)

SINGLES_PER_PLACE = 8  # single rows under way where one batch would be: a request carries one of them, not 99
NAMED = 20  # keys that an error or an outcome names; the others are counted


class RowWriter(Protocol[Row_contra]):
    """Sends batches of rows under one condition, and notes what became of each row."""

    def be_patient(self) -> Patience:
        """For how long a batch is tried while the store throttles or is away."""

    async def send(self, rows: Sequence[Row_contra], patience: Patience) -> KeptOut:
        """Send rows once. If the store keeps any of them out, it writes none, and those are returned. Raises `StoreError`."""

    def settle(self, row: Row_contra, result: Stale | Refused | None) -> None:
        """Note what became of a row; the result is None if it was written."""

    def give_up(self, rows: Sequence[Row_contra], error: StoreError) -> None:
        """Take note that the last attempt failed, so some of the rows may be written and some not; may raise the error."""


async def write_all(writer: RowWriter[T], batches: Iterator[Sequence[T]], *, at_once: int) -> None:
    """Write batches, so many at a time; an error that the writer raises stops the rest."""

    async def write_next() -> None:
        for batch in batches:
            await write_batch(writer, batch)

    workers = [asyncio.create_task(write_next()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()


async def write_batch(writer: RowWriter[T], batch: Sequence[T]) -> None:
    """Write one batch, without those rows that the store keeps out."""
    patience, left = writer.be_patient(), list(batch)
    while left:
        try:
            kept_out = await writer.send(left, patience)
        except StoreError as error:
            if error.is_refusal:
                await write_apart(writer, left, error)
                return
            if last := await reason_to_stop(error, patience):
                writer.give_up(left, last)
                return
            continue
        if not kept_out:
            for row in left:
                writer.settle(row, None)
            return
        for place, result in kept_out.items():
            writer.settle(left[place], result)
        left = [row for place, row in enumerate(left) if place not in kept_out]


async def write_apart(writer: RowWriter[T], rows: Sequence[T], error: StoreError) -> None:
    """Find the rows that made the store refuse all: what it refuses by itself as well is to blame."""
    if len(rows) == 1:
        writer.settle(rows[0], Refused(error.message, code=error.code))
    else:
        await write_all(writer, ([row] for row in rows), at_once=min(len(rows), SINGLES_PER_PLACE))


async def reason_to_stop(error: StoreError, patience: Patience) -> StoreError | None:
    """Wait for the next attempt; the error that ends the attempts where there is none."""
    if not error.is_transient:
        return error
    try:
        await patience.wait_after(error)
    except StoreError as last:
        return last
    return None


def batches_of(rows: Iterable[T], *, most: int, size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """As many rows together as the store takes, by number and by bytes."""
    batch: list[T] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += size_of(row)
        if len(batch) == most or size > BYTES_TOGETHER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


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


@dataclass
class FencedWriter(RowWriter[Row]):
    """Rows of a push: each is written unless a later sequence has written its key."""

    store: Store
    push: Sequenced
    outcome: Outcome = field(default_factory=Outcome)
    _with_items: set[str] = field(default_factory=set, init=False)  # keys of batches that met an item

    def be_patient(self) -> Patience:
        """The store's own patience."""
        return self.store.be_patient()

    async def send(self, rows: Sequence[Row], patience: Patience) -> KeptOut:
        """Send rows once: in a first load as new items, and as others where one is there, then and in later attempts."""
        keys = [key for key, _ in rows]
        if self.push.new_items and self._with_items.isdisjoint(keys):
            kept_out = await self.send_once(rows, patience, as_new=True)
            if not any(isinstance(one, Stale) for one in kept_out.values()):
                return kept_out
            self._with_items.update(keys)
        return await self.send_once(rows, patience, as_new=False)

    @abstractmethod
    async def send_once(self, rows: Sequence[Row], patience: Patience, *, as_new: bool) -> KeptOut:
        """Send rows once, as whole items or not."""

    def settle(self, row: Row, result: Stale | Refused | None) -> None:
        """Count a row."""
        if result is None:
            self.outcome.count(row)
        elif isinstance(result, Stale):
            self.outcome.stale += 1
        else:
            self.outcome.refuse(row[0], f"{result.code}: {result.why}")

    def give_up(self, rows: Sequence[Row], error: StoreError) -> None:
        """Raise the error with the view and the keys that it stopped."""
        keys = ", ".join(repr(key) for key, _ in rows[:NAMED])
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        raise error.saying(f"view {self.push.view}: {keys}{more}: {error.message}") from error


class Together(FencedWriter):
    """Rows in transactions that check the lease: the store itself refuses a writer that lost it."""

    async def send_once(self, rows: Sequence[Row], _: Patience, *, as_new: bool) -> KeptOut:
        """Send rows in one transaction."""
        return await self.store.write_together(self.push.view, rows, sequence=self.push.sequence, as_new=as_new)


@dataclass(kw_only=True)
class RowByRow(FencedWriter):
    """Each row in a request of its own, which any DynamoDB-compatible store takes at half the price.

    They share a look at the lease, and the pace that the store takes.
    """

    pace: Pace
    fence: Fence

    async def send_once(self, rows: Sequence[Row], patience: Patience, *, as_new: bool) -> KeptOut:
        """Send one row, at the pace that the store takes and under a lease that was just seen."""
        [(key, value)] = rows
        async with self.pace.place() as entered:
            # Waiting for a place is not a failure, nor is a store that takes other rows meanwhile.
            patience.begin_again(self.pace.last_success)
            await self.fence.pass_through()
            try:
                view, sequence = self.push.view, self.push.sequence
                is_written = await self.store.write_fenced(view, key, value, sequence=sequence, as_new=as_new)
            except StoreError as error:
                if error.is_throttling:
                    self.pace.fall(entered)
                raise
            self.pace.rise()
        return {} if is_written else {0: Stale(None)}


async def write_push(store: Store, rows: Iterable[Row], push: Sequenced, *, writes: Writes, in_flight: int) -> Outcome:
    """Write rows of a push, several requests at a time; a row refused for itself is counted, any other error stops all."""
    if writes == "transactions":
        together = Together(store, push)
        batches = batches_of(rows, most=ROWS_TOGETHER - 1, size_of=bytes_of)  # one action checks the lease
        await write_all(together, batches, at_once=in_flight)
        return together.outcome
    pace = Pace(in_flight * SINGLES_PER_PLACE)
    singles = RowByRow(store, push, pace=pace, fence=Fence(store, push))
    await write_all(singles, ([row] for row in rows), at_once=pace.most)
    return singles.outcome


def bytes_of(row: Row) -> int:
    """How much of a transaction a row takes."""
    key, value = row
    return len(key.encode()) + len(value)
