"""Reconciliation: what a source says of views' values, compared with what the store has, and repaired.

There are three sources: gold (here), the recorded direct writes (`sinks.direct_writes`), and a recount of the events that a
stream has consumed (`jobs.streaming.repair`).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sinks import history
from sinks.history import Pushed
from sinks.net_changes import INSERT, REMOVAL, UPDATE, decided, has_version, rows_of_keys, snapshot
from sinks.push import push_views, repair_keys
from sinks.store_values import stored_values, stored_values_of
from tailrace.definitions import BatchView, FeatureView
from tailrace.lake.session import ROWS, Materialized, materialized, small_frame
from tailrace.lake.tables import Lake
from tailrace.lake.task_progress import Progress, say_nothing
from tailrace.store.address import Address, read_control
from tailrace.store.control import Control, Cursor
from tailrace.store.lease import PushUnderWay

IN_MOTION = "in motion"  # in place of a difference: more of the key came meanwhile, so it cannot be compared
KINDS = (INSERT, UPDATE, REMOVAL, IN_MOTION)


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How a source and the store agree: values compared, missing from the store, unknown to the source (`ghost`), different,
    and how many of these three kinds were repaired. `in_motion` is how many keys looked different and could not be compared,
    because more events of theirs came meanwhile.
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


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How many values of each view a source has, and the keys whose values differ from the store's, by `differences`."""

    values: Mapping[str, int]
    suspects: Materialized


class Source(Protocol):
    """Says which values the store at `address` should have of some views, and writes them there."""

    @property
    def address(self) -> Address:
        """The store."""

    @property
    def views(self) -> Sequence[FeatureView]:
        """The views, which are compared and written together."""

    @property
    def progress(self) -> Progress:
        """Gets the name of each step."""

    def prepare_repair(self) -> None:
        """Do what comes before the comparison where differences are to be repaired."""

    def prepare(self) -> bool:
        """Bring the source up to date; returns whether there is anything to compare."""

    def compare(self) -> AbstractContextManager[Compared]:
        """Compare all values of the views."""

    def look_again(self, suspects: Materialized) -> AbstractContextManager[Materialized]:
        """Of the keys that differed, those that differ although nothing changed meanwhile."""

    def repair(self, view: str, differs: Materialized) -> int:
        """Write what differs of a view, unless the store was written meanwhile; returns how many keys were repaired."""

    def write_all(self) -> dict[str, int]:
        """Write every value into a store that may have lost them; returns how many of each view."""


def reconcile(source: Source, *, repair: bool = False) -> dict[str, Reconciled]:
    """Compare a source's views with the store and, on `repair`, write what differs; by view."""
    if repair:
        source.prepare_repair()
    if not source.prepare():
        return {view.name: Reconciled(compared=0) for view in source.views}
    with source.compare() as compared:
        values, suspects = compared.values, compared.suspects
        if not suspects.counts[ROWS]:
            return {view.name: Reconciled(compared=values[view.name]) for view in source.views}
        with source.look_again(suspects) as differs:
            found = {view.name: agreement(view, values[view.name], differs) for view in source.views}
            for view in source.views if repair else ():
                if found[view.name].differing:
                    found[view.name] = replace(found[view.name], repaired=source.repair(view.name, differs))
            return found


def agreement(view: FeatureView, values: int, differs: Materialized) -> Reconciled:
    """How a view's source and the store agree, by what was counted."""
    missing, different, ghost, in_motion = (differs.counts[counter(view.name, kind)] for kind in KINDS)
    compared = values - in_motion
    return Reconciled(compared=compared, missing=missing, ghost=ghost, different=different, in_motion=in_motion)


def differences(rows: DataFrame, views: Sequence[FeatureView]) -> AbstractContextManager[Materialized]:
    """Rows `view, item_key, difference, …`, computed once and counted by view and by `KINDS` of difference."""
    pairs = [(view.name, kind) for view in views for kind in KINDS]
    return materialized(rows, totals={counter(view, kind): is_kind(view, kind).cast("int") for view, kind in pairs})


def counter(view: str, kind: str) -> str:
    """The name under which rows of a view and a kind are counted."""
    return f"{view} {kind}"


def is_kind(view: str, kind: str) -> Column:
    """Whether a row is of a view and a kind of difference."""
    return (F.col("view") == view) & (F.col("difference") == kind)


LOOKS = 20  # at suspects, while pushes come between
PAUSE_SECONDS = 1.0
KEYS_PER_LEASE = 1_000


@dataclass(frozen=True, kw_only=True)
class GoldSource:
    """Gold at the store's cursor, of a view of the lane batch; `PushUnderWay` where the cursor never stands still."""

    lake: Lake
    address: Address
    view: BatchView
    progress: Progress = say_nothing

    @property
    def views(self) -> tuple[BatchView]:
        return (self.view,)

    def prepare_repair(self) -> None:
        """Push first: a repair writes what gold has at the cursor."""
        self.progress("pushing first")
        push_views(self.lake, self.address, self.views)

    def prepare(self) -> bool:
        """Gold is compared as it is."""
        return True

    @contextmanager
    def compare(self) -> Iterator[Compared]:
        """Compare everything at the cursor as it is now."""
        self.progress("comparing all")
        gold = gold_at(self.lake, self.view, cursor_of(read_control(self.address, self.view.name)))
        stored = stored_values(self.lake.spark, self.address, self.view.name)
        with self.differing(snapshot(gold, stored, self.view)) as suspects:
            yield Compared(values={self.view.name: gold.count()}, suspects=suspects)

    @contextmanager
    def look_again(self, suspects: Materialized) -> Iterator[Materialized]:
        """Compare the keys that differed at a cursor that stands still."""
        count, keys = suspects.counts[ROWS], suspects.frame.select("item_key")
        for _ in range(LOOKS):
            self.progress(f"looking again at {count:,} keys")
            before = read_control(self.address, self.view.name)
            if before is None or not before.open:
                with self.differing(self.pairs(keys, cursor_of(before))) as found:
                    if standing(read_control(self.address, self.view.name)) == standing(before):
                        yield found
                        return
            time.sleep(PAUSE_SECONDS)
        raise PushUnderWay(
            f"view {self.view.name}: pushes came between all of {LOOKS} looks at {count:,} keys, or one was left open; "
            "run `tailrace run publish`, then reconcile again"
        )

    def repair(self, view: str, differs: Materialized) -> int:
        """Write the keys as gold has them at the cursor, so many under each lease; returns how many agree afterwards."""
        run, count = history.Run(), differs.counts[ROWS]
        done: list[Pushed] = []
        for keys in key_chunks(differs.frame):
            self.progress(f"repairing, {len(done) * KEYS_PER_LEASE:,} of {count:,} keys are done")
            done.append(
                repair_keys(self.lake, self.address, self.view, small_frame(self.lake.spark, keys, "item_key string"))
            )
        history.append_runs(self.lake, run, {view: history.total_pushed(done)})
        with self.look_again(differs) as left:
            return count - left.counts[ROWS]

    def write_all(self) -> dict[str, int]:
        """Push; how many rows change is no reason to stop."""
        pushed = push_views(self.lake, self.address, self.views, allowed="rebuilt")[self.view.name]
        return {self.view.name: pushed.pushed + pushed.removed}

    def pairs(self, keys: DataFrame, cursor: Cursor | None) -> DataFrame:
        """What gold and the store have of some keys."""
        now = rows_of_keys(keys, gold_at(self.lake, self.view, cursor), self.view).select("item_key", "now")
        was = stored_values_of(keys, self.address, self.view.name).withColumnRenamed("value", "was")
        return now.join(was, on="item_key", how="left").withColumn("images", F.lit(1))

    def differing(self, pairs: DataFrame) -> AbstractContextManager[Materialized]:
        """The pairs whose values differ, and in what."""
        decisions = decided(pairs, self.view, suppress=True, as_of=0).where("difference IS NOT NULL")
        name = F.lit(self.view.name).alias("view")
        return differences(decisions.select(name, "item_key", "difference"), self.views)


def key_chunks(suspects: DataFrame) -> Iterator[tuple[tuple[str], ...]]:
    """The keys in parts, each to be repaired under one lease."""
    keys = ((row.item_key,) for row in suspects.select("item_key").toLocalIterator())
    while chunk := tuple(islice(keys, KEYS_PER_LEASE)):
        yield chunk


def gold_at(lake: Lake, view: BatchView, cursor: Cursor | None) -> DataFrame:
    """Gold as the store should hold it: at the cursor, or as it is where that is of another definition or not in gold."""
    if cursor is None or cursor.fingerprint != view.publication_fingerprint or not has_version(lake, view, cursor):
        return lake.read(view.table)
    return lake.read(view.table, version=cursor.version)


def cursor_of(control: Control | None) -> Cursor | None:
    """The cursor of a control item; None where there is neither."""
    return control.cursor if control else None


def standing(control: Control | None) -> tuple[Cursor | None, int | None, bool] | None:
    """What changes when a push writes: compared before and after a look."""
    return (control.cursor, control.declared, control.open) if control else None
