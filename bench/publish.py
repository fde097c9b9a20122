"""Pushes next to the fastest loop that a client could write, and next to boto3's `batch_writer`, in one run.

(a) is the limit: pre-encoded rows by the same operations, as many at once, from as many processes, and without any
condition or record. (b) is what most people would write. All write the same rows to tables of one store with as many items.
Changed rows are pushed several times, by turns with the limit; the medians count.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any

import boto3
import pyarrow as pa
from boto3.dynamodb.types import Binary
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks.history import Pushed
from sinks.net_changes import decided, first_load
from sinks.push import push_view
from tailrace.definitions import BatchView, Feature, Type
from tailrace.lake import commit, storage
from tailrace.lake.tables import Lake
from tailrace.shipped.entities import DOCUMENT
from tailrace.store.address import Address
from tailrace.store.dynamodb.calls import KEY, open_client, sequence_attribute
from tailrace.store.dynamodb.connections import credentials_for
from tailrace.store.dynamodb.store import ensure_table
from tailrace.store.dynamodb.unconditional import remove_table, unconditional_requests
from tailrace.store.writer import SINGLES_PER_PLACE

Figures = dict[str, Any]
Progress = Callable[[str], None]

FEATURES = 24
ROWS_PER_TRANSACTION = 100
ROUNDS = 3
BATCH_WRITER_ROWS = 10_000  # so many are measured, the rate counts
AS_OF = "2026-03-02T10:15:00Z"

VIEW = BatchView(
    name="published",
    entities=(DOCUMENT,),
    owner="bench",
    description="As many features as a ranker's view has.",
    freshness=timedelta(hours=1),
    transform=lambda documents: documents,
    transform_features=tuple(Feature(f"feature_{i:02}", Type.INT64, "a number") for i in range(FEATURES)),
)


@dataclass(frozen=True, kw_only=True)
class PublishBench:
    """A lake and a store of the bench's own, `rows` of which `changed` change."""

    lake: Lake
    address: Address
    rows: int
    changed: int
    progress: Progress

    def run(self) -> Figures:
        storage.delete(self.lake.spark, self.lake.root)
        self.lake.create(VIEW.table)
        for address in (self.address, self.limit_address):
            asyncio.run(make_empty(address))
        self.progress(f"writing {self.rows:,} rows of gold")
        self.become(round_=0)
        self.progress("the first load and its limit")
        first, first_limit = self.push(), self.limit(self.rows, whole_items=True)
        rounds = [self.round(number) for number in range(1, ROUNDS + 1)]
        self.progress("boto3's batch_writer")
        batch_writer = self.batch_writer()
        pushes = [figures_of(push) for push, _ in rounds]
        rate = median(push["rows_per_second"] for push in pushes)
        limit = median(limit["rows_per_second"] for _, limit in rounds)
        return {
            "rows": self.rows,
            "changed": self.changed,
            "writes": self.address.writes,
            "first_load": figures_of(first),
            "first_load_limit": first_limit,
            "first_load_ratio_to_limit": rate_of(first) / first_limit["rows_per_second"],
            "changes": {"rows_per_second": rate, "pushes": pushes},
            "limit": {"rows_per_second": limit, "runs": [limit for _, limit in rounds]},
            "batch_writer": batch_writer,
            "ratio_to_limit": rate / limit,
            "ratio_to_batch_writer": rate / batch_writer["rows_per_second"],
        }

    def round(self, number: int) -> tuple[Pushed, Figures]:
        """Change rows and push them, then write as many by the limit."""
        self.progress(f"changed rows and their limit, {number} of {ROUNDS}")
        self.become(round_=number)
        return self.push(), self.limit(self.changed, whole_items=False)

    @property
    def limit_address(self) -> Address:
        """A table of its own for what is compared with; it holds as many items."""
        return replace(self.address, table=f"{self.address.table}-limit")

    def become(self, *, round_: int) -> None:
        """Gold with another value in every feature of the rows that change."""
        number = F.col("id")
        features = [
            (number * (i + 1) + F.when(number < self.changed, round_).otherwise(0)).alias(f"feature_{i:02}")
            for i in range(FEATURES)
        ]
        rows = self.lake.spark.range(self.rows).select(
            F.format_string("document-%08d", number).alias(DOCUMENT.key), *features
        )
        state = {"as_of": AS_OF, "started_from": self.lake.version(VIEW.table)}
        commit.become(self.lake, VIEW.table, rows, state=state)

    def push(self) -> Pushed:
        return push_view(self.lake, self.address, VIEW, allowed=True)

    def packed(self, rows: int) -> DataFrame:
        gold = self.lake.read(VIEW.table)
        return decided(first_load(gold, VIEW), VIEW, suppress=False, as_of=0).select("item_key", "value").limit(rows)

    def limit(self, count: int, *, whole_items: bool) -> Figures:
        """Write so many rows, pre-encoded; the processes time themselves, and the slowest counts."""
        address = self.limit_address
        tasks = self.lake.spark.sparkContext.defaultParallelism

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            bodies = [body for batch in batches for body in bodies_of(batch, address, whole_items=whole_items)]
            requests, seconds = len(bodies), asyncio.run(send_all(bodies, address))
            yield pa.RecordBatch.from_pylist([{"requests": requests, "seconds": seconds}])

        rows = self.packed(count).repartition(tasks).sortWithinPartitions("item_key")
        timed = rows.mapInArrow(write, "requests bigint, seconds double").collect()
        seconds = max(row.seconds for row in timed)
        return {"rows_per_second": count / seconds, "requests": sum(row.requests for row in timed)}

    def batch_writer(self) -> Figures:
        """Write rows, pre-encoded, as boto3's documentation shows it."""
        address = self.limit_address
        credentials = credentials_for(address.url).current()
        resource = boto3.resource(
            "dynamodb",
            endpoint_url=address.url,
            region_name=address.region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
        )
        sequence = sequence_attribute(VIEW.name)
        items = [
            {KEY: row.item_key, VIEW.name: Binary(bytes(row.value)), sequence: 1}
            for row in self.packed(min(self.changed, BATCH_WRITER_ROWS)).collect()
        ]
        began = time.monotonic()
        with resource.Table(address.table).batch_writer() as batch:
            for item in items:
                batch.put_item(Item=item)
        return {"rows": len(items), "rows_per_second": len(items) / (time.monotonic() - began)}


def bodies_of(batch: pa.RecordBatch, address: Address, *, whole_items: bool) -> Iterator[tuple[str, bytes]]:
    """The operations and encoded requests that carry a batch, by the store's way of writing and without conditions."""
    rows = list(zip(batch.column("item_key").to_pylist(), batch.column("value").to_pylist(), strict=True))
    together = None if address.writes == "updates" else ROWS_PER_TRANSACTION
    return unconditional_requests(
        address.table, rows, view=VIEW.name, whole_items=whole_items, per_transaction=together
    )


async def send_all(bodies: list[tuple[str, bytes]], address: Address) -> float:
    """Send encoded requests, as many at once as a push does; returns the seconds."""
    left = iter(bodies)
    places = address.in_flight * (SINGLES_PER_PLACE if address.writes == "updates" else 1)
    async with open_client(url=address.url, region=address.region, table=address.table) as client:

        async def send() -> None:
            for operation, body in left:
                await client.send(operation, body)

        began = time.monotonic()
        await asyncio.gather(*(send() for _ in range(places)))
        return time.monotonic() - began


def rate_of(pushed: Pushed) -> float:
    return pushed.pushed / pushed.seconds


def figures_of(pushed: Pushed) -> Figures:
    return asdict(pushed) | {
        "rows_per_second": rate_of(pushed),
        "requests_per_row": pushed.requests / pushed.pushed,
        "bytes_per_row": pushed.bytes_sent / pushed.pushed,
    }


async def make_empty(address: Address) -> None:
    """Make the table anew."""
    async with open_client(url=address.url, region=address.region, table=address.table) as client:
        await remove_table(client)
        await ensure_table(client)
