"""Push one view: gold's changes since the cursor go to the store, then the cursor moves."""

import time
from collections.abc import Awaitable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, Observation, Row
from pyspark.sql import functions as F

from contracts.slots import to_micros
from features.language import FeatureView
from lake.history import HistoryLost, Pin
from lake.tables import AT_ONCE, Lake, LakeError
from online import control
from online.control import Control, Cursor
from online.wire import PATIENCE_SECONDS, StoreClient
from sinks.lease import leased, with_client
from sinks.net_changes import SUPPRESS, WRITE, net_changes, online_rows, snapshot_changes
from sinks.rows import OUTCOME, Address, Outcome, Sequenced, total
from sinks.store_scan import stored_values
from sinks.writer import write_batches

NOTHING_NEW = "nothing new"
CHANGES = "changes"
FIRST_LOAD = "first load"
SNAPSHOT = "snapshot"


class PushError(Exception):
    """A push that stopped or whose figures do not add up; the message names the view and what happened."""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """One view after a push: values written and their bytes, tombstones, keys unchanged or newer in the store, and how.

    `why` tells what made a snapshot necessary. net = pushed + removed + suppressed + stale.
    """

    how: str
    why: str | None = None
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
        plan = what_to_write(lake, address, view, found, target)
        push = Sequenced(
            view=view.name,
            features=view.features,
            sequence=found.sequence,
            as_of=watermark,
            lease_seconds=lease_seconds,
        )
        pushed = write(plan.rows, plan.how, address, push)
        close_with(address, push, target)
    return replace(pushed, why=plan.why, seconds=time.monotonic() - began)


def newest(lake: Lake, view: FeatureView) -> tuple[Cursor, int]:
    """Gold's newest version as a cursor, and its as-of in microseconds."""
    pin = lake.pin(view.table)
    state = lake.state(view.table, version=pin.version)
    if state is None:
        raise LakeError(f"{view.table.full_name} has no refresh state; run `tailrace refresh`")
    if not state.alone:
        raise LakeError(
            f"{view.table.full_name} was written by two refreshes at once; run `tailrace refresh`, which mends it"
        )
    cursor = Cursor(
        table_id=pin.table_id, version=pin.version, commit=pin.commit, fingerprint=view.publication_fingerprint
    )
    return cursor, to_micros(datetime.fromisoformat(state.values["as_of"]))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a push goes about it, the rows `item_key, action` and features that it decides upon, and why not by changes."""

    how: str
    rows: DataFrame | None
    why: str | None = None


def what_to_write(lake: Lake, address: Address, view: FeatureView, found: Control, target: Cursor) -> Plan:
    """Plan a push by gold's change feed, or where that does not lead from the cursor to the target, by a snapshot.

    An open mark that was found set belongs to a push that may still have writes under way: then nothing is
    suppressed, and a first load becomes a snapshot.
    """
    cursor = found.cursor
    if cursor is None and not found.open:
        rows = online_rows(lake.read(view.table, version=target.version), view)
        return Plan(how=FIRST_LOAD, rows=rows.withColumn("action", F.lit(WRITE)))
    try:
        changes = changes_after(lake, view, cursor, target)
    except HistoryLost as error:
        gold = lake.read(view.table, version=target.version)
        rows = snapshot_changes(gold, stored_values(lake.spark, address, view.name), view)
        return Plan(how=SNAPSHOT, rows=rows, why=str(error))
    if changes is None:
        return Plan(how=NOTHING_NEW, rows=None)
    return Plan(how=CHANGES, rows=net_changes(changes, view, suppress=not found.open))


def changes_after(lake: Lake, view: FeatureView, cursor: Cursor | None, target: Cursor) -> DataFrame | None:
    """Gold's changes from the cursor to the target; raises `HistoryLost` where nothing tells them."""
    if cursor is None:
        raise HistoryLost("the first load was left open")
    if cursor.fingerprint != target.fingerprint:
        raise HistoryLost("the published features changed")
    return lake.changes_since(view.table, since=pin_of(cursor), until=pin_of(target))


def pin_of(cursor: Cursor) -> Pin:
    return Pin(cursor.table_id, cursor.version, cursor.commit)


def write(rows: DataFrame | None, how: str, address: Address, push: Sequenced) -> Pushed:
    """Write the rows from the executors, and hold the figures against each other."""
    if rows is None:
        return Pushed(how=how)
    seen = Observation()
    is_suppressed = F.col("action") == SUPPRESS
    # Counted after the shuffle, in the stage that writes: a task that runs again there is counted once.
    spread = rows.repartition(rows.sparkSession.sparkContext.defaultParallelism)
    observed = spread.observe(seen, F.count(F.lit(1)).alias("net"), F.count_if(is_suppressed).alias("suppressed"))
    outcome = write_from_executors(observed.where(~is_suppressed), address, push)
    refuse_failures(outcome, push)
    net, suppressed = seen.get["net"], seen.get["suppressed"]
    if outcome.written + outcome.removed + outcome.stale != net - suppressed:
        raise PushError(f"view {push.view}: {net - suppressed} rows were to be written, but the store took {outcome}")
    return Pushed(
        how=how,
        net=net,
        pushed=outcome.written,
        removed=outcome.removed,
        suppressed=suppressed,
        stale=outcome.stale,
        bytes=outcome.bytes,
    )


def write_from_executors(rows: DataFrame, address: Address, push: Sequenced) -> Outcome:
    def write_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return write_batches(batches, address, push)

    try:
        outcomes = rows.mapInArrow(write_partition, OUTCOME).collect()
    except PythonException as error:
        last = str(error).strip().splitlines()[-1]  # of an executor's traceback, the error itself
        raise PushError(f"view {push.view}: the push stopped, its cursor has not moved: {last}") from error
    return total(outcome_of(row) for row in outcomes)


def outcome_of(row: Row) -> Outcome:
    """The outcome of one task from a row of `OUTCOME`."""
    return Outcome(**row.asDict() | {"failed": [(failure.key, failure.reason) for failure in row.failed]})


def refuse_failures(outcome: Outcome, push: Sequenced) -> None:
    """Raise if the store refused rows for themselves: the others are written, and the next push writes them again."""
    if not outcome.refused:
        return
    told = "; ".join(f"{key!r}: {reason}" for key, reason in outcome.failed)
    more = outcome.refused - len(outcome.failed)
    raise PushError(
        f"view {push.view}: the store refused {outcome.refused} rows, the cursor has not moved: {told}"
        + (f"; and {more} more" if more else "")
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

    with_client(address, close, patience=PATIENCE_SECONDS)
