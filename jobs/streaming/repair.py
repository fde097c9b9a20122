"""Stream views compared with a recount of bronze, repaired and rebuilt."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.topic import PREFIX, topic_of
from jobs.streaming.checkpoint import ExcludedFiles, Parked, checkpoint_of, followed
from jobs.streaming.event_rows import OF_EVENTS, EventRows, storable
from jobs.streaming.fast_path import pack_states, settled_states, unpack_states
from jobs.streaming.micro_batch import refuse_stale
from jobs.streaming.recount import counting, states, streamed_events, tasks_for
from jobs.streaming.run import stream_owner
from jobs.streaming.source import Consumed, consumed_by
from sinks.net_changes import INSERT, UPDATE, difference
from sinks.rebuild import clear
from sinks.reconcile import IN_MOTION, Compared, differences, is_kind
from sinks.store_values import STORED, read_keys, stored_values, write_changes
from tailrace.definitions import STREAM, Definitions, StreamView
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, MINUTES_AHEAD
from tailrace.lake.session import ROWS, Materialized, materialized
from tailrace.lake.tables import Lake
from tailrace.lake.task_progress import Progress, say_nothing
from tailrace.schemas.landing import LandingError
from tailrace.settings import Settings
from tailrace.store.address import Address, read_control, with_store
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.lease import Sequenced, leased
from tailrace.store.port import Store
from tailrace.store.writer import Outcome


@dataclass(frozen=True, kw_only=True)
class StreamInput:
    """What a stream follows: a topic, or the landing feed in `folder` where that is None; and where its checkpoint is."""

    rows: EventRows
    topic: str | None
    folder: str
    checkpoint: Path

    @classmethod
    def of(cls, settings: Settings, definitions: Definitions) -> Self:
        """What the stream of a home follows."""
        source = definitions.streamed_source
        topic, rows = topic_of(settings.stream, source), EventRows.of(definitions)
        return cls(
            rows=rows,
            topic=topic.name if topic else None,
            folder=rows.feed.folder(settings.landing),
            checkpoint=checkpoint_of(settings.home),
        )

    def consumed(self) -> Consumed:
        """Up to where the stream has come; raises `LandingError` where it follows something else."""
        self.refuse_another()
        return consumed_by(self.checkpoint, folder=self.folder)

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

    def events(self, lake: Lake, upto: Consumed) -> tuple[DataFrame, DataFrame]:
        """Those that the stream has consumed, and the others that bronze has."""
        return upto.split(streamed_events(lake, self.rows, kafka=self.topic is not None), topic=self.topic)

    def writes_as(self, view: StreamView) -> str:
        """An owner of a view's lease, of its own each time, whom the stream knows for one of its kind."""
        return f"{stream_owner(str(self.checkpoint))} {view.name} anew {uuid.uuid4().hex}"


def recounted(lake: Lake, of: EventRows, events: DataFrame, upto: Consumed, *, as_of: int) -> DataFrame:
    """The values that the stream should have written by its last micro-batch, as `recount.STATES`."""
    finish = partial(settled_states, run=upto.run, batch=upto.batch)
    counted = counting(events, of, since=as_of, until=as_of)
    return states(counted, of.views, tasks=tasks_for(lake, of.feed), finish=finish)


def appended_upto(events: DataFrame) -> int:
    """Up to when events hold what was appended, in microseconds: the earliest end of Kafka's partitions, a folder's last."""
    part = F.when(F.col("file").startswith(PREFIX), F.col("file"))
    ends = events.groupBy(part).agg(F.max("appended").alias("end"))
    return int(ends.agg(F.min("end")).collect()[0][0] or 0)


def write_leased(
    rows: DataFrame, address: Address, view: StreamView, *, owner: str, as_of: int, exclusive: bool = False
) -> Outcome:
    """Write rows `item_key, value`, which hold as of a time, under a lease of their own; a running stream waits for it.

    `exclusive` says that the view is to have no other values than these, and the watermark no other time.
    """
    seconds = address.lease_seconds
    with leased(address, view.name, seconds=seconds, lane=STREAM, owner=owner, keep_cursor=False) as control:
        push = Sequenced(view=view.name, sequence=control.sequence, lease_seconds=seconds)
        outcome = write_changes(rows, address, push)
        refuse_stale(view, outcome)
        watermark = as_of if exclusive else control.watermark or as_of

        async def finish(store: Store) -> None:
            if exclusive:
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


@dataclass(frozen=True, kw_only=True)
class RecountSource:
    """The events that a stream had consumed when it is first asked, counted again from bronze.

    `load` brings all into bronze that has landed when it is called. A value that bronze knows nothing of stays, and is
    reported as a ghost.
    """

    lake: Lake
    address: Address
    input: StreamInput
    load: Callable[[], object]
    progress: Progress = say_nothing

    @property
    def views(self) -> Sequence[StreamView]:
        """All that the stream keeps, the finest first."""
        return self.input.rows.views

    @cached_property
    def upto(self) -> Consumed:
        """Up to where the stream had come."""
        return self.input.consumed()

    @cached_property
    def as_of(self) -> int:
        """Up to when the counted events go, in microseconds."""
        return appended_upto(self.events)

    @cached_property
    def events(self) -> DataFrame:
        """The events of bronze that the stream had consumed."""
        return self.input.events(self.lake, self.upto)[0]

    def prepare_repair(self) -> None:
        """Nothing: a key is written where the store still has what was compared."""

    def prepare(self) -> bool:
        """Bring bronze to where the stream was before; there is nothing to compare where none ever ran."""
        never_ran = self.upto.batch < 0 and all(read_control(self.address, view.name) is None for view in self.views)
        if not never_ran:
            self.load()
        return not never_ran and self.lake.exists(self.input.rows.feed.table)

    @contextmanager
    def compare(self) -> Iterator[Compared]:
        """Count everything again, and compare it with all of the store."""
        of_views = {view.name: (F.col("view") == view.name).cast("int") for view in self.views}
        events, as_of = self.events, self.as_of
        self.progress("counting the events again, and comparing all")
        with (
            materialized(
                recounted(self.lake, self.input.rows, events, self.upto, as_of=as_of), totals=of_views
            ) as expected,
            differences(against_store(expected.frame, self.address, self.views, self.upto), self.views) as suspects,
        ):
            yield Compared(values={view.name: expected.counts[view.name] for view in self.views}, suspects=suspects)

    @contextmanager
    def look_again(self, suspects: Materialized) -> Iterator[Materialized]:
        """Mark keys that are in motion: bronze has events of theirs which the stream had not consumed."""
        self.progress(f"looking again at {suspects.counts[ROWS]:,} keys, once bronze has what came meanwhile")
        self.load()
        _, pending = self.input.events(self.lake, self.upto)
        moving = keys_about(pending, self.input.rows).withColumn("moving", F.lit(True))
        both = suspects.frame.join(moving, on=["view", "item_key"], how="left")  # unique per view and key
        # A ghost has no value in bronze that its events could still reach.
        kept = both.where("moving IS NULL OR value IS NOT NULL")
        kind = F.when(F.col("moving"), IN_MOTION).otherwise(F.col("difference"))
        with differences(kept.withColumn("difference", kind).drop("moving"), self.views) as found:
            yield found

    def write_all(self) -> dict[str, int]:
        """Write all values of a stream that does not run, and remove all others of its views; returns how many of each.

        Where the checkpoint is lost, all of bronze is counted: the stream that begins anew knows its events again by
        their ids. Cut off, this has to be done again before the stream begins: pairs and documents have to have the same
        events. Keys that were parked are written like all others, and parked again where the store refuses them still.
        """
        self.load()
        if not self.lake.exists(self.input.rows.feed.table):
            return dict.fromkeys((view.name for view in self.views), 0)
        consumed, others = self.input.events(self.lake, self.upto)
        events = others if self.upto.batch < 0 else consumed
        as_of, written, parked = appended_upto(events), {}, Parked(self.input.checkpoint)
        parked.forget()
        ExcludedFiles(self.input.checkpoint).forget()
        with materialized(recounted(self.lake, self.input.rows, events, self.upto, as_of=as_of)) as rows:
            for view in self.views:
                values = rows.frame.where(F.col("view") == view.name)
                outcome = write_leased(
                    values, self.address, view, owner=self.input.writes_as(view), as_of=as_of, exclusive=True
                )
                minute = as_of // MICROS_PER_MINUTE + MINUTES_AHEAD  # no event that was counted is of later
                parked.park(view.name, outcome, {key: minute for key, _ in outcome.failed})
                written[view.name] = outcome.written
        return written

    def repair(self, view: str, differs: Materialized) -> int:
        """Write what is missing or different, where the store still has what it had; returns how many values."""
        self.progress(f"{view}: writing what bronze has")
        [of] = [one for one in self.views if one.name == view]
        rows = differs.frame.where(is_kind(view, INSERT) | is_kind(view, UPDATE))
        return write_unchanged(rows, self.address, of, owner=self.input.writes_as(of), as_of=self.as_of)


def against_store(expected: DataFrame, address: Address, views: Sequence[StreamView], upto: Consumed) -> DataFrame:
    """Keys whose values are not what a recount says, as `COMPARED`: `was` is what the store has, as it has it."""
    parts = []
    for view in views:
        now = expected.where(F.col("view") == view.name).select("item_key", "value")
        was = stored_values(expected.sparkSession, address, view.name).withColumnRenamed("value", "was")
        both = now.join(was, on="item_key", how="full")
        parts.append(both.mapInArrow(partial(compare, view=view, upto=upto), COMPARED))
    return reduce(DataFrame.unionByName, parts)


def compare(parts: Iterable[pa.RecordBatch], view: StreamView, upto: Consumed) -> Iterator[pa.RecordBatch]:
    """Rows that differ in more than which micro-batches their events came by."""
    for part in parts:
        rows = part.to_pydict()
        state = settled_states(view, unpack_states(view, rows["was"]), run=upto.run, batch=upto.batch)
        there = np.array([value is not None for value in rows["was"]], bool)
        stored = dict(pack_states(view, rows["item_key"], state, there, as_of=0))
        kinds = [difference(stored.get(key), now) for key, now in zip(rows["item_key"], rows["value"], strict=True)]
        columns = {"view": [view.name] * len(kinds), **rows, "difference": kinds}
        whole_part = pa.RecordBatch.from_pydict(columns, COMPARED_SCHEMA)
        yield whole_part.filter(pa.array([kind is not None for kind in kinds], pa.bool_()))


def keys_about(events: DataFrame, of: EventRows) -> DataFrame:
    """The keys that events are about, in each view."""

    def keys(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            for name, found in storable(part.to_pandas(), of.views)[1].keys.items():
                yield pa.RecordBatch.from_pydict({"view": [name] * len(found), "item_key": found})

    where = [name for name in of.names if name not in OF_EVENTS]
    return events.select(*where).distinct().mapInArrow(keys, KEYS).distinct()


def write_unchanged(rows: DataFrame, address: Address, view: StreamView, *, owner: str, as_of: int) -> int:
    """Write the values of rows of `COMPARED` where the store still has what it had; returns how many."""

    def unchanged(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            rows = part.to_pydict()
            present = asyncio.run(read_keys(address, view.name, rows["item_key"])).to_pydict()
            values = dict(zip(present["item_key"], present["value"], strict=True))
            same = [values.get(key) == was for key, was in zip(rows["item_key"], rows["was"], strict=True)]
            yield part.filter(pa.array(same, pa.bool_())).select(["item_key", "value"])

    # Read under the lease: this is computed as it is written.
    present = rows.select("item_key", "value", "was").mapInArrow(unchanged, STORED)
    outcome = write_leased(present, address, view, owner=owner, as_of=as_of)
    for key, reason in outcome.failed:
        log.warning("view %s: the store refuses the value of %r: %s", view.name, key, reason)
    return outcome.written
