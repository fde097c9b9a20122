"""Stream views compared with a recount of bronze, repaired and rebuilt."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.topic import PREFIX
from jobs.streaming.checkpoint import checkpoint_of, followed
from jobs.streaming.fast_path import keyed, packed, settled, unpacked
from jobs.streaming.left_out import LeftOut, Parked
from jobs.streaming.micro_batch import refuse_stale
from jobs.streaming.recount import PAIR, counting, states, streamed_events, tasks_for
from jobs.streaming.run import owner_of
from jobs.streaming.source import Taken, taken
from sinks.decisions import INSERT, REMOVAL, UPDATE, difference
from sinks.purge import STORED, read_keys, stored_values
from sinks.rebuild import clear
from sinks.reconcile import Reconciled, Told, say_nothing
from sinks.writer import write_changes
from tailrace.definitions import STREAM, StreamView
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, MINUTES_AHEAD
from tailrace.lake.materialize import ROWS, materialized
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError
from tailrace.settings import Settings
from tailrace.store.address import Address, read_control, with_store
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.lease import Sequenced, leased
from tailrace.store.port import Store
from tailrace.store.writer import Outcome


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a stream follows: a topic, or the landing feed in `folder` where that is None; and where its checkpoint is."""

    topic: str | None
    folder: str
    checkpoint: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the stream of a home follows."""
        topic = settings.stream.topic if settings.stream.kafka else None
        return cls(topic=topic, folder=f"{settings.landing}/events", checkpoint=checkpoint_of(settings.home))

    def taken(self) -> Taken:
        """Up to where the stream has come; raises `LandingError` where it follows something else."""
        self.refuse_another()
        return taken(self.checkpoint, folder=self.folder)

    def refuse_another(self) -> None:
        """Raise `LandingError` where the stream has followed a folder and this is a topic, or the other way round."""
        before = followed(self.checkpoint)
        if before is None or bool(before) == bool(self.topic):
            return
        follows = f"the topic {before}; set TAILRACE_KAFKA" if before else "a folder; unset TAILRACE_KAFKA"
        raise LandingError(
            f"the stream of {self.checkpoint} follows {follows} as it was when the stream ran. To have it go over to "
            f"{f'the topic {self.topic}' if self.topic else self.folder}, stop it, remove {self.checkpoint}, and "
            "run `tailrace rebuild` before it starts again"
        )

    def events(self, lake: Lake, upto: Taken) -> tuple[DataFrame, DataFrame]:
        """Those that the stream has taken, and the others that bronze has."""
        return upto.split(streamed_events(lake, kafka=self.topic is not None), topic=self.topic)

    def writes_as(self, view: StreamView) -> str:
        """An owner of a view's lease, of its own each time, whom the stream knows for one of its kind."""
        return f"{owner_of(str(self.checkpoint))} {view.name} anew {uuid.uuid4().hex}"


def recounted(lake: Lake, views: Sequence[StreamView], events: DataFrame, upto: Taken, *, as_of: int) -> DataFrame:
    """The values that the stream should have written by its last micro-batch, as `recount.STATES`."""
    finish = partial(settled, run=upto.run, batch=upto.batch)
    counted = counting(events, views, since=as_of, until=as_of)
    return states(counted, views, tasks=tasks_for(lake), finish=finish)


def reached(events: DataFrame) -> int:
    """Up to when events hold what was appended, in microseconds: the earliest end of Kafka's partitions, a folder's last."""
    part = F.when(F.col("file").startswith(PREFIX), F.col("file"))
    ends = events.groupBy(part).agg(F.max("appended").alias("end"))
    return int(ends.agg(F.min("end")).collect()[0][0] or 0)


def rebuild_stream(lake: Lake, address: Address, views: Sequence[StreamView], source: Source) -> dict[str, int]:
    """Write all values of a stream that does not run, bronze being up to date, and remove all others of its views.

    Where the checkpoint is lost, all of bronze is counted: the stream that begins anew knows its events again by their
    ids. Cut off, it has to be done again before the stream begins: pairs and documents have to have the same events.
    Keys that were parked are written like all others, and parked again where the store refuses them still. Returns how many
    values of each view were written.
    """
    if not lake.exists(bronze.EVENTS):
        return dict.fromkeys((view.name for view in views), 0)
    upto = source.taken()
    events, others = source.events(lake, upto)
    if upto.batch < 0:
        events = others
    as_of, written, parked = reached(events), {}, Parked(source.checkpoint)
    parked.forget()
    LeftOut(source.checkpoint).forget()
    with materialized(recounted(lake, views, events, upto, as_of=as_of)) as rows:
        for view in views:
            values = rows.frame.where(F.col("view") == view.name)
            outcome = write(address, view, values, owner=source.writes_as(view), as_of=as_of, alone=True)
            minute = as_of // MICROS_PER_MINUTE + MINUTES_AHEAD  # no event that was counted is of later
            parked.park(view.name, outcome, {key: minute for key, _ in outcome.failed})
            written[view.name] = outcome.written
    return written


def write(
    address: Address, view: StreamView, rows: DataFrame, *, owner: str, as_of: int, alone: bool = False
) -> Outcome:
    """Write rows `item_key, value`, which hold as of a time, under a lease of their own; a running stream waits for it.

    `alone` says that the view is to have no other values than these, and the watermark no other time.
    """
    seconds = address.lease_seconds
    with leased(address, view.name, seconds=seconds, lane=STREAM, owner=owner, keep_cursor=False) as control:
        push = Sequenced(view=view.name, sequence=control.sequence, lease_seconds=seconds)
        outcome = write_changes(rows, address, push)
        refuse_stale(view, outcome)
        watermark = as_of if alone else control.watermark or as_of

        async def finish(store: Store) -> None:
            if alone:
                await clear(store, view.name, below=push.sequence)
            await store.close_push(
                view.name, sequence=push.sequence, cursor=None, watermark=watermark, features=view.features
            )

        with_store(address, finish, patience=PATIENCE_SECONDS)
    return outcome


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
    views: Sequence[StreamView],
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
    never_ran = upto.batch < 0 and all(read_control(address, view.name) is None for view in views)
    if not never_ran:
        load()
    if never_ran or not lake.exists(bronze.EVENTS):
        return {view.name: Reconciled(compared=0) for view in views}
    events, _ = source.events(lake, upto)
    as_of, known = reached(events), F.isnotnull("value")  # to bronze; ghosts are not
    of_views = {view.name: ((F.col("view") == view.name) & known).cast("int") for view in views}
    told("counting the events again, and comparing all")
    with (
        materialized(recounted(lake, views, events, upto, as_of=as_of), totals=of_views) as expected,
        materialized(differing(expected.frame, address, views, upto), totals=of_views) as suspects,
    ):
        if not suspects.counts[ROWS]:
            return {view.name: Reconciled(compared=expected.counts[view.name]) for view in views}
        told(f"looking again at {suspects.counts[ROWS]:,} keys, once bronze has what came meanwhile")
        load()
        _, left = source.events(lake, upto)
        keys = keys_of(left, views)
        with materialized(
            suspects.frame.join(keys, on=["view", "item_key"], how="left_anti"), totals=of_views
        ) as differ:
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


def counted(differ: DataFrame, view: StreamView, compared: int) -> Reconciled:
    rows = differ.where(F.col("view") == view.name).groupBy("difference").count().collect()
    kinds = {row["difference"]: row["count"] for row in rows}
    return Reconciled(
        compared=compared, missing=kinds.get(INSERT, 0), ghost=kinds.get(REMOVAL, 0), different=kinds.get(UPDATE, 0)
    )


def differing(expected: DataFrame, address: Address, views: Sequence[StreamView], upto: Taken) -> DataFrame:
    """Keys whose values are not what a recount says, as `COMPARED`: `was` is what the store has, as it has it."""
    parts = []
    for view in views:
        now = expected.where(F.col("view") == view.name).select("item_key", "value")
        was = stored_values(expected.sparkSession, address, view.name).withColumnRenamed("value", "was")
        both = now.join(was, on="item_key", how="full")
        parts.append(both.mapInArrow(partial(compare, view=view, upto=upto), COMPARED))
    return reduce(DataFrame.unionByName, parts)


def compare(parts: Iterable[pa.RecordBatch], view: StreamView, upto: Taken) -> Iterator[pa.RecordBatch]:
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


def keys_of(events: DataFrame, views: Sequence[StreamView]) -> DataFrame:
    """The keys that events are about, in each view."""

    def keys(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            for name, found in keyed(part.to_pandas(), views).keys.items():
                yield pa.RecordBatch.from_pydict({"view": [name] * len(found), "item_key": found})

    return events.select(*PAIR).distinct().mapInArrow(keys, KEYS).distinct()


def mend(differ: DataFrame, address: Address, view: StreamView, *, owner: str, as_of: int) -> int:
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
