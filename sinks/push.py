"""Push one view: gold's changes since the cursor go to the store, then the cursor moves."""

import time
from collections.abc import Awaitable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
from pyspark.errors import PythonException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.slots import to_micros
from features.language import FeatureView
from lake.history import HistoryLost, Pin
from lake.tables import Lake, LakeError
from online import control
from online.control import Control, Cursor
from online.wire import StoreClient
from sinks.lease import leased, with_client
from sinks.net_changes import REMOVE, SUPPRESS, WRITE, net_changes, online_rows, snapshot_changes
from sinks.store_scan import stored_values
from sinks.writer import OUTCOME, Address, Outcome, Sequenced, write_batches

NOTHING_NEW = "nothing new"
CHANGES = "changes"
FIRST_LOAD = "first load"
SNAPSHOT = "snapshot"

AT_ONCE = 4  # views


class PushError(Exception):
    """A push that stopped or whose figures do not add up; the message names the view and what happened."""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """One view after a push: values written and their bytes, tombstones, keys unchanged or newer in the store, and how.

    net = pushed + removed + suppressed + stale.
    """

    how: str
    net: int = 0
    pushed: int = 0
    removed: int = 0
    suppressed: int = 0
    stale: int = 0
    bytes: int = 0
    seconds: float = 0.0


def push_views(
    lake: Lake, address: Address, views: Iterable[FeatureView], *, lease_seconds: float
) -> dict[str, Pushed]:
    """Push several views at once; the first error is raised when the others are done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pushes = {view.name: pool.submit(push_view, lake, address, view, lease_seconds=lease_seconds) for view in views}
    return {name: push.result() for name, push in pushes.items()}


def push_view(lake: Lake, address: Address, view: FeatureView, *, lease_seconds: float) -> Pushed:
    """Bring the store's values of a view to gold's newest version; the cursor moves after every write."""
    began = time.monotonic()
    with leased(address, view.name, seconds=lease_seconds) as found:
        # Read under the lease: a push that waited for it must not take gold back to where it was before.
        target, watermark = newest(lake, view)
        how, rows = what_to_write(lake, address, view, found, target)
        push = Sequenced(view=view.name, features=view.features, sequence=found.sequence, as_of=watermark)
        pushed = write(rows, how, address, push)
        close_with(address, push, target)
    return replace(pushed, seconds=time.monotonic() - began)


def newest(lake: Lake, view: FeatureView) -> tuple[Cursor, int]:
    """Gold's newest version as a cursor, and its as-of in microseconds."""
    version = lake.version(view.table)
    state = lake.state(view.table, version=version)
    if state is None:
        raise LakeError(f"{view.table.full_name} has no refresh state; run `tailrace refresh`")
    if not state.alone:
        raise LakeError(
            f"{view.table.full_name} was written by two refreshes at once; run `tailrace refresh`, which mends it"
        )
    cursor = Cursor(table_id=lake.table_id(view.table), version=version, fingerprint=view.publication_fingerprint)
    return cursor, to_micros(datetime.fromisoformat(state.values["as_of"]))


def what_to_write(
    lake: Lake, address: Address, view: FeatureView, found: Control, target: Cursor
) -> tuple[str, DataFrame | None]:
    """How this push goes about it, and the rows `item_key, action` and features that it decides upon.

    An open mark that was found set belongs to a push that may still have writes under way: then nothing is
    suppressed, and a first load becomes a snapshot. So does a push whose change feed has a hole.
    """
    cursor = found.cursor
    if cursor is None and not found.open:
        rows = online_rows(lake.read(view.table, version=target.version), view)
        return FIRST_LOAD, rows.withColumn("action", F.lit(WRITE))
    if cursor and continues(cursor, target):
        with suppress(HistoryLost):
            changes = lake.changes_since(view.table, since=pin_of(cursor), until=pin_of(target))
            if changes is None:
                return NOTHING_NEW, None
            return CHANGES, net_changes(changes, view, suppress=not found.open)
    gold = lake.read(view.table, version=target.version)
    return SNAPSHOT, snapshot_changes(gold, stored_values(lake.spark, address, view.name), view)


def pin_of(cursor: Cursor) -> Pin:
    return Pin(cursor.table_id, cursor.version)


def continues(cursor: Cursor, target: Cursor) -> bool:
    """Whether gold's change feed leads from the cursor to the target."""
    same = (cursor.table_id, cursor.fingerprint) == (target.table_id, target.fingerprint)
    return same and cursor.version <= target.version


def write(rows: DataFrame | None, how: str, address: Address, push: Sequenced) -> Pushed:
    """Write the rows from the executors, and hold the figures against each other."""
    if rows is None:
        return Pushed(how=how)
    rows = rows.persist()
    try:
        net = {row.action: row["count"] for row in rows.groupBy("action").count().collect()}
        outcome = Outcome()
        if net.keys() & {WRITE, REMOVE}:
            outcome = write_from_executors(rows.where(F.col("action") != SUPPRESS), address, push)
    finally:
        rows.unpersist()
    decided = net.get(WRITE, 0) + net.get(REMOVE, 0)
    if outcome.written + outcome.removed + outcome.stale != decided:
        raise PushError(f"view {push.view}: {decided} rows were to be written, but the store took {outcome}")
    return Pushed(
        how=how,
        net=sum(net.values()),
        pushed=outcome.written,
        removed=outcome.removed,
        suppressed=net.get(SUPPRESS, 0),
        stale=outcome.stale,
        bytes=outcome.bytes,
    )


def write_from_executors(rows: DataFrame, address: Address, push: Sequenced) -> Outcome:
    def write_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return write_batches(batches, address, push)

    tasks = rows.sparkSession.sparkContext.defaultParallelism
    try:
        outcomes = rows.repartition(tasks).mapInArrow(write_partition, OUTCOME).collect()
    except PythonException as error:
        last = str(error).strip().splitlines()[-1]  # of an executor's traceback, the error itself
        raise PushError(f"view {push.view}: the push stopped, its cursor has not moved: {last}") from error
    return Outcome(
        written=sum(row.written for row in outcomes),
        removed=sum(row.removed for row in outcomes),
        stale=sum(row.stale for row in outcomes),
        bytes=sum(row.bytes for row in outcomes),
    )


def close_with(address: Address, push: Sequenced, cursor: Cursor) -> None:
    def close(client: StoreClient) -> Awaitable[None]:
        return control.close_push(
            client,
            push.view,
            sequence=push.sequence,
            cursor=cursor,
            watermark=push.as_of,
            features=push.features,
        )

    with_client(address, close)
