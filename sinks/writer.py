"""Write net changes from Spark's executors, and bring back what became of them."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from tailrace.store.address import Address
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.lease import Sequenced
from tailrace.store.pace import USUAL, Limits
from tailrace.store.port import TOMBSTONE, Row
from tailrace.store.writer import NAMED, Outcome, write_push

OUTCOME = (
    "written bigint, removed bigint, stale bigint, bytes bigint, refused bigint, requests bigint, bytes_sent bigint, "
    "failed array<struct<key:string,reason:string>>"
)
FAILURE = pa.struct([("key", pa.string()), ("reason", pa.string())])
COUNTS = ("written", "removed", "stale", "bytes", "refused", "requests", "bytes_sent")
OUTCOME_SCHEMA = pa.schema([*((name, pa.int64()) for name in COUNTS), ("failed", pa.list_(FAILURE))])


def write_changes(changes: DataFrame, address: Address, push: Sequenced) -> Outcome:
    """Write rows `item_key, value`, a null value being a removal, from the executors; returns what became of all."""

    def write_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield to_arrow(asyncio.run(write_rows(unpacked(batches), address, push)))

    outcomes = changes.select("item_key", "value").mapInArrow(write_partition, OUTCOME).collect()
    return total(map(outcome_of, outcomes))


def unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    """Item keys with their values, a tombstone being empty."""
    for batch in batches:
        values = batch.column("value").to_pylist()
        for key, value in zip(batch.column("item_key").to_pylist(), values, strict=True):
            yield key, TOMBSTONE if value is None else value


async def write_rows(
    rows: Iterator[Row],
    address: Address,
    push: Sequenced,
    *,
    patience: float = PATIENCE_SECONDS,
    limits: Limits = USUAL,
) -> Outcome:
    """Write rows, several requests at a time; a row refused for itself is counted, any other error stops the rest.

    `patience` is how many seconds one request is tried while the store throttles or is away.
    """
    async with address.open(patience=patience, limits=limits) as store:
        outcome = await write_push(store, rows, push, writes=address.writes, in_flight=address.in_flight)
        outcome.requests, outcome.bytes_sent = store.requests, store.bytes_sent
    return outcome


def to_arrow(outcome: Outcome) -> pa.RecordBatch:
    """One row of `OUTCOME`."""
    failed = [{"key": key, "reason": reason} for key, reason in outcome.failed]
    return pa.RecordBatch.from_pylist([vars(outcome) | {"failed": failed}], schema=OUTCOME_SCHEMA)


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
