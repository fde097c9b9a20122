"""A stream's watermark moves in a real store while nothing comes, and never against a micro-batch or another lane."""

import pytest

from tailrace.definitions import BATCH, STREAM
from tailrace.schemas.tables import Column, Type
from tailrace.store.dynamodb.store import DynamoStore

FEATURES = (Column("views", Type.INT64, ""),)
US = "stream host/a"


async def micro_batch(client, *, watermark, lane=STREAM, owner=US, ends=True):
    taken = await DynamoStore(client).take_lease(
        "visits", owner=f"{owner} visits", seconds=50, lane=lane, keep_cursor=False
    )
    assert taken is not None
    if ends:
        await DynamoStore(client).close_push(
            "visits", sequence=taken.sequence, cursor=None, watermark=watermark, features=FEATURES
        )
    return taken.sequence


async def move(client, *, to, owner=US):
    moved = await DynamoStore(client).move_stream_watermark("visits", owner=owner, to=to)
    found = (await DynamoStore(client).read_controls(["visits"])).get("visits")
    return moved, found and found.watermark


def test_the_watermark_moves_while_nothing_comes_and_the_next_micro_batch_goes_on_from_it(store):
    async def idle(client):
        await micro_batch(client, watermark=100)
        moved = [await move(client, to=to) for to in (200, 300)]
        await micro_batch(client, watermark=400)
        return [*moved, await move(client, to=500)]

    assert store.run(idle) == [(True, 200), (True, 300), (True, 500)]


def test_a_request_that_is_late_changes_nothing(store):
    async def late(client):
        await micro_batch(client, watermark=100)
        await micro_batch(client, watermark=400)
        return await move(client, to=200)

    assert store.run(late) == (False, 400)


def test_a_running_micro_batch_is_left_alone_and_ends_as_if_nothing_had_been_asked(store):
    async def during(client):
        await micro_batch(client, watermark=100)
        sequence = await micro_batch(client, watermark=0, ends=False)
        moved = await move(client, to=200)
        await DynamoStore(client).close_push("visits", sequence=sequence, cursor=None, watermark=300, features=FEATURES)
        return moved, (await DynamoStore(client).read_controls(["visits"]))["visits"].watermark

    assert store.run(during) == ((False, 100), 300)


@pytest.mark.parametrize(("lane", "owner"), [(BATCH, US), (STREAM, "stream host/another"), (STREAM, f"{US}b")], ids=str)
def test_what_another_wrote_last_is_not_this_streams_to_vouch_for(store, lane, owner):
    async def of_another(client):
        await micro_batch(client, watermark=100, lane=lane, owner=owner)
        return await move(client, to=200)

    assert store.run(of_another) == (False, 100)


def test_a_view_whose_sequence_was_raised_waits_for_the_next_micro_batch(store):
    async def raised(client):
        sequence = await micro_batch(client, watermark=100)
        await DynamoStore(client).raise_sequence("visits", sequence=sequence, to=sequence + 5)
        return await move(client, to=200)

    assert store.run(raised) == (False, 100)


def test_before_the_first_micro_batch_there_is_nothing_to_move(store):
    assert store.run(lambda client: move(client, to=200)) == (False, None)
