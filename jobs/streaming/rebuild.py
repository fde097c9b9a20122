"""Write the stream's views anew from bronze: into a store that lost them, after a checkpoint was lost, or some keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts import bronze
from features.language import STREAM, FeatureView
from jobs.bronze.batches import LandingError
from jobs.streaming.micro_batch import check
from jobs.streaming.recount import counting, states, streamed_events, tasks_for
from jobs.streaming.taken import Taken, taken
from jobs.streaming.values import settled
from lake.held import held
from lake.tables import Lake
from online.control import close_push
from sinks.lease import leased, with_client
from sinks.rows import Address, Outcome, Sequenced
from sinks.writer import write_changes


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a stream follows: Kafka, or the landing feed in `folder`; and where its checkpoint is."""

    kafka: bool
    folder: str
    checkpoint: Path

    def taken(self) -> Taken:
        """Up to where the stream has come; raises `LandingError` where it follows something else."""
        found = taken(self.checkpoint, folder=self.folder)
        if found.batch >= 0 and self.kafka != bool(found.topic):
            follows = (
                f"the topic {found.topic}; set TAILRACE_KAFKA" if found.topic else "a folder; unset TAILRACE_KAFKA"
            )
            raise LandingError(f"the stream of {self.checkpoint} follows {follows} as it was when the stream ran")
        return found


def recounted(lake: Lake, views: Sequence[FeatureView], events: DataFrame, upto: Taken, *, as_of: int) -> DataFrame:
    """The values that the stream should have written by its last micro-batch, as `recount.STATES`."""
    finish = partial(settled, run=upto.run, batch=upto.batch)
    counted = counting(events, views, since=as_of, until=as_of)
    return states(counted, views, tasks=tasks_for(lake), finish=finish)


def rebuild_stream(
    lake: Lake, address: Address, views: Sequence[FeatureView], source: Source, *, as_of: int
) -> dict[str, int]:
    """Write all values of a stream that does not run, and bronze being up to date; returns how many of each view.

    Where the checkpoint is lost, all of bronze is counted: the stream that begins anew knows its events again by their
    ids. `as_of` is when bronze began to be brought up to date, in microseconds.
    """
    if not lake.exists(bronze.EVENTS):
        return dict.fromkeys((view.name for view in views), 0)
    upto, events = source.taken(), streamed_events(lake, kafka=source.kafka)
    if upto.ends:
        events, _ = upto.split(events)
        as_of = upto.at
    with held(recounted(lake, views, events, upto, as_of=as_of)) as rows:
        return {
            view.name: write(address, view, rows.frame.where(F.col("view") == view.name), as_of=as_of).written
            for view in views
        }


def write(address: Address, view: FeatureView, rows: DataFrame, *, as_of: int) -> Outcome:
    """Write rows `item_key, value`, which hold as of a time, under a lease of their own; a running stream waits for it."""
    with leased(address, view.name, seconds=address.lease_seconds, lane=STREAM, keep_cursor=False) as control:
        push = Sequenced(view=view.name, sequence=control.sequence, lease_seconds=address.lease_seconds)
        outcome = write_changes(rows, address, push)
        check(view, outcome)
        watermark = max(as_of, control.watermark or 0)
        with_client(
            address,
            lambda client: close_push(
                client, view.name, sequence=push.sequence, cursor=None, watermark=watermark, features=view.features
            ),
        )
    return outcome
