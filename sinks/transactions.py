"""Write rows in transactions that check the lease: the store itself refuses a writer that lost it."""

from collections.abc import Coroutine, Iterator
from typing import Any

from sinks.lease import lease_lost
from sinks.rows import Outcome, Row, Sequenced, told_of
from tailrace.store.dynamodb.fenced import BYTES_PER_TRANSACTION, ROWS_PER_TRANSACTION, transact_fenced
from tailrace.store.dynamodb.refusals import CANCELED, is_own_refusal, late_places, reasons_of
from tailrace.store.dynamodb.wire import Patience, StoreClient, StoreError, is_transient


def writers(
    client: StoreClient, rows: Iterator[Row], push: Sequenced, outcome: Outcome, *, in_flight: int
) -> list[Coroutine[Any, Any, None]]:
    """Writers that share the rows and the outcome."""
    return [write_until_done(client, rows, push, outcome) for _ in range(in_flight)]


async def write_until_done(client: StoreClient, rows: Iterator[Row], push: Sequenced, outcome: Outcome) -> None:
    while batch := next_batch(rows):
        await transact(client, batch, push, outcome)


def next_batch(rows: Iterator[Row]) -> list[Row]:
    """As many rows as one transaction takes, by number and by bytes; empty at the end."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[0].encode()) + len(row[1])
        if len(batch) == ROWS_PER_TRANSACTION or size > BYTES_PER_TRANSACTION:
            break
    return batch


async def transact(client: StoreClient, batch: list[Row], push: Sequenced, outcome: Outcome) -> None:
    """Write one batch if the lease still stands, and count what became of each row."""
    patience, new = client.be_patient(), push.new_items
    while batch:
        try:
            await transact_fenced(client, batch, view=push.view, sequence=push.sequence, as_new=new)
        except StoreError as error:
            if new and late_places(error):
                new = False  # an item is there after all, or the lease is gone, which updates will tell
            elif is_refused_whole(error):
                await write_one_by_one(client, batch, push, outcome, error)
                return
            else:
                batch = await without_refused(batch, error, push, outcome, patience)
        else:
            for row in batch:
                outcome.count(row)
            return


def is_refused_whole(error: StoreError) -> bool:
    """Whether the store refused a transaction for good and told no reason per row."""
    return is_own_refusal(error) or (error.code == CANCELED and not reasons_of(error))


async def write_one_by_one(
    client: StoreClient, batch: list[Row], push: Sequenced, outcome: Outcome, error: StoreError
) -> None:
    """Find the rows that made the store refuse all: what it refuses alone as well is to blame."""
    if len(batch) == 1:
        outcome.refuse(batch[0][0], f"{error.code}: {error.message}")
        return
    for row in batch:
        await transact(client, [row], push, outcome)


async def without_refused(
    batch: list[Row], error: StoreError, push: Sequenced, outcome: Outcome, patience: Patience
) -> list[Row]:
    """The rows to try again: all of them after a wait, or those that are neither stale nor refused."""
    if error.code == CANCELED:
        left = sort_out(batch, error, push, outcome)
        if len(left) < len(batch):
            return left
    elif not is_transient(error):
        raise told_of(error, batch, push) from error
    try:
        await patience.wait_after(error)
    except StoreError as last:
        raise told_of(last, batch, push) from last
    return batch


def sort_out(batch: list[Row], error: StoreError, push: Sequenced, outcome: Outcome) -> list[Row]:
    """Count the rows whose own reason cancelled the transaction, and keep the others; raises if the lease is gone."""
    lease, *reasons = reasons_of(error)
    if lease.is_late:
        raise lease_lost(push)
    left = []
    for row, reason in zip(batch, reasons, strict=True):
        if reason.is_late:
            outcome.stale += 1
        elif reason.is_passing:
            left.append(row)
        else:
            outcome.refuse(row[0], f"{reason.code}: {reason.message}")
    return left
