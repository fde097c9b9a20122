"""Read what the store holds of one view, from Spark's executors, in parallel segments."""

import asyncio
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from online.items import KEY, binary, scan, sequence_attribute
from online.wire import open_store
from sinks.rows import TOMBSTONE, Address

STORED = "item_key string, value binary, sequence bigint"
PAGE = pa.schema([("item_key", pa.string()), ("value", pa.binary()), ("sequence", pa.int64())])
SEGMENTS = 4


def stored_values(spark: SparkSession, address: Address, view: str) -> DataFrame:
    """The values of a view as `item_key, value, sequence`, tombstones left out."""
    segments = spark.range(0, SEGMENTS, 1, SEGMENTS)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for segment in batch.column("id").to_pylist():
                yield from asyncio.run(read_segment(address, view, segment))

    return segments.mapInArrow(read, STORED)


async def read_segment(address: Address, view: str, segment: int) -> list[pa.RecordBatch]:
    sequence = sequence_attribute(view)
    pages = []
    async with open_store(url=address.url, region=address.region, table=address.table) as client:
        async for items in scan(client, (view, sequence), segment=segment, segments=SEGMENTS):
            rows = [
                {"item_key": item[KEY]["S"], "value": value, "sequence": int(item[sequence]["N"])}
                for item in items
                if (value := binary(item, view)) is not None and value != TOMBSTONE
            ]
            pages.append(pa.RecordBatch.from_pylist(rows, PAGE))
    return pages
