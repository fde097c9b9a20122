"""Control items in a real store: who may push, and how far the last push came."""

import asyncio

import pytest

from tailrace.schemas.tables import Column, Type
from tailrace.store.control import Control, Cursor, LeaseLost
from tailrace.store.dynamodb.calls import KEY, control_key, read_items
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import StoreError
from tests.tailrace.store.conftest import Store

CURSOR = Cursor(table_id="7f3a", version=12, fingerprint="bc2bee73e2fd2b86")
FEATURES = (Column("views", Type.INT64, ""), Column("seen_at", Type.TIMESTAMP, ""), Column("owner", Type.STRING, ""))
WATERMARK = 1_772_355_600_000_000
NINE = 1_772_355_600.0


def at_nine():
    return NINE


def a_minute_later():
    return NINE + 60


async def close(client, *, sequence, cursor=CURSOR, watermark=WATERMARK, features=FEATURES):
    await DynamoStore(client).close_push(
        "visits", sequence=sequence, cursor=cursor, watermark=watermark, features=features
    )


async def take(client, *, owner, seconds=50, clock=at_nine):
    """Take a lease that is free."""
    taken = await DynamoStore(client).take_lease("visits", owner=owner, seconds=seconds, clock=clock)
    assert taken is not None
    return taken


async def control(client):
    return (await DynamoStore(client).read_controls(["visits"]))["visits"]


def test_a_view_that_was_never_pushed_has_no_control_item(store):
    assert store.run(lambda client: DynamoStore(client).read_controls(["visits", "profile"])) == {}


def test_the_first_lease_finds_nothing(store):
    taken = store.run(lambda client: DynamoStore(client).take_lease("visits", owner="ada", seconds=5))

    assert taken == Control(sequence=1, lease_owner="ada")


def test_sequences_of_a_new_control_item_come_after_those_of_a_lost_one(store, monkeypatch):
    monkeypatch.undo()

    async def lose_and_take(client):
        lost = await take(client, owner="ada")
        await client.call("DeleteItem", {"TableName": client.table, "Key": {KEY: {"S": control_key("visits")}}})
        return lost.sequence, (await take(client, owner="bob", clock=a_minute_later)).sequence

    assert store.run(lose_and_take) == (NINE * 1000 + 1, NINE * 1000 + 60_001)


def test_taking_the_lease_sets_owner_and_end_and_no_open_mark(store):
    async def take_and_read(client):
        await take(client, owner="ada", seconds=50)
        return await control(client)

    found = store.run(take_and_read)

    assert (found.sequence, found.open, found.lease_owner, found.cursor) == (1, False, "ada", None)
    assert found.lease_until == NINE + 50


def test_the_newest_sequence_is_read_and_a_view_never_pushed_has_none(store):
    async def take_and_read(client):
        await take(client, owner="ada", seconds=-1)
        await take(client, owner="bob")
        return await DynamoStore(client).read_sequence("visits"), await DynamoStore(client).read_sequence("profile")

    assert store.run(take_and_read) == (2, None)


def test_a_lease_is_refused_while_another_holds_it(store):
    async def take_twice(client):
        await DynamoStore(client).take_lease("visits", owner="ada", seconds=50)
        refused = await DynamoStore(client).take_lease("visits", owner="bob", seconds=50)
        return refused, await control(client)

    refused, found = store.run(take_twice)

    assert refused is None
    assert (found.sequence, found.lease_owner) == (1, "ada")


def test_a_lease_is_taken_after_it_ended_and_the_sequence_rises(store):
    async def take_after_expiry(client):
        await take(client, owner="ada", seconds=60)
        early = await DynamoStore(client).take_lease("visits", owner="bob", seconds=5, clock=a_minute_later)
        return early, await take(client, owner="bob", clock=lambda: NINE + 60.001)

    early, taken = store.run(take_after_expiry)

    assert early is None
    assert (taken.sequence, taken.open, taken.lease_owner) == (2, False, "bob")


def test_of_many_who_ask_at_once_one_gets_the_lease(store):
    async def race(client):
        asked = (DynamoStore(client).take_lease("visits", owner=f"push-{number}", seconds=50) for number in range(12))
        return await asyncio.gather(*asked)

    taken = [one for one in store.run(race) if one is not None]

    assert [(one.sequence, one.open, one.cursor) for one in taken] == [(1, False, None)]


def test_leases_of_two_views_do_not_touch_each_other(store):
    async def take_both(client):
        one = await DynamoStore(client).take_lease("visits", owner="ada", seconds=50)
        return one, await DynamoStore(client).take_lease("profile", owner="bob", seconds=50)

    assert store.run(take_both) == (Control(sequence=1, lease_owner="ada"), Control(sequence=1, lease_owner="bob"))


@pytest.mark.parametrize(
    "step",
    [
        lambda client: DynamoStore(client).declare_push("visits", sequence=1, owner="bob"),
        lambda client: DynamoStore(client).raise_sequence("visits", sequence=1, to=9, owner="bob"),
        lambda client: DynamoStore(client).close_push(
            "visits", sequence=1, cursor=None, watermark=5, features=(), owner="bob"
        ),
    ],
    ids=["declare", "raise", "close"],
)
def test_one_sequence_in_two_hands_is_that_of_the_owner(store, step):
    async def act(client):
        await DynamoStore(client).take_lease("visits", owner="ada", seconds=50)
        before = await control(client)
        with pytest.raises(LeaseLost):
            await step(client)
        return before, await control(client)

    before, after = store.run(act)

    assert before == after


def test_a_push_that_does_not_know_what_is_open_sets_the_mark_alone(store):
    async def declare(client):
        await DynamoStore(client).take_lease("visits", owner="ada", seconds=50)
        await DynamoStore(client).declare_push("visits", sequence=1, owner="ada", known=False)
        return await control(client)

    found = store.run(declare)

    assert (found.open, found.declared) == (True, None)


def test_ones_own_lease_is_taken_again_under_a_new_sequence(store):
    async def take_again(client):
        await DynamoStore(client).take_lease("visits", owner="ada", seconds=50)
        return await DynamoStore(client).take_lease("visits", owner="ada", seconds=50)

    assert store.run(take_again).sequence == 2


def test_closing_moves_cursor_and_watermark_and_gives_the_lease_up(store):
    async def push_and_read(client):
        taken = await take(client, owner="ada", seconds=50)
        await DynamoStore(client).declare_push("visits", sequence=taken.sequence, owner="ada")
        await close(client, sequence=taken.sequence)
        return await control(client)

    assert store.run(push_and_read) == Control(
        sequence=1,
        open=False,
        declared=1,
        declared_by="ada",
        closed=1,
        cursor=CURSOR,
        watermark=WATERMARK,
        features=FEATURES,
        lane="batch",
        lease_owner="ada",
        lease_until=0.0,
    )


def test_the_next_lease_finds_what_the_last_push_closed_with(store):
    async def push_twice(client):
        taken = await take(client, owner="ada", seconds=50)
        await close(client, sequence=taken.sequence)
        return await DynamoStore(client).take_lease("visits", owner="bob", seconds=50)

    found = store.run(push_twice)

    assert (found.sequence, found.open, found.cursor, found.watermark) == (2, False, CURSOR, WATERMARK)
    assert found.features == FEATURES


def test_the_open_mark_of_a_push_that_died_is_found_with_the_older_cursor(store):
    async def die_after_declaring(client):
        taken = await take(client, owner="ada", seconds=50)
        await close(client, sequence=taken.sequence)
        dying = await take(client, owner="bob", seconds=50)
        await DynamoStore(client).declare_push("visits", sequence=dying.sequence, owner="bob")
        return await take(client, owner="cyd", clock=a_minute_later)

    found = store.run(die_after_declaring)

    assert (found.sequence, found.open, found.closed, found.cursor) == (3, True, 1, CURSOR)
    assert (found.declared, found.declared_by) == (2, "bob")


@pytest.mark.parametrize(
    "late",
    [
        close,
        lambda client, sequence: DynamoStore(client).renew_lease("visits", sequence=sequence, seconds=9),
        lambda client, sequence: DynamoStore(client).declare_push("visits", sequence=sequence, owner="ada"),
    ],
    ids=["close", "renew", "declare"],
)
def test_who_lost_the_lease_changes_nothing_any_more(store, late):
    async def lose(client):
        old = await take(client, owner="ada", seconds=50)
        await take(client, owner="bob", clock=a_minute_later)
        before = await control(client)
        with pytest.raises(LeaseLost, match=r"^view visits: another push took over from sequence 1$"):
            await late(client, sequence=old.sequence)
        return before, await control(client)

    before, after = store.run(lose)

    assert before == after


def test_a_lease_of_a_lost_store_cannot_be_closed(store):
    async def close_nothing(client):
        with pytest.raises(LeaseLost):
            await close(client, sequence=1)
        return await DynamoStore(client).read_controls(["visits"])

    assert store.run(close_nothing) == {}


def test_renewing_puts_the_end_off_and_zero_gives_up_with_the_mark_left_open(store):
    async def renew(client):
        taken = await take(client, owner="ada", seconds=1)
        await DynamoStore(client).declare_push("visits", sequence=taken.sequence, owner="ada")
        await DynamoStore(client).renew_lease("visits", sequence=taken.sequence, seconds=100, clock=a_minute_later)
        renewed = await control(client)
        await DynamoStore(client).renew_lease("visits", sequence=taken.sequence, seconds=0)
        return renewed, await control(client)

    renewed, given_up = store.run(renew)

    assert renewed.lease_until == NINE + 160
    assert (given_up.lease_until, given_up.open, given_up.sequence) == (0.0, True, 1)


def test_a_control_item_holds_nothing_but_its_key_and_what_it_says(store):
    async def push(client):
        await DynamoStore(client).take_lease("visits", owner="ada", seconds=1)
        await DynamoStore(client).declare_push("visits", sequence=1, owner="ada")
        await close(client, sequence=1)
        answer = await client.call("Scan", {"TableName": client.table})
        return answer["Items"], await read_items(client, [control_key("visits")], ["open"])

    [item], found = store.run(push)

    assert item[KEY] == {"S": "#control|visits"}
    assert set(item) == {
        *(
            KEY,
            "sequence",
            "open",
            "declared",
            "declared_by",
            "closed",
            "cursor",
            "watermark",
            "lane",
            "lease_owner",
            "lease_until",
            "features",
        ),
    }
    assert found["#control|visits"]["open"] == {"BOOL": False}


def test_a_store_without_its_table_is_an_error_and_not_a_lease_that_is_held(running):
    with pytest.raises(StoreError, match="ResourceNotFoundException"):
        Store(running.url, "no-such-table").run(
            lambda client: DynamoStore(client).take_lease("visits", owner="a", seconds=1)
        )
