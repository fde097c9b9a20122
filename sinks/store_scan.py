"""Read what the store holds of one view, from Spark's executors: all of it in parallel segments, or some keys."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from sinks.lease import with_client
from sinks.rows import TOMBSTONE, Address
from tailrace.store.dynamodb.items import item_count, key_in, scan, sequence_attribute
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.dynamodb.wire import StoreClient, open_store
from tailrace.store.keys import CONTROL_PREFIX
from tailrace.store.port import Store

STORED = "item_key string, value binary"
PAGE = pa.schema([("item_key", pa.string()), ("value", pa.binary())])

ITEMS_PER_SEGMENT = 25_000  # some pages: the parts whose end is told as progress
SEGMENTS = range(4, 1_001)  # how few and how many there may be


def stored_values(spark: SparkSession, address: Address, view: str) -> DataFrame:
    """The values of a view as `item_key, value`, tombstones left out."""
    count = with_client(address, item_count)
    segments = min(max(count // ITEMS_PER_SEGMENT, SEGMENTS.start), SEGMENTS.stop - 1)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for segment in batch.column("id").to_pylist():
                yield from one_by_one(read_segment(address, view, segment, segments))

    return spark.range(0, segments, 1, segments).mapInArrow(read, STORED)


def one_by_one(pages: AsyncIterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pages as they come, for code that is not asynchronous: a task never holds a whole segment."""
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(next_of(pages))
            except StopAsyncIteration:
                return


async def next_of(pages: AsyncIterator[pa.RecordBatch]) -> pa.RecordBatch:
    return await anext(pages)


def stored_values_of(keys: DataFrame, address: Address, view: str) -> DataFrame:
    """The values of a view for some keys, as `item_key, value`; a key without one is left out."""

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield asyncio.run(read_keys(address, view, batch.column("item_key").to_pylist()))

    return keys.select("item_key").mapInArrow(read, STORED)


async def read_segment(address: Address, view: str, segment: int, segments: int) -> AsyncIterator[pa.RecordBatch]:
    async with open_store(url=address.url, region=address.region, table=address.table) as client:
        async for values in DynamoStore(client).scan_values(view, segment=segment, segments=segments):
            yield page_of(values)


async def read_keys(address: Address, view: str, keys: list[str]) -> pa.RecordBatch:
    async with open_store(url=address.url, region=address.region, table=address.table) as client:
        return page_of(await DynamoStore(client).read_values(view, keys))


def page_of(values: Mapping[str, bytes]) -> pa.RecordBatch:
    rows = [{"item_key": key, "value": value} for key, value in values.items() if value != TOMBSTONE]
    return pa.RecordBatch.from_pylist(rows, PAGE)


async def has_values(client: StoreClient, view: str) -> bool:
    """Whether the store holds anything of a view, tombstones included."""
    sequence = sequence_attribute(view)

    async def is_in(segment: int) -> bool:
        async for items in scan(client, (), segment=segment, segments=SEGMENTS.start, having=sequence):
            if items:
                return True
        return False

    return any(await asyncio.gather(*map(is_in, range(SEGMENTS.start))))


async def has_items(client: StoreClient) -> bool:
    """Whether the store holds items of any entity."""
    async for items in scan(client, ()):
        if any(not key_in(item).startswith(CONTROL_PREFIX) for item in items):
            return True
    return False


async def highest_sequence(store: Store, view: str) -> int | None:
    """The highest sequence of a view in the store; None where it holds nothing of it."""

    async def of(segment: int) -> list[int]:
        pages = store.scan_sequences(view, segment=segment, segments=SEGMENTS.start)
        return [max(page.values()) async for page in pages if page]

    found = await asyncio.gather(*map(of, range(SEGMENTS.start)))
    return max((highest for part in found for highest in part), default=None)
