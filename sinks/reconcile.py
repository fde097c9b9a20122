"""Gold, or recorded direct writes, compared with the store and repaired."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from itertools import islice

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks import ledger
from sinks.decisions import INSERT, REMOVAL, UPDATE, decided
from sinks.direct_writes import newest_of_each_key, write_again
from sinks.ledger import Pushed
from sinks.net_changes import rows_of, snapshot
from sinks.purge import has_version, stored_values, stored_values_of
from sinks.push import push_views, repair_keys
from tailrace.definitions import BatchView, DirectView
from tailrace.lake.materialize import ROWS, Materialized, materialized
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.store.address import Address, read_control
from tailrace.store.control import Control, Cursor
from tailrace.store.direct.writer import LOOK_SECONDS, SEGMENT_SECONDS
from tailrace.store.lease import PushUnderWay

LOOKS = 20  # at suspects, while pushes come between
PAUSE_SECONDS = 1.0
KEYS_PER_LEASE = 1_000

Told = Callable[[str], None]


def say_nothing(_: str) -> None:
    """Tell no progress."""


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How gold and store agree: rows of gold compared, online rows absent from the store, values in the store
    that gold does not have online, values that differ, and how many of these three kinds were mended. `in_motion` is how
    many keys looked different and could not be compared, because more events of theirs came meanwhile.
    """

    compared: int
    missing: int = 0
    ghost: int = 0
    different: int = 0
    repaired: int = 0
    in_motion: int = 0

    @property
    def differing(self) -> int:
        return self.missing + self.ghost + self.different


def reconcile_view(lake: Lake, address: Address, view: BatchView, *, told: Told = say_nothing) -> Reconciled:
    """Compare gold at the store's cursor with the store; raises `PushUnderWay` where the cursor never stands still."""
    with Comparison(lake, address, view, told) as comparison:
        return comparison.found


def repair_view(lake: Lake, address: Address, view: BatchView, *, told: Told = say_nothing) -> Reconciled:
    """Push, compare, and write what differs as gold has it, so many keys under each lease."""
    told("pushing first")
    push_views(lake, address, [view])
    with Comparison(lake, address, view, told) as comparison:
        found = comparison.found
        if not found.differing:
            return found
        run = ledger.Run()
        done: list[Pushed] = []
        for keys in chunks(comparison.suspects.frame):
            told(f"repairing, {len(done) * KEYS_PER_LEASE:,} of {found.differing:,} keys are done")
            done.append(repair_keys(lake, address, view, small_frame(lake.spark, keys, "item_key string")))
        ledger.append(lake, run, {view.name: ledger.total(done)})
        comparison.look_again()
        return replace(found, repaired=found.differing - comparison.found.differing)


def chunks(suspects: DataFrame) -> Iterator[tuple[tuple[str], ...]]:
    keys = ((row.item_key,) for row in suspects.select("item_key").toLocalIterator())
    while chunk := tuple(islice(keys, KEYS_PER_LEASE)):
        yield chunk


class Comparison:
    """What differs between gold and store for good; the keys are held until the end of the block."""

    def __init__(self, lake: Lake, address: Address, view: BatchView, told: Told) -> None:
        self.lake = lake
        self.address = address
        self.view = view
        self.told = told
        self.held = ExitStack()

    def __enter__(self) -> "Comparison":
        with ExitStack() as if_it_fails:
            if_it_fails.enter_context(self.held)
            self.look()
            if_it_fails.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.held.close()

    @property
    def found(self) -> Reconciled:
        counts = self.suspects.counts
        return Reconciled(
            compared=self.compared, missing=counts[INSERT], ghost=counts[REMOVAL], different=counts[UPDATE]
        )

    def look(self) -> None:
        """Compare everything, and then again what differs."""
        self.told("comparing all")
        gold = gold_at(self.lake, self.view, cursor_of(read_control(self.address, self.view.name)))
        stored = stored_values(self.lake.spark, self.address, self.view.name)
        self.suspects = self.held.enter_context(differing(snapshot(gold, stored, self.view), self.view))
        if self.suspects.counts[ROWS]:
            self.look_again()
        self.compared = gold.count()

    def look_again(self) -> None:
        """Of the keys that differed, keep those that still do at a cursor that stands still."""
        count, keys = self.suspects.counts[ROWS], self.suspects.frame.select("item_key")
        for _ in range(LOOKS):
            self.told(f"looking again at {count:,} keys")
            before = read_control(self.address, self.view.name)
            if before is None or not before.open:
                found = self.held.enter_context(differing(self.pairs(keys, cursor_of(before)), self.view))
                if standing(read_control(self.address, self.view.name)) == standing(before):
                    self.suspects = found
                    return
            time.sleep(PAUSE_SECONDS)
        raise PushUnderWay(
            f"view {self.view.name}: pushes came between all of {LOOKS} looks at {count:,} keys, or one was left open; "
            "run `tailrace run publish`, then reconcile again"
        )

    def pairs(self, keys: DataFrame, cursor: Cursor | None) -> DataFrame:
        """What gold and the store have of some keys."""
        now = rows_of(keys, gold_at(self.lake, self.view, cursor), self.view).select("item_key", "now")
        was = stored_values_of(keys, self.address, self.view.name).withColumnRenamed("value", "was")
        return now.join(was, on="item_key", how="left").withColumn("images", F.lit(1))


def differing(rows: DataFrame, view: BatchView) -> AbstractContextManager[Materialized]:
    """Keys whose values differ, and in what."""
    decisions = decided(rows, view, suppress=True, as_of=0).where("difference IS NOT NULL")
    kinds = {kind: (F.col("difference") == kind).cast("int") for kind in (INSERT, UPDATE, REMOVAL)}
    return materialized(decisions.select("item_key", "difference"), totals=kinds)


def gold_at(lake: Lake, view: BatchView, cursor: Cursor | None) -> DataFrame:
    """Gold as the store should hold it: at the cursor, or as it is where that is of another definition or not in gold."""
    if cursor is None or cursor.fingerprint != view.publication_fingerprint or not has_version(lake, view, cursor):
        return lake.read(view.table)
    return lake.read(view.table, version=cursor.version)


def cursor_of(control: Control | None) -> Cursor | None:
    return control.cursor if control else None


def standing(control: Control | None) -> tuple[Cursor | None, int | None, bool] | None:
    """What changes when a push writes: compared before and after a look."""
    return (control.cursor, control.declared, control.open) if control else None


LANDED_SECONDS = 2 * (SEGMENT_SECONDS + LOOK_SECONDS)
EXPECTED = "item_key string, value binary"


def reconcile_direct(
    lake: Lake,
    address: Address,
    view: DirectView,
    *,
    load: Callable[[], object],
    repair: bool = False,
    told: Told = say_nothing,
) -> Reconciled:
    """Compare, and on `repair` write what is missing or different as bronze has it; `load` brings bronze up to date.

    A value that bronze knows nothing of stays, and is told as a ghost: it may be all there is of a write.
    """
    told("comparing all")
    with materialized(differing_writes(lake, address, view)) as suspects:
        compared = expected(lake, view).count()
        if not suspects.counts[ROWS]:
            return Reconciled(compared=compared)
        told(f"looking again at {suspects.counts[ROWS]:,} keys, once what is in the log has been landed")
        time.sleep(LANDED_SECONDS)
        load()
        before = suspects.frame.select("item_key", F.col("was").alias("was_before"))
        again = differing_writes(lake, address, view).join(before, on="item_key", how="inner")
        counted = again.where("was <=> was_before").groupBy("difference").count().collect()
        kinds = {row["difference"]: row["count"] for row in counted}
    found = Reconciled(
        compared=compared, missing=kinds.get(INSERT, 0), ghost=kinds.get(REMOVAL, 0), different=kinds.get(UPDATE, 0)
    )
    if repair and found.differing:
        told("writing what bronze has")
        write_again(lake, address, view)
        return replace(found, repaired=found.missing + found.different)
    return found


def differing_writes(lake: Lake, address: Address, view: DirectView) -> DataFrame:
    """Keys whose values are not what bronze says, as `item_key, was, difference`."""
    now = expected(lake, view).select("item_key", F.col("value").alias("now"))
    was = stored_values(lake.spark, address, view.name).select("item_key", F.col("value").alias("was"))
    both = now.join(was, on="item_key", how="full").where("NOT (was <=> now)")
    kind = F.when(F.isnull("was"), INSERT).when(F.isnull("now"), REMOVAL).otherwise(UPDATE)
    return both.select("item_key", "was", kind.alias("difference"))


def expected(lake: Lake, view: DirectView) -> DataFrame:
    """What the store should hold, as `item_key, value`; removed keys are not in it."""
    if not lake.exists(bronze.DIRECT_WRITES):
        return small_frame(lake.spark, [], EXPECTED)
    return newest_of_each_key(lake, view).where("value IS NOT NULL").select("item_key", "value")
