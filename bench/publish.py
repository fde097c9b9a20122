"""Pushes beside the fastest loop that a client could write, and beside boto3's `batch_writer`, in one run.

(a) is the limit: pre-encoded rows by the same operations, as many at once, from as many processes, and without any
condition or record. (b) is what most people would write. All write the same rows to tables of their own in one store.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import boto3
import orjson
import pyarrow as pa
from boto3.dynamodb.types import Binary
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.entities import DOCUMENT
from features.language import Feature, FeatureView, Type
from lake import commit, storage
from lake.tables import Lake
from online.credentials import credentials_for
from online.items import KEY, ensure_table, sequence_attribute, to_binary
from online.wire import StoreClient, open_store
from sinks.decisions import decided
from sinks.lease import with_client
from sinks.ledger import Pushed
from sinks.net_changes import first_load
from sinks.push import push_view
from sinks.rows import Address
from sinks.updates import UPDATES_PER_PLACE

Figures = dict[str, Any]
Told = Callable[[str], None]

FEATURES = 24
ROWS_PER_TRANSACTION = 100
BATCH_WRITER_ROWS = 10_000  # so many are measured, the rate counts
AS_OF = "2026-03-02T10:15:00Z"

VIEW = FeatureView(
    name="published",
    entities=(DOCUMENT,),
    owner="bench",
    description="As many features as a ranker's view has.",
    freshness=timedelta(hours=1),
    transform=lambda documents: documents,
    transform_features=tuple(Feature(f"feature_{i:02}", Type.INT64, "a number") for i in range(FEATURES)),
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured: a lake and a store of the bench's own, `rows` of which `changed` change."""

    lake: Lake
    store: Address
    rows: int
    changed: int
    told: Told

    def run(self) -> Figures:
        storage.delete(self.lake.spark, self.lake.root)
        self.lake.create(VIEW.table)
        with_client(self.store, remove_table)
        self.told(f"writing {self.rows:,} rows of gold")
        self.become(changed=0)
        self.told("the first load")
        first = self.push()
        self.become(changed=self.changed)
        self.told("the changed rows")
        changes = self.push()
        self.told("the limit")
        limit = self.limit()
        self.told("boto3's batch_writer")
        batch_writer = self.batch_writer()
        return {
            "rows": self.rows,
            "changed": self.changed,
            "writes": self.store.writes,
            "first_load": figures_of(first),
            "changes": figures_of(changes),
            "limit": limit,
            "batch_writer": batch_writer,
            "ratio_to_limit": rate_of(changes) / limit["rows_per_second"],
            "ratio_to_batch_writer": rate_of(changes) / batch_writer["rows_per_second"],
        }

    def become(self, *, changed: int) -> None:
        """Gold with another value in every feature of as many rows."""
        number = F.col("id")
        features = [
            (number * (i + 1) + F.when(number < changed, 1).otherwise(0)).alias(f"feature_{i:02}")
            for i in range(FEATURES)
        ]
        rows = self.lake.spark.range(self.rows).select(
            F.format_string("document-%08d", number).alias(DOCUMENT.key), *features
        )
        state = {"as_of": AS_OF, "started_from": self.lake.version(VIEW.table)}
        commit.become(self.lake, VIEW.table, rows, state=state)

    def push(self) -> Pushed:
        return push_view(self.lake, self.store, VIEW, allowed=True)

    def packed(self, rows: int) -> DataFrame:
        gold = self.lake.read(VIEW.table)
        return decided(first_load(gold, VIEW), VIEW, suppress=False, as_of=0).select("item_key", "value").limit(rows)

    def limit(self) -> Figures:
        """Write as many rows as changed, pre-encoded; the processes time themselves, and the slowest counts."""
        store = replace(self.store, table=f"{self.store.table}-limit")
        with_client(store, ensure_table)
        tasks = self.lake.spark.sparkContext.defaultParallelism

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            bodies = [body for batch in batches for body in bodies_of(batch, store)]
            requests, seconds = len(bodies), asyncio.run(send_all(bodies, store))
            yield pa.RecordBatch.from_pylist([{"requests": requests, "seconds": seconds}])

        rows = self.packed(self.changed).repartition(tasks)
        timed = rows.mapInArrow(write, "requests bigint, seconds double").collect()
        seconds = max(row.seconds for row in timed)
        return {"rows_per_second": self.changed / seconds, "requests": sum(row.requests for row in timed)}

    def batch_writer(self) -> Figures:
        """Write rows, pre-encoded, as boto3's documentation shows it."""
        store = replace(self.store, table=f"{self.store.table}-boto3")
        with_client(store, ensure_table)
        credentials = credentials_for(store.url)
        resource = boto3.resource(
            "dynamodb",
            endpoint_url=store.url,
            region_name=store.region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
        )
        sequence = sequence_attribute(VIEW.name)
        items = [
            {KEY: row.item_key, VIEW.name: Binary(bytes(row.value)), sequence: 1}
            for row in self.packed(min(self.changed, BATCH_WRITER_ROWS)).collect()
        ]
        began = time.monotonic()
        with resource.Table(store.table).batch_writer() as batch:
            for item in items:
                batch.put_item(Item=item)
        return {"rows": len(items), "rows_per_second": len(items) / (time.monotonic() - began)}


async def remove_table(client: StoreClient) -> None:
    await ensure_table(client)
    await client.call("DeleteTable", {"TableName": client.table})


def bodies_of(batch: pa.RecordBatch, store: Address) -> Iterator[tuple[str, bytes]]:
    """The operations and encoded requests that carry a batch, by the store's way of writing and without conditions."""
    pairs = zip(batch.column("item_key").to_pylist(), batch.column("value").to_pylist(), strict=True)
    updates = [unconditional(key, value, store) for key, value in pairs]
    if store.writes == "updates":
        yield from (("UpdateItem", orjson.dumps(update)) for update in updates)
        return
    for start in range(0, len(updates), ROWS_PER_TRANSACTION):
        part = [{"Update": update} for update in updates[start : start + ROWS_PER_TRANSACTION]]
        yield "TransactWriteItems", orjson.dumps({"TransactItems": part})


def unconditional(key: str, value: bytes, store: Address) -> dict[str, Any]:
    return {
        "TableName": store.table,
        "Key": {KEY: {"S": key}},
        "UpdateExpression": "SET #v = :v, #s = :s",
        "ExpressionAttributeNames": {"#v": VIEW.name, "#s": sequence_attribute(VIEW.name)},
        "ExpressionAttributeValues": {":v": to_binary(value), ":s": {"N": "1"}},
    }


async def send_all(bodies: list[tuple[str, bytes]], store: Address) -> float:
    """Send encoded requests, as many at once as a push does; returns the seconds."""
    left = iter(bodies)
    places = store.in_flight * (UPDATES_PER_PLACE if store.writes == "updates" else 1)
    async with open_store(url=store.url, region=store.region, table=store.table) as client:

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
