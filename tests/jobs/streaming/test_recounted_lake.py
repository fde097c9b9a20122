"""The stream's views against bronze: compared and mended, written anew, and told of past moments."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import functions as F

from contracts import bronze, history, silver
from contracts.slots import from_micros, to_micros
from features.language.recent import MICROS_PER_MINUTE, rings_of
from jobs import backfill
from jobs.bronze import load
from jobs.streaming.rebuild import Source, rebuild_stream
from jobs.streaming.reconcile import reconcile_stream
from jobs.streaming.run import views_of
from jobs.streaming.values import unpacked
from online.items import KEY
from sinks.lease import with_client
from tests.jobs.streaming.folder_stream import event

pytestmark = pytest.mark.slow


class Lane:
    """A stream, and a lake that loads the same folder."""

    def __init__(self, stream, lake):
        self.stream, self.lake, self.views = stream, lake, views_of(stream.definitions)
        self.source = Source(kafka=False, folder=str(stream.folder / "events"), checkpoint=Path(stream.checkpoint))

    def load(self):
        load.run(self.lake, str(self.stream.folder), now=datetime.now(UTC))

    def reconcile(self, *, repair=False):
        done = reconcile_stream(self.lake, self.stream.address, self.views, self.source, load=self.load, repair=repair)
        return {name: (one.compared, one.missing, one.ghost, one.different, one.repaired) for name, one in done.items()}

    def rebuild(self):
        now = to_micros(datetime.now(UTC))
        self.load()
        return rebuild_stream(self.lake, self.stream.address, self.views, self.source, as_of=now)

    def counts(self):
        pair = self.stream.value("pairs", "actor+document|2:u12:d1")
        return pair["opens_15m"], *self.stream.value("documents", "document|2:d1").values()

    def forget(self, key, view):
        request = {"TableName": self.stream.address.table, "Key": {KEY: {"S": key}}}
        request |= {"UpdateExpression": "REMOVE #v", "ExpressionAttributeNames": {"#v": view}}
        with_client(self.stream.address, lambda client: client.call("UpdateItem", request))

    def lose_store(self):
        request = {"TableName": self.stream.address.table}
        with_client(self.stream.address, lambda client: client.call("DeleteTable", request))


@pytest.fixture
def lane(stream, lake):
    return Lane(stream, lake)


def test_what_differs_is_found_and_mended_though_the_stream_has_more_to_take(lane):
    opened_long_before = event(7, "u2", minutes_ago=300)
    lane.stream.land(opened_long_before, event(1), event(2, "u2", type="edit"), event(1))
    lane.stream.land(event(3, "u3", minutes_ago=200), event(8, "u3", minutes_ago=400))
    lane.stream.run()
    assert lane.reconcile() == {"pairs": (3, 0, 0, 0, 0), "documents": (1, 0, 0, 0, 0)}

    lane.forget("actor+document|2:u22:d1", "pairs")
    lane.forget("document|2:d1", "documents")
    assert lane.reconcile() == {"pairs": (3, 1, 0, 0, 0), "documents": (1, 1, 0, 0, 0)}
    lane.stream.land(event(4, "u3"))  # the stream has not taken it: its pair and its document are left alone
    assert lane.reconcile(repair=True) == {"pairs": (3, 1, 0, 0, 1), "documents": (1, 0, 0, 0, 0)}

    lane.stream.run()
    # The document began anew with the last event; all of it is written again.
    assert lane.reconcile(repair=True) == {"pairs": (3, 0, 0, 0, 0), "documents": (1, 0, 0, 1, 1)}
    assert lane.counts() == (1, 3, 3)
    assert lane.reconcile() == {"pairs": (3, 0, 0, 0, 0), "documents": (1, 0, 0, 0, 0)}
    lane.stream.land(event(1), event(2, "u2"), event(5))
    lane.stream.run()
    assert lane.counts() == (2, 4, 3)


def test_a_store_or_a_checkpoint_that_is_lost_comes_back_and_every_event_counts_once(lane):
    lane.stream.land(event(1), event(2, "u2"), event(3, minutes_ago=3))
    lane.stream.run()
    before = lane.counts()

    lane.lose_store()
    lane.stream.land(event(4))
    assert lane.rebuild() == {"pairs": 2, "documents": 1}
    assert lane.counts() == before == (2, 3, 2)
    lane.stream.run()
    assert lane.counts() == (3, 4, 2)

    lane.lose_store()
    shutil.rmtree(lane.stream.checkpoint)
    lane.stream.land(event(5, "u3"))
    assert lane.rebuild() == {"pairs": 3, "documents": 1}
    lane.stream.run()
    assert lane.counts() == (3, 5, 3)
    assert lane.reconcile() == {"pairs": (3, 0, 0, 0, 0), "documents": (1, 0, 0, 0, 0)}


def test_a_backfill_tells_of_every_moment_what_the_stream_would_have(lane):
    for number, ago in enumerate((2, 70, 14, 3, 61, 9)):
        lane.stream.land(event(number, f"u{number % 2}", minutes_ago=ago), event(0, "u0", minutes_ago=2))
    lane.load()
    for table in silver.TABLES:
        lane.lake.create(table)
    micros = (F.unix_micros(name).alias(name) for name in ("delivered_at", "occurred_at"))
    bronze_rows = lane.lake.read(bronze.EVENTS).select("event_id", *micros).collect()
    landed = sorted({row.delivered_at for row in bronze_rows})
    times = [from_micros(landed[1]), datetime.now(UTC)]

    views = lane.stream.definitions.views
    for _ in range(2):
        done = backfill.run(lane.lake, lane.stream.definitions, views, times, id_="b", told=lambda _: None)
    assert {name: (one.times, one.done_before) for name, one in done.items()} == {"pairs": (0, 2), "documents": (0, 2)}

    told = lane.lake.read(history.table("documents")).where("item_key IS NOT NULL")
    values = told.orderBy("as_of").select("value", F.unix_micros("as_of").alias("at")).collect()
    assert [row.at for row in values] == landed[1:]
    for row in values:
        had = {one.event_id: one.occurred_at // MICROS_PER_MINUTE for one in bronze_rows if one.delivered_at <= row.at}
        oldest = row.at // MICROS_PER_MINUTE - 14
        assert recent_events(views["documents"], row.value, row.at) == sum(minute >= oldest for minute in had.values())


def recent_events(view, value, now):
    """The first window of a value at a moment, in microseconds."""
    state, ring = unpacked(view, [bytes(value)]), rings_of(view.aggregations)[0]
    buckets = [state[column.name] for column in ring.columns]
    return int(ring.value_at(state["_minute"], buckets, np.datetime64(now, "us"))[0])
