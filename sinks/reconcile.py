"""Compare gold with the online store, key by key."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.language import FeatureView
from lake.tables import Lake
from online.arrow import column_values
from online.codec import HEADER, Codec
from online.control import Control, read_controls
from online.items import ensure_table
from online.wire import StoreClient
from sinks.lease import PushUnderWay, with_client
from sinks.net_changes import online_rows
from sinks.rows import Address
from sinks.store_scan import stored_values

LONGEST = 2**31 - 1
LOOKS = 3  # at a store that a push is changing meanwhile


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How gold and store agree: rows of gold compared, online rows absent from the store, values in the store
    that gold does not have online, and values that differ.
    """

    compared: int
    missing: int
    ghost: int
    different: int


def reconcile_view(lake: Lake, address: Address, view: FeatureView) -> Reconciled:
    """Compare gold at the store's cursor with the store; a look during which the cursor moved is taken again."""
    for _ in range(LOOKS):
        before = control_of(address, view)
        compared = compare(lake, address, view, before)
        if control_of(address, view) == before:
            return compared
    raise PushUnderWay(f"view {view.name}: pushes moved its cursor during {LOOKS} looks; reconcile again")


def control_of(address: Address, view: FeatureView) -> Control | None:
    async def read(client: StoreClient) -> Control | None:
        await ensure_table(client)
        return (await read_controls(client, [view.name])).get(view.name)

    return with_client(address, read)


def compare(lake: Lake, address: Address, view: FeatureView, control: Control | None) -> Reconciled:
    cursor = control.cursor if control else None
    known = cursor is not None and (cursor.table_id, cursor.fingerprint) == (
        lake.table_id(view.table),
        view.publication_fingerprint,
    )
    gold = lake.read(view.table, version=cursor.version if cursor and known else None)
    expected = encoded(online_rows(gold, view), view).select("item_key", what_counts().alias("expected"))
    stored = stored_values(lake.spark, address, view.name).select("item_key", what_counts().alias("stored"))
    both = expected.join(stored, on="item_key", how="full_outer")  # unique per key on both sides
    counts = both.agg(
        F.count_if(F.col("stored").isNull()).alias("missing"),
        F.count_if(F.col("expected").isNull()).alias("ghost"),
        F.count_if(F.col("expected") != F.col("stored")).alias("different"),
    ).collect()[0]
    return Reconciled(compared=gold.count(), **counts.asDict())


def what_counts() -> Column:
    """Schema and payload of a packed value: the rest of its header tells only when it was written."""
    return F.concat(F.substring("value", 9, 8), F.substring("value", HEADER.itemsize + 1, LONGEST))


def encoded(rows: DataFrame, view: FeatureView) -> DataFrame:
    """The rows as `item_key, value`, packed as a push packs them."""
    name, features = view.name, view.features

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        codec = Codec(name, features)
        for batch in batches:
            columns = [column_values(batch.column(feature.name), feature) for feature in features]
            values = pa.array(codec.encode(columns, as_of=0), pa.binary())
            yield pa.RecordBatch.from_arrays([batch.column("item_key"), values], ["item_key", "value"])

    return rows.mapInArrow(encode, "item_key string, value binary")
