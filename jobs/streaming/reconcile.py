"""Compare what the store has of the stream's views with a recount of bronze, key by key, while the stream goes on.

What differs is looked at again once bronze has all that has come meanwhile: keys with events that the stream had not taken
when the look began are left to the next one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.streaming.frames import keyed
from jobs.streaming.rebuild import Source, reached, recounted, write
from jobs.streaming.recount import PAIR
from jobs.streaming.taken import Taken
from jobs.streaming.values import packed, settled, unpacked
from sinks.decisions import INSERT, REMOVAL, UPDATE, difference
from sinks.lease import control_of
from sinks.reconcile import Reconciled, Told, say_nothing
from sinks.rows import Address
from sinks.store_scan import STORED, read_keys, stored_values
from tailrace.definitions import FeatureView
from tailrace.lake.held import ROWS, held
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze

log = logging.getLogger(__name__)

COMPARED = "view string, item_key string, value binary, was binary, difference string"
COMPARED_SCHEMA = pa.schema(
    [
        ("view", pa.string()),
        ("item_key", pa.string()),
        ("value", pa.binary()),
        ("was", pa.binary()),
        ("difference", pa.string()),
    ]
)
KEYS = "view string, item_key string"


def reconcile_stream(
    lake: Lake,
    address: Address,
    views: Sequence[FeatureView],
    source: Source,
    *,
    load: Callable[[], object],
    repair: bool = False,
    told: Told = say_nothing,
) -> dict[str, Reconciled]:
    """Compare, and on `repair` write what is missing or different as bronze has it.

    `load` brings all into bronze that has landed when it is called. A value that bronze knows nothing of stays, and is told as a ghost.
    """
    upto = source.taken()  # first: bronze then has all that the stream had taken
    never_ran = upto.batch < 0 and all(control_of(address, view.name) is None for view in views)
    if not never_ran:
        load()
    if never_ran or not lake.exists(bronze.EVENTS):
        return {view.name: Reconciled(compared=0) for view in views}
    events, _ = source.events(lake, upto)
    as_of, known = reached(events), F.isnotnull("value")  # to bronze; ghosts are not
    of_views = {view.name: ((F.col("view") == view.name) & known).cast("int") for view in views}
    told("counting the events again, and comparing all")
    with (
        held(recounted(lake, views, events, upto, as_of=as_of), totals=of_views) as expected,
        held(differing(expected.frame, address, views, upto), totals=of_views) as suspects,
    ):
        if not suspects.counts[ROWS]:
            return {view.name: Reconciled(compared=expected.counts[view.name]) for view in views}
        told(f"looking again at {suspects.counts[ROWS]:,} keys, once bronze has what came meanwhile")
        load()
        _, left = source.events(lake, upto)
        keys = keys_of(left, views)
        with held(suspects.frame.join(keys, on=["view", "item_key"], how="left_anti"), totals=of_views) as differ:
            found = {}
            for view in views:
                in_motion = suspects.counts[view.name] - differ.counts[view.name]
                compared = expected.counts[view.name] - in_motion
                found[view.name] = replace(counted(differ.frame, view, compared), in_motion=in_motion)
                if repair and found[view.name].differing:
                    told(f"{view.name}: writing what bronze has")
                    repaired = mend(differ.frame, address, view, owner=source.writes_as(view), as_of=as_of)
                    found[view.name] = replace(found[view.name], repaired=repaired)
            return found


def counted(differ: DataFrame, view: FeatureView, compared: int) -> Reconciled:
    rows = differ.where(F.col("view") == view.name).groupBy("difference").count().collect()
    kinds = {row["difference"]: row["count"] for row in rows}
    return Reconciled(
        compared=compared, missing=kinds.get(INSERT, 0), ghost=kinds.get(REMOVAL, 0), different=kinds.get(UPDATE, 0)
    )


def differing(expected: DataFrame, address: Address, views: Sequence[FeatureView], upto: Taken) -> DataFrame:
    """Keys whose values are not what a recount says, as `COMPARED`: `was` is what the store has, as it has it."""
    parts = []
    for view in views:
        now = expected.where(F.col("view") == view.name).select("item_key", "value")
        was = stored_values(expected.sparkSession, address, view.name).withColumnRenamed("value", "was")
        both = now.join(was, on="item_key", how="full")
        parts.append(both.mapInArrow(partial(compare, view=view, upto=upto), COMPARED))
    return reduce(DataFrame.unionByName, parts)


def compare(parts: Iterable[pa.RecordBatch], view: FeatureView, upto: Taken) -> Iterator[pa.RecordBatch]:
    """Rows that differ in more than which micro-batches their events came by."""
    for part in parts:
        rows = part.to_pydict()
        state = settled(view, unpacked(view, rows["was"]), run=upto.run, batch=upto.batch)
        there = np.array([value is not None for value in rows["was"]], bool)
        stored = dict(packed(view, rows["item_key"], state, there, as_of=0))
        kinds = [difference(stored.get(key), now) for key, now in zip(rows["item_key"], rows["value"], strict=True)]
        columns = {"view": [view.name] * len(kinds), **rows, "difference": kinds}
        whole_part = pa.RecordBatch.from_pydict(columns, COMPARED_SCHEMA)
        yield whole_part.filter(pa.array([kind is not None for kind in kinds], pa.bool_()))


def keys_of(events: DataFrame, views: Sequence[FeatureView]) -> DataFrame:
    """The keys that events are about, in each view."""

    def keys(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            for name, found in keyed(part.to_pandas(), views).keys.items():
                yield pa.RecordBatch.from_pydict({"view": [name] * len(found), "item_key": found})

    return events.select(*PAIR).distinct().mapInArrow(keys, KEYS).distinct()


def mend(differ: DataFrame, address: Address, view: FeatureView, *, owner: str, as_of: int) -> int:
    """Write what is missing or different, where the store still has what it had; returns how many values."""

    def unchanged(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            rows = part.to_pydict()
            present = asyncio.run(read_keys(address, view.name, rows["item_key"])).to_pydict()
            values = dict(zip(present["item_key"], present["value"], strict=True))
            same = [values.get(key) == was for key, was in zip(rows["item_key"], rows["was"], strict=True)]
            yield part.filter(pa.array(same, pa.bool_())).select(["item_key", "value"])

    rows = differ.where((F.col("view") == view.name) & (F.col("difference") != REMOVAL))
    # Read under the lease: this is computed as it is written.
    present = rows.select("item_key", "value", "was").mapInArrow(unchanged, STORED)
    outcome = write(address, view, present, owner=owner, as_of=as_of)
    for key, reason in outcome.failed:
        log.warning("view %s: the store refuses the value of %r: %s", view.name, key, reason)
    return outcome.written
