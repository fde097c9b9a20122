"""The direct lane in one process: logged, written, logged, and landed; and what a death in between leaves to others."""

import asyncio
import os
from pathlib import Path

import pytest

from tailrace.store.direct import log, writer
from tailrace.store.direct.log import LogError, Segment
from tailrace.store.direct.replay import adopt_all
from tailrace.store.direct.sender import Overwritten, Sender, Unknown
from tailrace.store.direct.writer import Busy, DirectWriter
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.lease import seconds_since_boot
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import Stale
from tests.tailrace.store.direct.conftest import VIEWS, key_of, lines_in, stored, value, write


@pytest.mark.parametrize("transactions", [True, False])
def test_values_are_written_in_the_order_of_their_times_and_then_of_their_coming(store, where, transactions):
    async def story(client):
        await write(client, where, value("d1", 10, 0.1), value("d2", 10, 0.2), transactions=transactions)
        told = await write(
            client,
            where,
            value("d1", 9, 0.3),
            value("d2", 10, 0.4),
            value("d1", 11, 0.5),
            value("d1", 11, 0.6),
            transactions=transactions,
        )
        return told, await stored(client, "d1", "d2")

    told, found = store.run(story)

    assert [type(one.result) for one in told] == [Stale, type(None), Overwritten, type(None)]
    assert told[0].result.stored.occurred_at == 10
    assert {document: score for document, (score, _) in found.items()} == {"d1": 0.6, "d2": 0.4}
    assert found["d1"][1] == told[3].order


def test_what_was_written_is_landed_once_and_what_was_kept_out_is_not(store, where):
    async def story(client):
        await write(client, where, value("d1", 10, 0.1), value("d2", 10, None))
        await write(client, where, value("d1", 9, 0.2), value("d3", 10, 0.3))

    store.run(story)
    landed = lines_in(where.landing, "direct_writes/*.jsonl")

    assert sorted((one["keys"]["document_id"], one["occurred_at"], one["values"]) for one in landed) == [
        ("d1", "1970-01-01T00:00:00.000010Z", {"score": 0.1}),
        ("d2", "1970-01-01T00:00:00.000010Z", None),
        ("d3", "1970-01-01T00:00:00.000010Z", {"score": 0.3}),
    ]
    assert list(where.folder.iterdir()) == []


def test_callers_that_come_together_share_requests_and_lines(store, where):
    async def story(client):
        async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=True) as lane:
            await lane.write([value("d0", 1, 0.5)])
            before = client.requests
            await asyncio.gather(*(lane.write([value(f"d{i}", 1, 0.5)]) for i in range(300)))
            return client.requests - before

    assert store.run(story) <= 16  # of 600, had each come by itself


def test_a_log_that_cannot_be_written_refuses_before_anything_is_written(store, tmp_path, where):
    (tmp_path / "log").write_bytes(b"a file where the folder should be")

    async def story(client):
        with pytest.raises(LogError, match="no log of direct writes can be begun"):
            await write(client, where, value("d1", 10, 0.1))
        return await stored(client, "d1")

    assert store.run(story) == {}


def test_a_full_disk_is_told_and_the_segment_takes_no_more(store, where, monkeypatch):
    async def story(client):
        async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=True) as lane:
            await lane.write([value("d1", 10, 0.1)])

            def full(*_):
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as without_space:
                without_space.setattr(os, "fdatasync", full)
                with pytest.raises(LogError, match="No space left"):
                    await lane.write([value("d2", 10, 0.2)])
                before = lane.takes_writes
            [told] = await lane.write([value("d3", 10, 0.3)])
            assert (before, lane.takes_writes) == (False, True)
        return told.result, await stored(client, "d1", "d2", "d3")

    result, found = store.run(story)

    assert result is None
    assert {"d1", "d3"} <= set(found)


def test_a_segment_that_was_taken_for_a_dead_one_while_it_was_begun_is_not_used(where, monkeypatch):
    taken: list[Path] = []

    def lock_late(descriptor):
        if not taken:  # an adopter was quicker, found nothing in it, and removed it
            [path] = where.folder.iterdir()
            taken.append(path)
            path.unlink()
        return real_lock(descriptor)

    real_lock = log.lock
    monkeypatch.setattr(log, "lock", lock_late)
    segment = Segment.begin(where.folder)

    assert segment.path.exists()
    assert segment.path != taken[0]


def test_a_write_that_waits_too_long_is_given_up(store):
    row = OrderedValue(view="relevance", item_key=key_of("d1"), value=b"x", order=Order(1, 1), sequence=1)

    async def story(client):
        results = await Sender(DynamoStore(client), transactions=True).write([row], until=seconds_since_boot())
        return results, await stored(client, "d1")

    [result], found = store.run(story)

    assert (type(result), result.why.code, found) == (Unknown, "TooLate", {})


def test_more_than_can_wait_is_refused_at_once(store, where, monkeypatch):
    monkeypatch.setattr(writer, "VALUES_WAITING", 2)

    async def story(client):
        async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=True) as lane:
            with pytest.raises(Busy, match="0 values wait"):
                await lane.write([value(f"d{i}", 1, 0.1) for i in range(3)])
        return await stored(client, "d0")

    assert store.run(story) == {}


def test_what_lands_says_when_it_was_acknowledged_and_a_log_of_an_earlier_version_lands_without(store, where):
    """An outcome of an earlier version names numbers alone."""
    earlier = (
        b'{"number":0,"view":"relevance","keys":{"document_id":"d2"},"occurred_at":"1970-01-01T00:00:00.000010Z","revision":1,'
        b'"values":{"score":0.2},"accepted_at":"1970-01-01T00:00:00.000010Z"}\n{"written":[0],"kept_out":[]}\n'
    )
    where.folder.mkdir()
    (where.folder / "earlier.log").write_bytes(earlier)

    async def story(client):
        await write(client, where, value("d1", 10, 0.1))
        return await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)

    failures = store.run(story)
    landed = {one["keys"]["document_id"]: one for one in lines_in(where.landing, "direct_writes/*.jsonl")}

    assert failures == []
    assert landed["d1"]["acknowledged_at"] >= landed["d1"]["accepted_at"] > "2026"
    assert "acknowledged_at" not in landed["d2"]
