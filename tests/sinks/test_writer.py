"""The writer against a real store, in both ways of writing: conditional, fenced by the lease, counted."""

import asyncio
from dataclasses import replace

import pytest

from sinks.store_values import write_changes
from tailrace.store.control import LeaseLost
from tailrace.store.dynamodb.calls import open_client, sequence_attribute, to_binary
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.port import TOMBSTONE
from tailrace.store.writer import Outcome
from tests.sinks.leased import PUSH, Table, leased_table, rows, stored, written

TOO_LARGE = ("k-too-large", b"x" * 410_000)


def test_a_row_is_written_as_value_and_sequence(with_table):
    async def action(table):
        return await table.write([("k1", b"one"), ("k2", b"two")]), await table.items()

    assert with_table(action) == (Outcome(written=2), {"k1": written(b"one"), "k2": written(b"two")})


def test_what_other_views_wrote_to_the_item_survives(with_table):
    others = {"profile": to_binary(b"theirs"), "profile#s": {"N": "9"}}

    async def action(table):
        await table.put("k1", **others, **written(b"old", sequence=4))
        await table.write([("k1", b"new")])
        return await table.items()

    assert with_table(action) == {"k1": others | written(b"new")}


@pytest.mark.parametrize("sequence", [1, 4, 5])
def test_a_value_that_is_not_newer_is_replaced(with_table, sequence):
    async def action(table):
        await table.put("k1", **written(b"old", sequence=sequence))
        return await table.write([("k1", b"new")]), await table.items()

    assert with_table(action) == (Outcome(written=1), {"k1": written(b"new")})


def test_newer_values_are_left_alone_while_the_rest_is_written(with_table):
    async def action(table):
        for key in ("k2", "k4"):
            await table.put(key, **written(b"newer", sequence=6))
        return await table.write([(f"k{number}", b"mine") for number in range(1, 6)]), await table.items()

    outcome, items = with_table(action)

    assert outcome == Outcome(written=3, stale=2)
    assert items == {
        **{key: written(b"mine") for key in ("k1", "k3", "k5")},
        **{key: written(b"newer", sequence=6) for key in ("k2", "k4")},
    }


def test_nothing_but_newer_values_writes_nothing(with_table):
    async def action(table):
        await table.put("k1", **written(b"newer", sequence=6))
        return await table.write([("k1", b"mine")]), await table.items()

    assert with_table(action) == (Outcome(stale=1), {"k1": written(b"newer", sequence=6)})


def test_the_sequence_of_another_view_is_no_obstacle(with_table):
    async def action(table):
        await table.put("k1", **{sequence_attribute("profile"): {"N": "99"}})
        return await table.write([("k1", b"mine")])

    assert with_table(action) == Outcome(written=1)


def test_a_lost_lease_stops_the_push_and_nothing_is_written(with_table):
    async def action(table):
        await DynamoStore(table.client).take_lease(PUSH.view, owner="me", seconds=60)
        with pytest.raises(LeaseLost, match=r"^view visits: another push took over from sequence 5$"):
            await table.write(rows(300))
        return await table.items()

    assert with_table(action) == {}


def test_a_lease_that_never_was_stops_the_push(with_table):
    async def action(table):
        with pytest.raises(LeaseLost, match="view profile"):
            await table.write([("k1", b"mine")], replace(PUSH, view="profile"))
        return await table.items()

    assert with_table(action) == {}


def test_a_renewal_under_way_does_not_stop_the_push(with_table):
    async def action(table):
        async def renew():
            for _ in range(20):
                await DynamoStore(table.client).renew_lease(PUSH.view, sequence=PUSH.sequence, seconds=60)

        outcome, _ = await asyncio.gather(table.write(rows(400)), renew())
        return outcome

    assert with_table(action) == Outcome(written=400)


def test_values_and_tombstones_and_stale_rows_are_counted_apart(with_table):
    async def action(table):
        await table.put("k2", **written(b"newer", sequence=6))
        await table.put("k4", **written(b"newer", sequence=6))
        await table.put("k3", **written(b"old", sequence=2))
        changes = [("k1", b"mine"), ("k2", b"mine"), ("k3", b""), ("k4", b""), ("k5", b""), ("k6", b"mine")]
        return await table.write(changes), await table.items()

    outcome, items = with_table(action)

    assert outcome == Outcome(written=2, removed=2, stale=2)
    assert items["k3"] == items["k5"] == written(b"")


def test_writing_the_same_again_changes_nothing(with_table):
    async def action(table):
        first = await table.write(rows(120))
        before = await table.items()
        return first, await table.write(rows(120)), before == await table.items()

    assert with_table(action) == (Outcome(written=120), Outcome(written=120), True)


def test_a_row_that_can_never_be_written_is_named_and_costs_the_others_nothing(with_table):
    async def action(table):
        return await table.write([*rows(150), TOO_LARGE, ("last", b"mine")]), await table.items()

    outcome, items = with_table(action)

    [(key, reason)] = outcome.failed
    assert (outcome.written, outcome.refused, key) == (151, 1, "k-too-large")
    assert reason.startswith("Validation")
    assert items == stored([*rows(150), ("last", b"mine")])


def test_many_rows_that_can_never_be_written_are_counted_and_the_first_are_named(with_table):
    async def action(table):
        empty_keys = [("", bytes([number])) for number in range(25)]
        return await table.write([*rows(10), *empty_keys]), await table.items()

    outcome, items = with_table(action)

    assert (outcome.written, outcome.refused) == (10, 25)
    assert [key for key, _ in outcome.failed] == [""] * 20
    assert items == stored(rows(10))


def test_rows_of_spark_are_written_and_counted_together(spark, writer_url, writes):
    async def prepare():
        async with leased_table(writer_url, writes) as table:
            await table.put("k3", **written(b"newer", sequence=6))
            return table.address

    async def read(address):
        async with open_client(url=writer_url, region=address.region, table=address.table) as client:
            return await Table(client, address).items()

    address = asyncio.run(prepare())
    changes = [("k1", b"one"), ("k2", None), ("k3", b"mine"), ("", b"no key")]
    frame = spark.createDataFrame(changes, "item_key string, value binary").repartition(3)

    outcome = write_changes(frame, address, PUSH)

    [(key, reason)] = outcome.failed
    counts = (outcome.written, outcome.removed, outcome.stale, outcome.bytes, outcome.refused)
    assert (counts, key, bool(reason)) == ((1, 1, 1, 3, 1), "", True)
    expected = {"k1": written(b"one"), "k2": written(TOMBSTONE), "k3": written(b"newer", sequence=6)}
    assert asyncio.run(read(address)) == expected
