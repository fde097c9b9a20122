"""What bronze has of direct writes: recorded in the history of their views, compared with the store, and written again."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from sinks.history import Schema, ensure_recorded, history_rows
from sinks.net_changes import INSERT, REMOVAL, UPDATE
from sinks.reconcile import Compared, counter, differences
from sinks.store_values import stored_values
from tailrace.definitions import Definitions, DirectView, FeatureView
from tailrace.definitions.fingerprints import with_base_views
from tailrace.lake.session import ROWS, Materialized, materialized, small_frame, spark_schema
from tailrace.lake.tables import Lake
from tailrace.lake.task_progress import Progress, say_nothing
from tailrace.schemas import bronze, view_tables
from tailrace.schemas.slots import to_micros
from tailrace.store.address import Address, with_store
from tailrace.store.direct.log import SUFFIX, Intent, Log
from tailrace.store.direct.replay import adopt_all, ordered, write_as_owner
from tailrace.store.direct.sender import Sender, first_unknown
from tailrace.store.direct.values import are_keys_of
from tailrace.store.direct.writer import LOOK_SECONDS, SEGMENT_SECONDS
from tailrace.store.failures import PATIENCE_SECONDS, StoreError
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import TOMBSTONE, Refused

APPENDS = "direct writes"  # the name under which they are appended to a history
LANDED_COLUMNS = ("keys", "occurred_at", "revision", "values", "accepted_at", "acknowledged_at")
PACKED = pa.schema(
    [
        ("item_key", pa.string()),
        ("value", pa.binary()),
        ("occurred_at", pa.timestamp("us", "UTC")),
        ("revision", pa.int64()),
        ("accepted_at", pa.timestamp("us", "UTC")),
        ("acknowledged_at", pa.timestamp("us", "UTC")),
    ]
)
ROWS_AT_ONCE = 1_000
FINISH_SECONDS = 60.0  # for which a refresh goes on to write what dead processes left; readers do the rest


def record_writes(lake: Lake, view: FeatureView) -> int:
    """Append what bronze has of a view and its history has not, each row confirmed by itself; returns how many rows."""
    newest = lake.last_appended(bronze.DIRECT_WRITES) if lake.exists(bronze.DIRECT_WRITES) else 0
    table = view_tables.history_table(view.name)
    before = lake.numbers_reached(table).get(APPENDS, 0)
    if newest == before:
        return 0
    unread = lake.read_as_promised(bronze.DIRECT_WRITES).where((F.col("batch") > before) & (F.col("batch") <= newest))
    rows = history_rows(
        packed_writes(unread, view),
        sequence=F.col("revision"),
        as_of=F.col("occurred_at"),
        recorded_at=F.col("accepted_at"),
        outcome=view_tables.CONFIRMED,
        push=view_tables.DIRECT_WRITE,
        acknowledged_at=F.col("acknowledged_at"),
    )
    if lake.exists(table):  # a write may be landed twice, on either side of a refresh
        known = lake.read(table).where(F.col("push") == view_tables.DIRECT_WRITE)
        rows = rows.join(known, on=["item_key", "as_of", "sequence"], how="left_anti")
    with materialized(rows.select(*table.columns)) as new:
        if new.counts[ROWS]:
            definition = with_base_views(view.definition_fingerprint, ())  # as a push records it
            schema = Schema(view=view.name, features=view.features, definition=definition)
            ensure_recorded(lake, schema, first_sequence=lambda: new.frame.agg(F.min("sequence")).collect()[0][0])
        lake.append_numbered(table, new.frame, name=APPENDS, number=newest)
        return new.counts[ROWS]


def packed_writes(writes: DataFrame, view: FeatureView) -> DataFrame:
    """Rows of `bronze.DIRECT_WRITES` that are of a view as `PACKED`, once each; a null value is a removal."""

    def pack_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            # A key of other columns or types is one of an older definition, which the view no longer has.
            pairs = zip(intents_of(batch, view), batch["acknowledged_at"].to_pylist(), strict=True)
            kept = [(one, acknowledged_at) for one, acknowledged_at in pairs if are_keys_of(one.keys, view)]
            intents, acknowledged = [one for one, _ in kept], [acknowledged_at for _, acknowledged_at in kept]
            rows = ordered(view, intents, sequence=0)
            columns: list[list[Any]] = [
                [row.item_key for row in rows],
                [row.value or None for row in rows],
                [one.occurred_at for one in intents],
                [one.revision for one in intents],
                [one.accepted_at for one in intents],
                acknowledged,
            ]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, PACKED, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=PACKED)

    of_view = writes.where(F.col("view") == view.name)
    # A file that was landed twice, or a task of Spark that was repeated, has the same again.
    once = of_view.select(*LANDED_COLUMNS).dropDuplicates(["keys", "occurred_at", "revision"])
    return once.mapInArrow(pack_partition, spark_schema(PACKED))


def intents_of(batch: pa.RecordBatch, view: FeatureView) -> list[Intent]:
    """Rows of `bronze.DIRECT_WRITES` as they stood in the log."""
    return [
        Intent(
            number=number,
            view=view.name,
            keys=orjson.loads(row["keys"]),
            occurred_at=to_micros(row["occurred_at"]),
            revision=row["revision"],
            values=None if row["values"] is None else orjson.loads(row["values"]),
            accepted_at=to_micros(row["accepted_at"]),
        )
        for number, row in enumerate(batch.to_pylist())
    ]


def newest_of_each_key(lake: Lake, view: FeatureView) -> DataFrame:
    """The rows of `PACKED` that the store should hold, removals among them."""
    newest_first = Window.partitionBy("item_key").orderBy(F.desc("occurred_at"), F.desc("revision"))
    rows = packed_writes(lake.read_as_promised(bronze.DIRECT_WRITES), view)
    return rows.withColumn("age", F.row_number().over(newest_first)).where("age = 1").drop("age")


def write_again(lake: Lake, address: Address, view: FeatureView) -> int:
    """Write the newest value of each key under the order that it had; what the store has of later writes stays.

    Returns how many values were written.
    """
    if not lake.exists(bronze.DIRECT_WRITES):
        return 0

    def write_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        count = sum(asyncio.run(send_batch(address, view, batch)) for batch in batches)
        yield pa.RecordBatch.from_pydict({"sent": [count]})

    sent = newest_of_each_key(lake, view).mapInArrow(write_partition, "sent bigint")
    return int(sent.agg(F.sum("sent")).collect()[0][0] or 0)


def ordered_values(rows: Iterable[dict[str, Any]], view: FeatureView, *, sequence: int) -> list[OrderedValue]:
    """Rows of `PACKED` as what the store is sent."""
    return [
        OrderedValue(
            view=view.name,
            item_key=row["item_key"],
            value=row["value"] or TOMBSTONE,
            order=Order(to_micros(row["occurred_at"]), row["revision"]),
            sequence=sequence,
        )
        for row in rows
    ]


async def send_batch(address: Address, view: FeatureView, batch: pa.RecordBatch) -> int:
    """Write rows of `PACKED`, so many at a time, each time making sure that the view is still this lane's."""
    async with address.open(patience=PATIENCE_SECONDS) as store:
        await store.ensure_ready()
        rows, written = batch.to_pylist(), 0
        sender = Sender(store, address.writes == "transactions")
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = partial(ordered_values, rows[start : start + ROWS_AT_ONCE], view)
            results = await write_as_owner(sender, view, part)
            if failure := first_unknown(results):
                raise failure
            refused = next((one for one in results if isinstance(one, Refused)), None)
            if refused is not None:
                raise StoreError("Refused", f"view {view.name}: a value is refused: {refused.why}")
            written += sum(one is None for one in results)
    return written


def finish_logs(address: Address, definitions: Definitions, where: Log) -> list[str]:
    """Finish what processes of this machine that are gone left in the log; returns why some of it could not be."""
    transactions = address.writes == "transactions"
    return with_store(
        address,
        lambda store: adopt_all(store, definitions.views, where, transactions=transactions, seconds=FINISH_SECONDS),
        patience=PATIENCE_SECONDS,
    )


LANDED_SECONDS = 2 * (SEGMENT_SECONDS + LOOK_SECONDS)  # until readers have landed what is in their logs now
EXPECTED = "item_key string, value binary"


@dataclass(frozen=True, kw_only=True)
class DirectSource:
    """The writes of a view of the lane direct, as bronze has them; `load` brings bronze up to date.

    `log` is the folder in which readers of this machine keep writes that they have not landed yet.

    A value that bronze knows nothing of stays, and is reported as a ghost: it may be all there is of a write.
    """

    lake: Lake
    address: Address
    view: DirectView
    load: Callable[[], object]
    log: Path
    progress: Progress = say_nothing

    @property
    def views(self) -> tuple[DirectView]:
        return (self.view,)

    def prepare_repair(self) -> None:
        """Nothing: each write goes by its own order."""

    def prepare(self) -> bool:
        """Bronze is compared as it is; what it does not have yet is loaded before the second look."""
        return True

    @contextmanager
    def compare(self) -> Iterator[Compared]:
        """Compare all values that bronze has, and all of the store."""
        self.progress("comparing all")
        with differences(self.differing_writes(), self.views) as suspects:
            yield Compared(values={self.view.name: self.expected().count()}, suspects=suspects)

    @contextmanager
    def look_again(self, suspects: Materialized) -> Iterator[Materialized]:
        """Compare the keys that differed, once bronze has what was in the log; those written meanwhile are left out."""
        self.progress(f"looking again at {suspects.counts[ROWS]:,} keys, once what is in the log has been landed")
        time.sleep(LANDED_SECONDS)
        self.load()
        before = suspects.frame.select("item_key", F.col("was").alias("was_before"))
        again = self.differing_writes().join(before, on="item_key", how="inner").where("was <=> was_before")
        with differences(again.drop("was_before"), self.views) as found:
            yield found

    def repair(self, view: str, differs: Materialized) -> int:
        """Write what is missing or different as bronze has it."""
        self.progress("writing what bronze has")
        write_again(self.lake, self.address, self.view)
        return sum(differs.counts[counter(view, kind)] for kind in (INSERT, UPDATE))

    def write_all(self) -> dict[str, int]:
        """Write the newest value of each key, once bronze has what readers of this machine had in their logs."""
        await_landing(self.log)
        self.load()
        return {self.view.name: write_again(self.lake, self.address, self.view)}

    def differing_writes(self) -> DataFrame:
        """Keys whose values are not what bronze says, as `view, item_key, was, difference`."""
        now = self.expected().select("item_key", F.col("value").alias("now"))
        was = stored_values(self.lake.spark, self.address, self.view.name).withColumnRenamed("value", "was")
        both = now.join(was, on="item_key", how="full").where("NOT (was <=> now)")
        kind = F.when(F.isnull("was"), INSERT).when(F.isnull("now"), REMOVAL).otherwise(UPDATE)
        return both.select(F.lit(self.view.name).alias("view"), "item_key", "was", kind.alias("difference"))

    def expected(self) -> DataFrame:
        """What the store should hold, as `EXPECTED`; removed keys are not in it."""
        if not self.lake.exists(bronze.DIRECT_WRITES):
            return small_frame(self.lake.spark, [], EXPECTED)
        return newest_of_each_key(self.lake, self.view).where("value IS NOT NULL").select("item_key", "value")


def await_landing(log: Path) -> None:
    """Wait, for as long as it takes readers that live, until what their logs have now has been landed."""
    segments = list(log.glob(f"*{SUFFIX}"))
    until = time.monotonic() + LANDED_SECONDS
    while any(segment.exists() for segment in segments) and time.monotonic() < until:
        time.sleep(0.5)
