"""The direct lane in one process: logged, written, logged, and landed; and what a death in between leaves to others."""

import asyncio
import os
from pathlib import Path

import orjson
import pytest

from online.codec import Codec
from online.direct import log, writer
from online.direct.log import LogError, Segment
from online.direct.order import Order
from online.direct.replay import adopt_all
from online.direct.wanted import Wanted
from online.direct.write import OrderedValue, Stale, boot_time, write_values
from online.direct.writer import Busy, DirectWriter
from online.items import binary, read_items
from online.wire import StoreError
from tests.online.direct.conftest import VIEWS, key_of, stored, value


def lines_in(folder, pattern):
    return [
        orjson.loads(line) for file in sorted(Path(folder).glob(pattern)) for line in file.read_bytes().splitlines()
    ]


async def write(client, where, *values, transactions=True):
    async with DirectWriter(client, where, lambda: VIEWS, transactions=transactions) as lane:
        return await lane.write(values)


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

    assert [type(one.result) for one in told] == [Stale, type(None), type(None), type(None)]
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
        async with DirectWriter(client, where, lambda: VIEWS, transactions=True) as lane:
            await lane.write([value("d0", 1, 0.5)])
            before = client.requests
            await asyncio.gather(*(lane.write([value(f"d{i}", 1, 0.5)]) for i in range(300)))
            return client.requests - before

    assert store.run(story) <= 16  # of 600, had each come by itself


@pytest.mark.parametrize("at", ["before the intents", "after the intents", "after the write", "after the outcomes"])
def test_a_death_at_any_moment_is_mended_by_whoever_finds_the_log(store, where, at, monkeypatch):
    """The segment's file is left as the dead process left it, and its lock is gone with the process."""

    async def die_at(client):
        lane = DirectWriter(client, where, lambda: VIEWS, transactions=True)
        appended = []
        append = Segment.append

        def append_or_die(self, lines):
            if at == "before the intents":
                raise LogError("dead")
            append(self, lines)
            appended.append(1)
            if len(appended) == {"after the intents": 1, "after the outcomes": 2}.get(at):
                raise LogError("dead")

        async def write_or_die(*arguments, **options):
            results = await write_values(*arguments, **options)
            if at == "after the write":
                raise StoreError("Unreachable", "dead")
            return results

        with monkeypatch.context() as dying:
            dying.setattr(Segment, "append", append_or_die)
            dying.setattr(writer, "write_values", write_or_die)
            group = [Wanted(value("d1", 10, 0.1), asyncio.get_running_loop().create_future())]
            await lane._write_group(group)
            with pytest.raises((LogError, StoreError)):
                await group[0].done
        for left in lane._left:
            left.segment.close()
        before = await stored(client, "d1")
        failures = await adopt_all(client, VIEWS, where, transactions=True)
        return before, await stored(client, "d1"), failures

    before, after, failures = store.run(die_at)
    landed = lines_in(where.landing, "direct_writes/*.jsonl")

    assert failures == []
    assert bool(before) == (at in {"after the write", "after the outcomes"})
    assert len(after) == len(landed) == (at != "before the intents")
    assert [(one.occurred_at, one.revision) for _, one in after.values()] == [(10, one["revision"]) for one in landed]
    assert list(where.folder.iterdir()) == []


def test_a_replay_does_not_put_an_older_value_over_a_newer_one(store, where):
    async def story(client):
        segment = Segment.begin(where.folder)
        intent = log.Intent(
            number=0, view="relevance", keys={"document_id": "d1"}, occurred_at=10, revision=1, values={"score": 0.1},
            accepted_at=10,
        )  # fmt: skip
        segment.append([intent.to_line()])
        await write(client, where, value("d1", 10, 0.9))  # while the segment is still held
        segment.close()
        await adopt_all(client, VIEWS, where, transactions=True)
        return await stored(client, "d1")

    found = store.run(story)

    assert found["d1"][0] == 0.9
    assert [one["values"]["score"] for one in lines_in(where.landing, "direct_writes/*.jsonl")] == [0.9]


def test_a_last_line_that_was_cut_off_says_nothing_and_one_in_the_middle_stops_the_log(store, where):
    async def story(client):
        await write(client, where, value("d1", 10, 0.1))
        whole = Segment.begin(where.folder)
        intent = log.Intent(
            number=0, view="relevance", keys={"document_id": "d2"}, occurred_at=10, revision=1, values={"score": 0.2},
            accepted_at=10,
        ).to_line()  # fmt: skip
        whole.append([intent, intent[:-9]])
        whole.close()
        damaged = where.folder / "damaged.log"
        damaged.write_bytes(b'{"numb\n' + intent)
        failures = await adopt_all(client, VIEWS, where, transactions=True)
        return failures, await stored(client, "d1", "d2")

    [failure], found = store.run(story)

    assert set(found) == {"d1", "d2"}
    assert "damaged.log, line 1: damaged" in failure
    assert [file.name for file in where.folder.iterdir()] == ["damaged.log"]


def test_a_segment_that_is_written_to_is_nobodys_to_adopt(store, where):
    async def story(client):
        async with DirectWriter(client, where, lambda: VIEWS, transactions=True) as lane:
            await lane.write([value("d1", 10, 0.1)])
            failures = await adopt_all(client, VIEWS, where, transactions=True)
            return failures, lines_in(where.landing, "direct_writes/*.jsonl"), len(list(where.folder.iterdir()))

    assert store.run(story) == ([], [], 1)


def test_a_store_that_is_away_leaves_the_write_to_a_later_replay(store, where, monkeypatch):
    async def story(client):
        async def refuse(*_, **__):
            raise StoreError("Unreachable", "no answer")

        with monkeypatch.context() as away:
            away.setattr(writer, "write_values", refuse)
            with pytest.raises(StoreError, match="no answer"):
                await write(client, where, value("d1", 10, 0.1))
        left = len(list(where.folder.iterdir()))
        await adopt_all(client, VIEWS, where, transactions=True)
        return left, await stored(client, "d1")

    left, found = store.run(story)

    assert left == 1
    assert found["d1"][0] == 0.1


def test_a_log_that_cannot_be_written_refuses_before_anything_is_written(store, tmp_path, where):
    (tmp_path / "log").write_bytes(b"a file where the folder should be")

    async def story(client):
        with pytest.raises(LogError, match="no log of direct writes can be begun"):
            await write(client, where, value("d1", 10, 0.1))
        return await stored(client, "d1")

    assert store.run(story) == {}


def test_a_full_disk_is_told_and_the_segment_takes_no_more(store, where, monkeypatch):
    async def story(client):
        async with DirectWriter(client, where, lambda: VIEWS, transactions=True) as lane:
            await lane.write([value("d1", 10, 0.1)])

            def full(*_):
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as without_space:
                without_space.setattr(os, "fdatasync", full)
                with pytest.raises(LogError, match="No space left"):
                    await lane.write([value("d2", 10, 0.2)])
            [told] = await lane.write([value("d3", 10, 0.3)])
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


def test_one_log_that_cannot_be_finished_keeps_no_other_from_it(store, where):
    """Written under a definition whose key was another column."""
    line = (
        b'{"number":0,"view":"relevance","keys":{"%b":"d1"},"occurred_at":"1970-01-01T00:00:00.000010Z","revision":1,"values":{"score":0.5},'
        b'"accepted_at":"1970-01-01T00:00:00.000010Z"}\n'
    )
    where.folder.mkdir()
    (where.folder / "a.log").write_bytes(line % b"other_id")
    (where.folder / "b.log").write_bytes(line % b"document_id")

    async def story(client):
        failures = await adopt_all(client, VIEWS, where, transactions=True)
        again = await adopt_all(client, VIEWS, where, transactions=True)  # its lock was given up
        return failures, again, await stored(client, "d1")

    failures, again, found = store.run(story)

    assert failures == again
    assert [one.partition(":")[0] for one in failures] == ["a.log"]
    assert found["d1"][0] == 0.5


def test_a_value_of_an_older_type_is_null(store, where):
    line = b'{"number":0,"view":"relevance","keys":{"document_id":"d1"},"occurred_at":"1970-01-01T00:00:00.000010Z","revision":1,'
    where.folder.mkdir()
    (where.folder / "a.log").write_bytes(
        line + b'"values":{"score":"high"},"accepted_at":"1970-01-01T00:00:00.000010Z"}\n'
    )

    async def story(client):
        return await adopt_all(client, VIEWS, where, transactions=True), await stored_value(client, "d1")

    failures, value = store.run(story)

    assert failures == []
    assert Codec("relevance", VIEWS["relevance"].features).decode([value]).columns[0].valid.tolist() == [False]


async def stored_value(client, document):
    [item] = (await read_items(client, [key_of(document)], ["relevance"])).values()
    return binary(item, "relevance")


def test_a_write_that_waits_too_long_is_given_up(store):
    row = OrderedValue(view="relevance", item_key=key_of("d1"), value=b"x", order=Order(1, 1), sequence=1)

    async def story(client):
        with pytest.raises(StoreError, match="held up"):
            await write_values(client, [row], transactions=True, until=boot_time())
        return await stored(client, "d1")

    assert store.run(story) == {}


def test_more_than_can_wait_is_refused_at_once(store, where, monkeypatch):
    monkeypatch.setattr(writer, "VALUES_WAITING", 2)

    async def story(client):
        async with DirectWriter(client, where, lambda: VIEWS, transactions=True) as lane:
            with pytest.raises(Busy, match="0 values wait"):
                await lane.write([value(f"d{i}", 1, 0.1) for i in range(3)])
        return await stored(client, "d0")

    assert store.run(story) == {}
