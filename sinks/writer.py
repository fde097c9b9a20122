"""Write net changes from Spark's executors, conditionally: in transactions, or in updates of one row."""

import asyncio
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame

from sinks import transactions, updates
from sinks.rows import OUTCOME, TOMBSTONE, Address, Outcome, Row, Sequenced, outcome_of, total
from tailrace.store.dynamodb.connections import USUAL, Limits
from tailrace.store.dynamodb.wire import PATIENCE_SECONDS, open_store

WAYS = {"transactions": transactions.writers, "updates": updates.writers}


def write_changes(changes: DataFrame, address: Address, push: Sequenced) -> Outcome:
    """Write rows `item_key, value`, a null value being a removal, from the executors; returns what became of all."""

    def write_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield asyncio.run(write_rows(unpacked(batches), address, push)).to_arrow()

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
    outcome = Outcome()
    async with open_store(
        url=address.url, region=address.region, table=address.table, patience=patience, limits=limits
    ) as client:
        ways = WAYS[address.writes](client, rows, push, outcome, in_flight=address.in_flight)
        writers = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.gather(*writers)
        finally:
            for writer in writers:
                writer.cancel()
        outcome.requests, outcome.bytes_sent = client.requests, client.bytes_sent
    return outcome
