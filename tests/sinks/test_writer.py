"""The writer against a real store, in both ways of writing: conditional, fenced by the lease, counted."""

import asyncio
from dataclasses import replace

import pyarrow as pa
import pytest

from online.codec import Codec, payload
from online.control import LeaseLost, renew_lease, take_lease
from online.items import binary, sequence_attribute, to_binary
from online.wire import open_store
from sinks.net_changes import REMOVE, WRITE
from sinks.rows import OUTCOME, Outcome
from sinks.writer import encode, write_batches
from tests.sinks.leased import FEATURES, PUSH, Table, leased_table, rows, stored, written

SCHEMA = pa.schema([("item_key", pa.string()), ("action", pa.string()), ("views", pa.int64()), ("owner", pa.string())])
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
        await take_lease(table.client, PUSH.view, owner="me", seconds=60)
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
                await renew_lease(table.client, PUSH.view, sequence=PUSH.sequence, seconds=60)

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


ROW = {"item_key": "k1", "action": WRITE, "views": 7, "owner": "ada"}


def batch_of(*changes):
    return pa.RecordBatch.from_pylist([ROW | change for change in changes], schema=SCHEMA)


def test_arrow_rows_become_keys_with_packed_values():
    batches = [batch_of({}, {"item_key": "k2", "views": None}), batch_of(), batch_of({"item_key": "k3", "owner": "ß"})]

    encoded = dict(encode(iter(batches), PUSH))

    decoded = Codec("visits", FEATURES).decode(list(encoded.values()))
    views, owner = decoded.columns
    assert list(encoded) == ["k1", "k2", "k3"]
    assert [v if ok else None for v, ok in zip(views.values, views.valid, strict=True)] == [7, None, 7]
    assert owner.values.tolist() == ["ada", "ada", "ß"]
    assert decoded.as_of.tolist() == [PUSH.as_of] * 3


def test_columns_are_found_by_name_in_any_order():
    batch = batch_of({})
    turned = batch.select(SCHEMA.names[::-1])

    assert list(encode([turned], PUSH)) == list(encode([batch], PUSH))


def test_a_removal_becomes_a_tombstone_whatever_its_features():
    removal = {"item_key": "k2", "action": REMOVE, "views": None, "owner": None}

    assert [value == b"" for _, value in encode([batch_of({}, removal)], PUSH)] == [False, True]


def test_a_row_of_nothing_but_nulls_is_a_value_and_no_tombstone():
    [(_, value)] = encode([batch_of({"views": None, "owner": None})], PUSH)

    assert payload(value)


@pytest.mark.parametrize("writes", ["transactions", "updates"])
def test_arrow_batches_are_written_and_answered_with_one_row_of_counts(writer_url, writes):
    async def prepare():
        async with leased_table(writer_url, writes) as table:
            await table.put("k3", **written(b"newer", sequence=6))
            return table.address

    async def read(address):
        async with open_store(url=writer_url, region=address.region, table=address.table) as client:
            return await Table(client, address).items()

    address = asyncio.run(prepare())
    batches = [batch_of({}, {"item_key": "k2", "action": REMOVE}), batch_of({"item_key": "k3"}, {"item_key": ""})]

    [counts] = write_batches(iter(batches), address, PUSH)

    items = asyncio.run(read(address))
    size = len(binary(items["k1"], "visits") or b"")
    [row] = counts.to_pylist()
    [failure] = row.pop("failed")
    assert row == {"written": 1, "removed": 1, "stale": 1, "bytes": size, "refused": 1}
    assert (failure["key"], bool(failure["reason"])) == ("", True)
    assert counts.schema.names == [part.split()[0] for part in OUTCOME.split(", ")]
    [views, owner] = Codec("visits", FEATURES).decode([binary(items["k1"], "visits") or b""]).columns
    assert (views.values.tolist(), owner.values.tolist()) == ([7], ["ada"])
