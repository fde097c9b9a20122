"""Values of the online store as rows of Spark: read and written by the executors, a page or a batch at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from tailrace.lake.session import spark_schema
from tailrace.store.address import Address, with_store
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.lease import Sequenced
from tailrace.store.pace import USUAL, Limits
from tailrace.store.port import TOMBSTONE, Row, Store
from tailrace.store.writer import NAMED, Outcome, write_push

PAGE = pa.schema([("item_key", pa.string()), ("value", pa.binary())])
STORED = spark_schema(PAGE)

ITEMS_PER_SEGMENT = 25_000  # some pages: the parts whose end is reported as progress
SEGMENTS = range(4, 1_001)  # how few and how many there may be


def stored_values(spark: SparkSession, address: Address, view: str) -> DataFrame:
    """The values of a view as `item_key, value`, tombstones left out."""
    count = with_store(address, lambda store: store.item_count())
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
    """The next page; a coroutine, as `Runner.run` takes no other awaitable."""
    return await anext(pages)


def stored_values_of(keys: DataFrame, address: Address, view: str) -> DataFrame:
    """The values of a view for some keys, as `item_key, value`; a key without one is left out."""

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield asyncio.run(read_keys(address, view, batch.column("item_key").to_pylist()))

    return keys.select("item_key").mapInArrow(read, STORED)


async def read_segment(address: Address, view: str, segment: int, segments: int) -> AsyncIterator[pa.RecordBatch]:
    """The values of a view in one segment of the store, page by page."""
    async with address.open() as store:
        async for values in store.scan_values(view, segment=segment, segments=segments):
            yield page_of(values)


async def read_keys(address: Address, view: str, keys: list[str]) -> pa.RecordBatch:
    """The values of a view for some keys."""
    async with address.open() as store:
        return page_of(await store.read_values(view, keys))


def page_of(values: Mapping[str, bytes]) -> pa.RecordBatch:
    """Values as a batch of `PAGE`, tombstones left out."""
    rows = [{"item_key": key, "value": value} for key, value in values.items() if value != TOMBSTONE]
    return pa.RecordBatch.from_pylist(rows, PAGE)


async def has_values(store: Store, view: str) -> bool:
    """Whether the store holds anything of a view, tombstones included."""

    async def is_in(segment: int) -> bool:
        async for page in store.scan_sequences(view, segment=segment, segments=SEGMENTS.start):
            if page:
                return True
        return False

    return any(await asyncio.gather(*map(is_in, range(SEGMENTS.start))))


async def highest_sequence(store: Store, view: str) -> int | None:
    """The highest sequence of a view in the store; None where it holds nothing of it."""

    async def of(segment: int) -> list[int]:
        pages = store.scan_sequences(view, segment=segment, segments=SEGMENTS.start)
        return [max(page.values()) async for page in pages if page]

    found = await asyncio.gather(*map(of, range(SEGMENTS.start)))
    return max((highest for part in found for highest in part), default=None)


FAILURE = pa.struct([("key", pa.string()), ("reason", pa.string())])
COUNTS = ("written", "removed", "stale", "bytes", "refused", "requests", "bytes_sent")
OUTCOME = pa.schema([*((name, pa.int64()) for name in COUNTS), ("failed", pa.list_(FAILURE))])


def write_changes(changes: DataFrame, address: Address, push: Sequenced) -> Outcome:
    """Write rows `item_key, value`, a null value being a removal, from the executors; returns what became of all."""

    def write_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield to_arrow(asyncio.run(write_rows(unpacked(batches), address, push)))

    outcomes = changes.select("item_key", "value").mapInArrow(write_partition, spark_schema(OUTCOME)).collect()
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
    return pa.RecordBatch.from_pylist([vars(outcome) | {"failed": failed}], schema=OUTCOME)


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
