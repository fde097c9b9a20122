"""Write net changes from Spark's executors, conditionally: in transactions, or in updates of one row."""

import asyncio
from collections.abc import Iterable, Iterator

import aiohttp
import pyarrow as pa

from online.arrow import column_values
from online.codec import Codec
from online.wire import PATIENCE_SECONDS, TIMEOUT, open_store
from sinks import transactions, updates
from sinks.net_changes import WRITE
from sinks.rows import TOMBSTONE, Address, Outcome, Row, Sequenced

WAYS = {"transactions": transactions.writers, "updates": updates.writers}


def write_batches(batches: Iterable[pa.RecordBatch], address: Address, push: Sequenced) -> Iterator[pa.RecordBatch]:
    """Write Arrow batches of `item_key, action` and features; yields one row of `OUTCOME`."""
    yield asyncio.run(write_rows(encode(batches, push), address, push)).to_arrow()


def encode(batches: Iterable[pa.RecordBatch], push: Sequenced) -> Iterator[Row]:
    """Item keys with their packed values, a tombstone being empty."""
    codec = Codec(push.view, push.features)
    for batch in batches:
        if batch.num_rows == 0:
            continue
        columns = [column_values(batch.column(feature.name), feature) for feature in push.features]
        values = codec.encode(columns, as_of=push.as_of)
        actions = batch.column("action").to_pylist()
        keys = batch.column("item_key").to_pylist()
        for key, action, value in zip(keys, actions, values, strict=True):
            yield key, value if action == WRITE else TOMBSTONE


async def write_rows(
    rows: Iterator[Row],
    address: Address,
    push: Sequenced,
    *,
    patience: float = PATIENCE_SECONDS,
    time_out: aiohttp.ClientTimeout = TIMEOUT,
) -> Outcome:
    """Write rows, several requests at a time; a row refused for itself is counted, any other error stops the rest.

    `patience` is how many seconds one request is tried while the store throttles or is away.
    """
    outcome = Outcome()
    async with open_store(
        url=address.url, region=address.region, table=address.table, patience=patience, time_out=time_out
    ) as client:
        ways = WAYS[address.writes](client, rows, push, outcome, in_flight=address.in_flight)
        writers = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.gather(*writers)
        finally:
            for writer in writers:
                writer.cancel()
    return outcome
