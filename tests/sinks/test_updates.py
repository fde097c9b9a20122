"""What is particular to updates: one request per row, a look at the lease between them, and their pace."""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import replace

import pytest
from aiohttp import web

from tailrace.store.control import LeaseLost
from tailrace.store.dynamodb.calls import open_client
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import StoreError
from tailrace.store.lease import Fence, seconds_since_boot
from tailrace.store.pace import Pace
from tailrace.store.writer import SINGLES_PER_PLACE, Outcome, RowByRow, write_batch
from tests.sinks.leased import PUSH, rows, run_with_table, stored
from tests.tailrace.store.proxy import Proxy

BRIEF = replace(PUSH, lease_seconds=30)


@pytest.fixture
def with_table(writer_url):
    return lambda action: run_with_table(writer_url, action, "updates")


def row_by_row(client, clock, *, pace=None):
    store = DynamoStore(client)
    return RowByRow(store, BRIEF, pace=pace or Pace(1), fence=Fence(store, BRIEF, clock=clock))


def operations(asked):
    return Counter(operation for operation, _ in asked)


def test_each_row_is_one_request_and_the_lease_is_looked_at_once(with_table):
    async def action(table):
        return await table.write_through(None, rows(200)), await table.items()

    (outcome, asked), items = with_table(action)

    assert outcome == Outcome(written=200)
    assert operations(asked) == {"GetItem": 1, "UpdateItem": 200}
    assert items == stored(rows(200))


def test_the_lease_is_read_consistently(with_table):
    _, asked = with_table(lambda table: table.write_through(None, rows(1)))

    [look] = [body for operation, body in asked if operation == "GetItem"]
    assert look["ConsistentRead"] is True


def test_more_updates_are_under_way_than_transactions_would_be(with_table):
    under_way: Counter[str] = Counter()
    most = []

    async def action(table):
        async def watch(request, operation, body):
            under_way["now"] += 1
            most.append(under_way["now"])
            await asyncio.sleep(0.02)
            under_way["now"] -= 1

        return await table.write_through(watch, rows(300))

    outcome, _ = with_table(action)

    assert outcome == Outcome(written=300)
    assert 3 < max(most) <= 3 * SINGLES_PER_PLACE


@pytest.mark.parametrize(("times", "looks"), [([0, 10, 10], 1), ([0, 10.1, 20], 2), ([0, 10.1, 20.3], 3)])
def test_the_lease_is_looked_at_again_after_a_third_of_its_time(with_table, times, looks):
    async def action(table):
        now = [0.0]
        async with (
            Proxy(table.address.url) as proxy,
            open_client(url=proxy.url, region="us-east-1", table=table.address.table) as client,
        ):
            fence = Fence(DynamoStore(client), BRIEF, clock=lambda: now[0])
            for now[0] in times:
                await fence.pass_through()
            return proxy.counts

    assert with_table(action) == {"GetItem": looks}


def test_a_look_counts_from_when_it_was_asked_for(with_table):
    async def action(table):
        clock = iter([0, 11, 12])  # asked for, and answered when it was too old already
        fence = Fence(DynamoStore(table.client), BRIEF, clock=lambda: float(next(clock)))
        await fence.pass_through()
        return fence._is_fresh()

    assert with_table(action) is False


def test_the_age_of_a_look_counts_the_time_that_the_machine_slept(monkeypatch):
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 7_200.0, time.CLOCK_MONOTONIC: 60.0}.get)

    assert seconds_since_boot() == 7_200.0


def test_throttling_slows_the_pace_and_success_quickens_it(with_table):
    left = itertools.count()

    async def throttle_once(request, operation, body):
        if operation != "UpdateItem" or next(left):
            return None
        return web.json_response({"__type": "ThrottlingException", "message": "slow down"}, status=400)

    async def action(table):
        limits = []
        async with (
            Proxy(table.address.url, throttle_once) as proxy,
            open_client(url=proxy.url, region="us-east-1", table=table.address.table) as client,
        ):
            lane = row_by_row(client, lambda: 0.0, pace=Pace(8))
            with pytest.raises(StoreError, match="slow down"):
                await lane.send([("k1", b"mine")], lane.be_patient())
            limits.append(lane.pace.limit)
            await lane.send([("k1", b"mine")], lane.be_patient())
            return [*limits, lane.pace.limit]

    assert with_table(action) == [4, 4.25]


def test_many_writers_share_one_look_at_the_lease(with_table):
    async def action(table):
        async with (
            Proxy(table.address.url) as proxy,
            open_client(url=proxy.url, region="us-east-1", table=table.address.table) as client,
        ):
            fence = Fence(DynamoStore(client), BRIEF, clock=lambda: 0.0)
            await asyncio.gather(*(fence.pass_through() for _ in range(20)))
            return proxy.counts

    assert with_table(action) == {"GetItem": 1}


def test_a_writer_that_lost_its_lease_stops_at_its_next_send(with_table):
    async def action(table):
        now = [0.0]
        lane = row_by_row(table.client, lambda: now[0])
        await write_batch(lane, [("k1", b"mine")])
        await DynamoStore(table.client).take_lease(PUSH.view, owner="me", seconds=60)
        now[0] = 3_600.0  # an hour of sleep
        with pytest.raises(LeaseLost, match=r"^view visits: another push took over from sequence 5$"):
            await write_batch(lane, [("k2", b"mine")])
        return lane.outcome, await table.items()

    assert with_table(action) == (Outcome(written=1), stored([("k1", b"mine")]))


def test_a_lease_lost_between_two_attempts_stops_the_second(with_table):
    async def action(table):
        now = [0.0]

        async def throttle_while_another_takes_over(request, operation, body):
            if operation != "UpdateItem":
                return None
            await DynamoStore(table.client).take_lease(PUSH.view, owner="me", seconds=60)
            now[0] += 11
            return web.json_response({"__type": "ThrottlingException", "message": "slow down"}, status=400)

        async with (
            Proxy(table.address.url, throttle_while_another_takes_over) as proxy,
            open_client(url=proxy.url, region="us-east-1", table=table.address.table, patience=60) as client,
        ):
            with pytest.raises(LeaseLost):
                await write_batch(row_by_row(client, lambda: now[0]), [("k1", b"mine")])
            return proxy.counts["UpdateItem"], await table.items()

    assert with_table(action) == (1, {})


@pytest.mark.parametrize("name", ["TransactionConflictException", "ReplicatedWriteConflictException"])
def test_an_update_in_conflict_with_another_write_is_tried_again(with_table, name):
    left = itertools.count()

    async def conflict(request, operation, body):
        if operation != "UpdateItem" or next(left) >= 2:
            return None
        return web.json_response({"__type": name, "message": "busy"}, status=400)

    outcome, asked = with_table(lambda table: table.write_through(conflict, rows(1)))

    assert (outcome, operations(asked)["UpdateItem"]) == (Outcome(written=1), 3)


def test_a_refusal_that_is_not_a_rows_own_stops_the_push_and_names_the_key(with_table):
    async def deny(request, operation, body):
        if operation != "UpdateItem":
            return None
        return web.json_response({"__type": "AccessDeniedException", "message": "no"}, status=400)

    error, asked = with_table(lambda table: table.write_through(deny, rows(5_000)))

    assert isinstance(error, StoreError)
    assert (error.code, "view visits: 'document|" in str(error)) == ("AccessDeniedException", True)
    assert operations(asked)["UpdateItem"] <= 3 * SINGLES_PER_PLACE
