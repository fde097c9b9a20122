"""Pack what a push decides upon and decide per key, on Spark's executors and in plain Python."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks.net_changes import UNKNOWN
from sinks.protocol import SUPPRESS, WRITE, decide
from tailrace.definitions import FeatureView
from tailrace.lake.materialize import Materialized, materialized
from tailrace.schemas.tables import Column
from tailrace.store.arrow import column_values
from tailrace.store.codec import Codec, meaning

DECIDED = "item_key string, value binary, action string, difference string, images bigint"
DECIDED_SCHEMA = pa.schema(
    [
        ("item_key", pa.string()),
        ("value", pa.binary()),
        ("action", pa.string()),
        ("difference", pa.string()),
        ("images", pa.int64()),
    ]
)

# In what a key's value differs from the one that the store is known to hold.
INSERT = "insert"
UPDATE = "update"
REMOVAL = "removal"

Packed = list[bytes | None]


def decided(rows: DataFrame, view: FeatureView, *, suppress: bool, as_of: int) -> DataFrame:
    """Rows of `sinks.net_changes` as `DECIDED`: the packed value where one is written, and what becomes of the key.

    `as_of` is in microseconds.
    """
    name, features = view.name, view.features

    def decide_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pack = packer(name, features, as_of=as_of)
        for batch in batches:
            if batch.num_rows:
                yield decide_batch(batch, pack, suppress=suppress)

    return rows.select("item_key", "was", "now", "images").mapInArrow(decide_partition, DECIDED)


def packer(view: str, features: tuple[Column, ...], *, as_of: int) -> Callable[[pa.Array], Packed]:
    """Packs a column of structs; one that is packed already is passed through."""
    codec = Codec(view, features)

    def pack(column: pa.Array) -> Packed:
        if pa.types.is_binary(column.type):
            packed: Packed = column.to_pylist()
            return packed
        columns = zip(column.flatten(), features, strict=True)
        values = codec.encode([column_values(array, feature) for array, feature in columns], as_of=as_of)
        there = column.is_valid().to_pylist()
        return [value if valid else None for value, valid in zip(values, there, strict=True)]

    return pack


def decide_batch(batch: pa.RecordBatch, pack: Callable[[pa.Array], Packed], *, suppress: bool) -> pa.RecordBatch:
    was, now = pack(batch.column("was")), pack(batch.column("now"))
    actions = [decide(before, after, suppress=suppress) for before, after in zip(was, now, strict=True)]
    values = [value if action == WRITE else None for value, action in zip(now, actions, strict=True)]
    images = batch.column("images").to_pylist()
    differences = [
        None if count == UNKNOWN else difference(before, after)
        for before, after, count in zip(was, now, images, strict=True)
    ]
    columns = [batch.column("item_key"), values, actions, differences, batch.column("images").cast(pa.int64())]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, DECIDED_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=DECIDED_SCHEMA)


def difference(was: bytes | None, now: bytes | None) -> str | None:
    """In what the store's value and gold's differ; None where they mean the same, or nothing tells."""
    if was is None:
        return None if now is None else INSERT
    if now is None:
        return REMOVAL
    return None if meaning(was) == meaning(now) else UPDATE


def materialized_decisions(rows: DataFrame) -> AbstractContextManager[Materialized]:
    """Decided rows, computed once and counted; a push reads them for the history and for the store."""
    action, kind = F.col("action"), F.col("difference")
    return materialized(
        rows,
        totals={"images": F.col("images")},
        suppressed=action == SUPPRESS,
        inserts=kind == INSERT,
        updates=kind == UPDATE,
        removals=kind == REMOVAL,
    )
