"""Write the stream's views anew from bronze: into a store that lost them, after a checkpoint was lost, or some keys."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.topic import PREFIX
from jobs.streaming.checkpoint import checkpoint_of, followed
from jobs.streaming.left_out import LeftOut
from jobs.streaming.micro_batch import refuse_stale
from jobs.streaming.parked import Parked
from jobs.streaming.recount import counting, states, streamed_events, tasks_for
from jobs.streaming.run import owner_of
from jobs.streaming.taken import Taken, taken
from jobs.streaming.values import settled
from sinks.lease import leased, with_store
from sinks.rebuild import clear
from sinks.rows import Address, Outcome, Sequenced
from sinks.writer import write_changes
from tailrace.definitions import STREAM, FeatureView
from tailrace.definitions.recent import MICROS_PER_MINUTE, MINUTES_AHEAD
from tailrace.lake.held import held
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError
from tailrace.settings import Settings
from tailrace.store.dynamodb.wire import PATIENCE_SECONDS
from tailrace.store.port import Store


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

    def writes_as(self, view: FeatureView) -> str:
        """An owner of a view's lease, of its own each time, whom the stream knows for one of its kind."""
        return f"{owner_of(str(self.checkpoint))} {view.name} anew {uuid.uuid4().hex}"


def recounted(lake: Lake, views: Sequence[FeatureView], events: DataFrame, upto: Taken, *, as_of: int) -> DataFrame:
    """The values that the stream should have written by its last micro-batch, as `recount.STATES`."""
    finish = partial(settled, run=upto.run, batch=upto.batch)
    counted = counting(events, views, since=as_of, until=as_of)
    return states(counted, views, tasks=tasks_for(lake), finish=finish)


def reached(events: DataFrame) -> int:
    """Up to when events hold what was appended, in microseconds: the earliest end of Kafka's partitions, a folder's last."""
    part = F.when(F.col("file").startswith(PREFIX), F.col("file"))
    ends = events.groupBy(part).agg(F.max("appended").alias("end"))
    return int(ends.agg(F.min("end")).collect()[0][0] or 0)


def rebuild_stream(lake: Lake, address: Address, views: Sequence[FeatureView], source: Source) -> dict[str, int]:
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
    with held(recounted(lake, views, events, upto, as_of=as_of)) as rows:
        for view in views:
            values = rows.frame.where(F.col("view") == view.name)
            outcome = write(address, view, values, owner=source.writes_as(view), as_of=as_of, alone=True)
            minute = as_of // MICROS_PER_MINUTE + MINUTES_AHEAD  # no event that was counted is of later
            parked.park(view.name, outcome, {key: minute for key, _ in outcome.failed})
            written[view.name] = outcome.written
    return written


def write(
    address: Address, view: FeatureView, rows: DataFrame, *, owner: str, as_of: int, alone: bool = False
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
