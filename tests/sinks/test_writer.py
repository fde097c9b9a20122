"""The writer against a real store: conditional, fenced by the lease, and in transactions."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pyarrow as pa
import pytest
from aiohttp import web

from contracts.tables import Column, Type
from online import embedded
from online.codec import Codec, payload
from online.control import LeaseLost, renew_lease, take_lease
from online.items import KEY, binary, ensure_table, sequence_attribute, to_binary
from online.wire import StoreClient, StoreError, open_store
from settings import read_settings
from sinks import writer
from sinks.net_changes import REMOVE, WRITE
from sinks.writer import Address, Outcome, Sequenced, encode, transact, write_batches, write_rows
from tests.online.proxy import Proxy

TABLE_NUMBERS = itertools.count()
FEATURES = (Column("views", Type.INT64, "how many"), Column("owner", Type.STRING, "whose"))
PUSH = Sequenced(view="visits", features=FEATURES, sequence=5, as_of=1_772_355_600_000_000)
SCHEMA = pa.schema([("item_key", pa.string()), ("action", pa.string()), ("views", pa.int64()), ("owner", pa.string())])


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    settings = read_settings({"TAILRACE_HOME": str(tmp_path_factory.mktemp("writer"))})
    yield embedded.start(settings).url
    embedded.stop(settings)


@dataclass(frozen=True)
class Table:
    """A client of a table of its own, whose view `visits` is leased under sequence 5."""

    client: StoreClient
    address: Address

    async def put(self, key, **attributes):
        await self.client.call("PutItem", {"TableName": self.client.table, "Item": {KEY: {"S": key}} | attributes})

    async def items(self):
        """All entity items by key."""
        answer = await self.client.call("Scan", {"TableName": self.client.table})
        return {item.pop(KEY)["S"]: item for item in answer["Items"] if not item[KEY]["S"].startswith("#")}


@asynccontextmanager
async def leased_table(url):
    address = Address(url=url, region="us-east-1", table=f"writer-{next(TABLE_NUMBERS)}", in_flight=3)
    async with open_store(url=url, region=address.region, table=address.table) as client:
        await ensure_table(client)
        for _ in range(PUSH.sequence):
            await take_lease(client, PUSH.view, owner="me", seconds=60)
        yield Table(client, address)


@pytest.fixture
def with_table(url):
    """Run a test's coroutine with a table."""

    def run(action):
        async def go():
            async with leased_table(url) as table:
                return await action(table)

        return asyncio.run(go())

    return run


def written(value, sequence=5):
    return {"visits": to_binary(value), "visits#s": {"N": str(sequence)}}


def rows(count, size=3):
    return [(f"document|{number:04}", bytes([number % 256]) * size) for number in range(count)]


def test_a_row_is_written_as_value_and_sequence(with_table):
    async def action(table):
        assert await transact(table.client, [("k1", b"one"), ("k2", b"two")], PUSH) == set()
        return await table.items()

    assert with_table(action) == {"k1": written(b"one"), "k2": written(b"two")}


def test_what_other_views_wrote_to_the_item_survives(with_table):
    others = {"profile": to_binary(b"theirs"), "profile#s": {"N": "9"}}

    async def action(table):
        await table.put("k1", **others, **written(b"old", sequence=4))
        await transact(table.client, [("k1", b"new")], PUSH)
        return await table.items()

    assert with_table(action) == {"k1": others | written(b"new")}


@pytest.mark.parametrize("stored", [1, 4, 5])
def test_a_value_that_is_not_newer_is_replaced(with_table, stored):
    async def action(table):
        await table.put("k1", **written(b"old", sequence=stored))
        assert await transact(table.client, [("k1", b"new")], PUSH) == set()
        return await table.items()

    assert with_table(action) == {"k1": written(b"new")}


def test_a_newer_value_is_left_alone_while_the_rest_of_the_batch_is_written(with_table):
    async def action(table):
        for key in ("k2", "k4"):
            await table.put(key, **written(b"newer", sequence=6))
        stale = await transact(table.client, [(f"k{number}", b"mine") for number in range(1, 6)], PUSH)
        return stale, await table.items()

    stale, items = with_table(action)

    assert stale == {"k2", "k4"}
    assert items == {
        **{key: written(b"mine") for key in ("k1", "k3", "k5")},
        **{key: written(b"newer", sequence=6) for key in ("k2", "k4")},
    }


def test_a_batch_of_nothing_but_newer_values_writes_nothing(with_table):
    async def action(table):
        await table.put("k1", **written(b"newer", sequence=6))
        return await transact(table.client, [("k1", b"mine")], PUSH), await table.items()

    assert with_table(action) == ({"k1"}, {"k1": written(b"newer", sequence=6)})


def test_the_sequence_of_another_view_is_no_obstacle(with_table):
    async def action(table):
        await table.put("k1", **{sequence_attribute("profile"): {"N": "99"}})
        return await transact(table.client, [("k1", b"mine")], PUSH)

    assert with_table(action) == set()


def test_a_lost_lease_stops_the_push_and_nothing_is_written(with_table):
    async def action(table):
        await take_lease(table.client, PUSH.view, owner="me", seconds=60)
        with pytest.raises(LeaseLost, match=r"^view visits: another push took over from sequence 5$"):
            await transact(table.client, [("k1", b"mine"), ("k2", b"mine")], PUSH)
        with pytest.raises(LeaseLost):
            await write_rows(iter(rows(300)), table.address, PUSH)
        return await table.items()

    assert with_table(action) == {}


def test_a_lease_that_never_was_stops_the_push(with_table):
    async def action(table):
        with pytest.raises(LeaseLost, match="view profile"):
            await transact(table.client, [("k1", b"mine")], replace(PUSH, view="profile"))
        return await table.items()

    assert with_table(action) == {}


def test_a_renewal_under_way_does_not_stop_the_push(with_table):
    async def action(table):
        async def renew():
            for _ in range(20):
                await renew_lease(table.client, PUSH.view, sequence=PUSH.sequence, seconds=60)

        outcome, _ = await asyncio.gather(write_rows(iter(rows(400)), table.address, PUSH), renew())
        return outcome

    assert with_table(action) == Outcome(written=400)


def test_values_and_tombstones_and_stale_rows_are_counted_apart(with_table):
    async def action(table):
        await table.put("k2", **written(b"newer", sequence=6))
        await table.put("k4", **written(b"newer", sequence=6))
        await table.put("k3", **written(b"old", sequence=2))
        changes = [("k1", b"mine"), ("k2", b"mine"), ("k3", b""), ("k4", b""), ("k5", b""), ("k6", b"mine")]
        return await write_rows(iter(changes), table.address, PUSH), await table.items()

    outcome, items = with_table(action)

    assert outcome == Outcome(written=2, removed=2, stale=2)
    assert items["k3"] == items["k5"] == written(b"")


def test_writing_the_same_again_changes_nothing(with_table):
    async def action(table):
        first = await write_rows(iter(rows(120)), table.address, PUSH)
        before = await table.items()
        again = await write_rows(iter(rows(120)), table.address, PUSH)
        return first, again, before == await table.items()

    assert with_table(action) == (Outcome(written=120), Outcome(written=120), True)


def write_through(table, misbehave, changes):
    """Write through a proxy; the outcome and the sizes of the transactions."""

    async def go():
        async with Proxy(table.address.url, misbehave) as proxy:
            outcome = await write_rows(iter(changes), replace(table.address, url=proxy.url), PUSH)
            return outcome, [len(body["TransactItems"]) for _, body in proxy.asked]

    return go()


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [2]), (99, [100]), (100, [2, 100]), (250, [53, 100, 100])])
def test_rows_go_in_transactions_of_99_and_the_lease(with_table, count, sizes):
    async def action(table):
        return await write_through(table, None, rows(count)), await table.items()

    (outcome, asked), items = with_table(action)

    assert outcome == Outcome(written=count)
    assert sorted(asked) == sizes
    assert items == {key: written(value) for key, value in rows(count)}


def test_rows_too_large_for_one_transaction_together_are_written_all_the_same(with_table):
    # A transaction takes 4 MB: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    async def action(table):
        return await write_rows(iter(rows(99, size=60_000)), table.address, PUSH)

    assert with_table(action) == Outcome(written=99)


def test_a_row_that_can_never_be_written_is_named(with_table):
    async def action(table):
        batch = [("k1", b"mine"), ("k-too-large", b"x" * 410_000), ("k3", b"mine")]
        with pytest.raises(StoreError, match="view visits: item 'k-too-large' with 410000 bytes was refused"):
            await write_rows(iter(batch), table.address, PUSH)
        return await table.items()

    assert with_table(action) == {}


def test_the_first_error_stops_the_rest(with_table):
    async def action(table):
        changes = [("k-too-large", b"x" * 410_000), *rows(20_000)]
        with pytest.raises(StoreError, match="k-too-large"):
            await write_rows(iter(changes), table.address, PUSH)
        before = len(await table.items())
        await asyncio.sleep(0.5)
        return before, len(await table.items())

    before, after = with_table(action)

    # What was on its way when the error came may still arrive: one transaction per writer.
    assert after - before <= 99 * 4
    assert after < 20_000


def test_conflicts_are_tried_again_and_bounded(with_table, monkeypatch):
    monkeypatch.setattr(writer, "delay_after", lambda _: 0)

    def conflict(times):
        left = itertools.count()

        async def misbehave(request, operation, body):
            if next(left) >= times:
                return None
            reasons = [{"Code": "None"} for _ in body["TransactItems"]]
            reasons[-1] = {"Code": "TransactionConflict", "Message": "busy"}
            name = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
            return web.json_response({"__type": name, "message": "no", "CancellationReasons": reasons}, status=400)

        return misbehave

    async def action(table):
        passed = await write_through(table, conflict(3), rows(2))
        with pytest.raises(StoreError, match="view visits: 2 rows in conflict 8 times"):
            await write_through(table, conflict(100), rows(2))
        return passed

    assert with_table(action) == (Outcome(written=2), [3, 3, 3, 3])


def test_an_answer_that_was_lost_leaves_the_same_values_and_counts(with_table):
    async def action(table):
        lose = itertools.count()

        async def misbehave(request, operation, body):
            if next(lose):
                return None
            await table.client.call(operation, body)
            request.transport.abort()
            return web.Response()

        return await write_through(table, misbehave, rows(50)), await table.items()

    (outcome, asked), items = with_table(action)

    assert (outcome, asked) == (Outcome(written=50), [51, 51])
    assert items == {key: written(value) for key, value in rows(50)}


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


def test_arrow_batches_are_written_and_answered_with_one_row_of_counts(url):
    async def prepare():
        async with leased_table(url) as table:
            await table.put("k3", **written(b"newer", sequence=6))
            return table.address

    async def read(address):
        async with open_store(url=url, region=address.region, table=address.table) as client:
            return await Table(client, address).items()

    address = asyncio.run(prepare())
    batches = [batch_of({}, {"item_key": "k2", "action": REMOVE}), batch_of({"item_key": "k3"})]

    [counts] = write_batches(iter(batches), address, PUSH)

    items = asyncio.run(read(address))
    size = len(binary(items["k1"], "visits") or b"")
    assert counts.to_pylist() == [{"written": 1, "removed": 1, "stale": 1, "bytes": size}]
    assert counts.schema.names == [part.split()[0] for part in writer.OUTCOME.split(", ")]
    [views, owner] = Codec("visits", FEATURES).decode([binary(items["k1"], "visits") or b""]).columns
    assert (views.values.tolist(), owner.values.tolist()) == ([7], ["ada"])
