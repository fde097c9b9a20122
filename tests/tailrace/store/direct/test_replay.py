"""What dead processes left in the log, and how others finish it."""

import asyncio

import pytest

from tailrace.store.codec import Codec
from tailrace.store.direct import log
from tailrace.store.direct.log import LogError, Segment
from tailrace.store.direct.pending import Pending
from tailrace.store.direct.replay import adopt_all
from tailrace.store.direct.sender import Sender
from tailrace.store.direct.writer import DirectWriter
from tailrace.store.dynamodb.calls import binary, read_items
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import StoreError
from tests.tailrace.store.direct.conftest import VIEWS, key_of, lines_in, stored, value, write


@pytest.mark.parametrize("at", ["before the intents", "after the intents", "after the write", "after the outcomes"])
def test_a_death_at_any_moment_is_mended_by_whoever_finds_the_log(store, where, at, monkeypatch):
    """The segment's file is left as the dead process left it, and its lock is gone with the process."""

    async def die_at(client):
        lane = DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=True)
        appended = []
        append, write_values = Segment.append, Sender.write

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
            dying.setattr(Sender, "write", write_or_die)
            group = [Pending(value("d1", 10, 0.1), asyncio.get_running_loop().create_future())]
            await lane._write_group(group)
            with pytest.raises((LogError, StoreError)):
                await group[0].done
        for left in lane._left:
            left.segment.close()
        before = await stored(client, "d1")
        failures = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
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
        await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
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
        failures = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
        return failures, await stored(client, "d1", "d2")

    [failure], found = store.run(story)

    assert set(found) == {"d1", "d2"}
    assert "damaged.log, line 1: damaged" in failure
    assert [file.name for file in where.folder.iterdir()] == ["damaged.log"]


def test_a_segment_that_is_written_to_is_nobodys_to_adopt(store, where):
    async def story(client):
        async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=True) as lane:
            await lane.write([value("d1", 10, 0.1)])
            failures = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
            return failures, lines_in(where.landing, "direct_writes/*.jsonl"), len(list(where.folder.iterdir()))

    assert store.run(story) == ([], [], 1)


def test_a_store_that_is_away_leaves_the_write_to_a_later_replay(store, where, monkeypatch):
    async def story(client):
        async def refuse(*_, **__):
            raise StoreError("Unreachable", "no answer")

        with monkeypatch.context() as away:
            away.setattr(Sender, "write", refuse)
            with pytest.raises(StoreError, match="no answer"):
                await write(client, where, value("d1", 10, 0.1))
        left = len(list(where.folder.iterdir()))
        await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
        return left, await stored(client, "d1")

    left, found = store.run(story)

    assert left == 1
    assert found["d1"][0] == 0.1


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
        failures = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
        again = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)  # its lock was given up
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
        return await adopt_all(DynamoStore(client), VIEWS, where, transactions=True), await stored_value(client, "d1")

    failures, value = store.run(story)

    assert failures == []
    assert Codec("relevance", VIEWS["relevance"].features).decode([value]).columns[0].valid.tolist() == [False]


async def stored_value(client, document):
    [item] = (await read_items(client, [key_of(document)], ["relevance"])).values()
    return binary(item, "relevance")
