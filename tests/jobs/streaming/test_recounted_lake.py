"""The stream's views against bronze: compared and mended, written anew, and told of past moments."""

import base64
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyspark.errors import StreamingQueryException

from jobs import backfill
from jobs.bronze import load
from jobs.bronze.set_aside import FilesToExclude
from jobs.streaming import micro_batch, run
from jobs.streaming.checkpoint import Parked
from jobs.streaming.event_rows import EventRows
from jobs.streaming.fast_path import unpack_states
from jobs.streaming.repair import COMPARED, RecountSource, StreamInput, write_unchanged
from jobs.streaming.source import Consumed
from sinks.reconcile import reconcile
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, rings_of
from tailrace.lake.session import small_frame
from tailrace.schemas import view_tables
from tailrace.schemas.slots import to_micros
from tailrace.store.address import read_control
from tailrace.store.dynamodb.calls import KEY
from tailrace.store.dynamodb.store import ensure_table
from tests import feeds
from tests.jobs.streaming.folder_stream import event
from tests.store_client import with_client
from tests.tailrace.lake.copies import copied

NEARLY_FULL = 409_400  # bytes, of the 400 KB that an item may have

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Lane:
    """A stream, and a lake that loads the same folder."""

    def __init__(self, stream, lake):
        self.stream, self.lake = stream, lake
        self.source = StreamInput(
            rows=EventRows.of(stream.definitions),
            topic=None,
            folder=str(stream.folder / "events"),
            checkpoint=Path(stream.checkpoint),
        )

    def load(self):
        return load.run(self.lake, feeds.intake(self.stream.folder), now=datetime.now(UTC))

    def recount(self, load=None):
        return RecountSource(lake=self.lake, address=self.stream.address, input=self.source, load=load or self.load)

    def reconcile(self, *, repair=False, load=None):
        done = reconcile(self.recount(load), repair=repair)
        return {name: (one.compared, one.missing, one.ghost, one.different, one.repaired) for name, one in done.items()}

    def rebuild(self):
        return self.recount().write_all()

    def run_and_die(self, monkeypatch):
        """Have the stream die between the pairs and the documents."""
        with monkeypatch.context() as patched:

            def die(parts, batch):
                raise RuntimeError("killed")

            patched.setattr(micro_batch, "fold_rollups", die)
            with pytest.raises(Exception, match="killed"):
                self.stream.run()

    def counts(self):
        pair = self.stream.value("pairs", "actor+document|2:u12:d1")
        return pair["opens_15m"], *self.stream.value("documents", "document|2:d1").values()

    def forget(self, key, view):
        request = {"TableName": self.stream.address.table, "Key": {KEY: {"S": key}}}
        request |= {"UpdateExpression": "REMOVE #v", "ExpressionAttributeNames": {"#v": view}}
        with_client(self.stream.address, lambda client: client.call("UpdateItem", request))

    def fatten(self, key, size):
        """Give an item another attribute, of so many bytes."""
        request = {"TableName": self.stream.address.table, "Key": {KEY: {"S": key}}}
        request |= {"UpdateExpression": "SET fat = :fat"}
        request |= {"ExpressionAttributeValues": {":fat": {"B": base64.b64encode(bytes(size)).decode()}}}

        async def fatten(client):
            await ensure_table(client)
            await client.call("UpdateItem", request)

        with_client(self.stream.address, fatten)

    def parked(self):
        return [(one.view, one.key) for one in Parked(self.source.checkpoint).keys]

    def lose_store(self):
        request = {"TableName": self.stream.address.table}
        with_client(self.stream.address, lambda client: client.call("DeleteTable", request))

    def watermark(self):
        control = read_control(self.stream.address, "documents")
        assert control
        return control.watermark


@pytest.fixture
def lane(stream, empty_tables, lake):
    return Lane(stream, copied(empty_tables, lake))


def test_what_differs_is_found_and_mended_while_the_stream_goes_on(lane):
    opened_long_before = event(7, "u2", minutes_ago=300)
    lane.stream.land(opened_long_before, event(1), event(2, "u2", type="edit"))
    lane.stream.land(event(3, "u3", minutes_ago=200), event(8, "u3", minutes_ago=400), event(1, minutes_ago=9))
    lane.stream.run()
    assert lane.reconcile() == {"pairs": (3, 0, 0, 0, 0), "documents": (1, 0, 0, 0, 0)}
    # A value that changed since it was compared stays.
    view, before = lane.stream.definitions.views["documents"], lane.counts()
    stale = small_frame(lane.lake.spark, [("documents", "document|2:d1", b"new", b"another", "update")], COMPARED)
    assert write_unchanged(stale, lane.stream.address, view, owner=lane.source.writes_as(view), as_of=1) == 0
    assert lane.counts() == before

    lane.forget("actor+document|2:u22:d1", "pairs")
    lane.forget("document|2:d1", "documents")
    assert lane.reconcile() == {"pairs": (3, 1, 0, 0, 0), "documents": (1, 1, 0, 0, 0)}
    lane.stream.land(event(4, "u3"))  # the stream has not consumed it: its document is left alone
    assert lane.reconcile(repair=True) == {"pairs": (3, 1, 0, 0, 1), "documents": (0, 0, 0, 0, 0)}

    lane.stream.run()
    # The document began anew with the last event; all of it is written again.
    assert lane.reconcile(repair=True) == {"pairs": (3, 0, 0, 0, 0), "documents": (1, 0, 0, 1, 1)}
    assert lane.counts() == (1, 3, 3)
    before = lane.watermark()
    later = datetime.now(UTC).timestamp() + 60
    run.move_watermarks(lane.stream.definitions, lane.stream.address, checkpoint=lane.stream.checkpoint, to=later)
    assert before < lane.watermark() == round(later * 1e6)

    def load_and_go_on():
        loaded = lane.load()
        if not lane.stream.landed > 3:
            lane.stream.land(event(5))
            lane.stream.run()  # it has what bronze has not yet
        return loaded

    assert lane.reconcile(repair=True, load=load_and_go_on) == {"pairs": (2, 0, 0, 0, 0), "documents": (0, 0, 0, 0, 0)}
    assert lane.counts() == (2, 4, 3)


def test_a_key_that_the_store_refuses_is_parked_and_taken_again_once_it_is_right_or_rebuilt(lane):
    pair, other, third = (f"actor+document|2:u{number}2:d{1 + number // 3}" for number in (1, 2, 3))
    document = ("documents", "document|2:d2")
    lane.fatten(pair, NEARLY_FULL)
    lane.fatten(document[1], NEARLY_FULL)
    lane.stream.land(event(1, minutes_ago=200), event(2, "u2"), event(3, "u3") | {"document_id": "d2"})
    lane.stream.run()
    assert lane.stream.keys("pairs") == {other, third}
    assert lane.stream.keys("documents") == {"document|2:d1"}
    assert sorted(lane.parked()) == [document, ("pairs", pair)]

    lane.fatten(pair, 1)
    lane.stream.land(event(4, minutes_ago=150))  # of the window that the first one is missing in
    lane.stream.run()
    assert lane.stream.keys("pairs") == {other, third}
    lane.stream.land(event(5, minutes_ago=2))
    lane.stream.run()
    assert lane.counts() == (1, 2, 2)
    assert lane.parked() == [document]

    assert lane.rebuild() == {"pairs": 3, "documents": 1}
    assert lane.parked() == [document]
    lane.fatten(document[1], 1)
    assert lane.rebuild() == {"pairs": 3, "documents": 2}
    assert lane.parked() == []
    assert lane.reconcile() == {"pairs": (3, 0, 0, 0, 0), "documents": (2, 0, 0, 0, 0)}


def test_a_store_or_a_checkpoint_that_is_lost_comes_back_and_every_event_counts_once(lane, monkeypatch):
    landed = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=30)
    lane.stream.land(event(1), event(2, "u2"), event(3, minutes_ago=3), at=landed)
    bad = lane.stream.land(event(9), event(10, "u9"), at=landed)
    lane.stream.run()
    assert lane.counts() == (3, 5, 3)

    lane.lose_store()
    lane.stream.land(event(4))
    with pytest.raises(StreamingQueryException, match="nothing of pairs, documents, though"):
        lane.stream.run()
    assert lane.rebuild() == {"pairs": 3, "documents": 1}
    assert lane.counts() == (3, 5, 3)
    assert lane.watermark() == to_micros(landed)
    lane.stream.run()
    assert lane.counts() == (4, 6, 3)

    # A file that is set aside is not counted again.
    aside = FilesToExclude((f"events/{bad.name}",), "never happened")
    load.run(lane.lake, feeds.intake(lane.stream.folder), now=datetime.now(UTC), aside=aside)
    assert lane.reconcile() == {"pairs": (2, 0, 1, 1, 0), "documents": (1, 0, 0, 1, 0)}
    assert lane.rebuild() == {"pairs": 2, "documents": 1}
    assert lane.reconcile() == {"pairs": (2, 0, 0, 0, 0), "documents": (1, 0, 0, 0, 0)}
    assert lane.counts() == (3, 4, 2)

    # What a micro-batch that was cut off has written goes with a rebuild, and is written again by its repetition.
    lane.stream.land(event(6, "u4"))
    lane.run_and_die(monkeypatch)
    assert lane.rebuild() == {"pairs": 2, "documents": 1}
    assert lane.stream.value("pairs", "actor+document|2:u42:d1") is None
    lane.stream.run()
    assert lane.counts() == (3, 5, 3)

    lane.lose_store()
    shutil.rmtree(lane.stream.checkpoint)
    lane.rebuild()
    # Nothing is consumed by the new stream yet: all keys are in motion, and none was compared.
    assert lane.reconcile() == {"pairs": (0, 0, 0, 0, 0), "documents": (0, 0, 0, 0, 0)}
    bad.unlink()
    lane.stream.run()
    assert lane.counts() == (3, 5, 3)


def test_offsets_before_the_end_of_a_topic_are_consumed_and_so_are_topics_of_before(lake):
    upto = Consumed(run=1, batch=1, topic="now", ends={"kafka:now/0": 5})
    lines = [("kafka:now/0", 4), ("kafka:now/0", 5), ("kafka:now/1", 0), ("kafka:next/0", 0), ("kafka:before/0", 9)]
    rows = small_frame(lake.spark, lines, "file string, line bigint")

    consumed, left = ({(row.file, row.line) for row in part.collect()} for part in upto.split(rows, topic="next"))

    assert consumed == {("kafka:now/0", 4), ("kafka:before/0", 9)}
    assert left == {*lines} - consumed


# Minutes ago: landed, happened; and who.
PAST = [(155, 160, "u0"), (150, 151, "u1"), (110, 112, "u0"), (20, 70, "u1"), (5, 14, "u0"), (4, 9, "u1"), (3, 3, "u0")]


def test_a_backfill_tells_of_every_moment_what_the_stream_would_have(lane):
    now = datetime.now(UTC).replace(microsecond=0)
    landed = [now - timedelta(minutes=ago) for ago, _, _ in PAST]
    for number, (_, ago, actor) in enumerate(PAST):
        lane.stream.land(event(number, actor, minutes_ago=ago), event(0, "u0", minutes_ago=160), at=landed[number])
    lane.load()
    for table in feeds.DEFINITIONS.silver_tables.values():
        lane.lake.create(table)

    views, figures = lane.stream.definitions.views, []
    for times in ([landed[1], landed[4]], [landed[1], landed[4], now], [landed[1], landed[4], now]):
        done = backfill.run(lane.lake, lane.stream.definitions, views, times, id_="b", progress=lambda _: None)
        figures.append([(one.times, one.done_before, one.recorded) for one in done.values()])
    assert figures == [[(2, 0, 5), (2, 0, 4)], [(1, 2, 2), (1, 2, 2)], [(0, 3, 0), (0, 3, 0)]]

    rows = lane.lake.read(view_tables.history_table("documents")).orderBy("as_of").collect()
    assert [row.as_of.astimezone(UTC) for row in rows if row.item_key is None] == times
    values = {row.as_of.astimezone(UTC): row.value for row in rows if row.item_key}
    assert list(values) == landed[1:]
    for at, value in values.items():
        had = [now - timedelta(minutes=ago) for moment, (_, ago, _) in zip(landed, PAST, strict=True) if moment <= at]
        oldest = to_micros(at) // MICROS_PER_MINUTE - 14
        counted = sum(to_micros(one) // MICROS_PER_MINUTE >= oldest for one in had)
        assert recent_events(views["documents"], value, to_micros(at)) == counted


def recent_events(view, value, now):
    """The first window of a value at a moment, in microseconds."""
    state, ring = unpack_states(view, [bytes(value)]), rings_of(view.aggregations)[0]
    buckets = [state[column.name] for column in ring.columns]
    return int(ring.value_at(state["_minute"], buckets, np.datetime64(now, "us"))[0])
