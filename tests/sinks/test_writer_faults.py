"""The writer, in both ways of writing, against a store that throttles, resets, hangs, errs, cuts off or goes away."""

import asyncio
import itertools
from collections import Counter

import pytest
from aiohttp import web

from tailrace.store import failures
from tailrace.store.failures import StoreError
from tailrace.store.pace import Limits
from tailrace.store.writer import SINGLES_PER_PLACE, Outcome
from tests.sinks.leased import IN_FLIGHT, WRITES, rows, stored

COUNT = 120  # two transactions
SOON = Limits(exchange_seconds=0.1)


@pytest.fixture(autouse=True)
def _little_waiting(monkeypatch):
    monkeypatch.setattr(failures, "delay_after", lambda _: 0.002)


async def throttle(request, operation):
    name = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    return web.json_response({"__type": name, "message": "slow down"}, status=400)


async def reset(request, operation):
    request.transport.abort()
    return web.Response()


async def hang(request, operation):
    await asyncio.sleep(30)
    return web.Response()


async def fail(request, operation):
    return web.json_response({"__type": "InternalServerError", "message": "oh"}, status=500)


async def cut_off(request, operation):
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"Attributes": ')
    request.transport.close()
    return response


FAULTS = [throttle, reset, fail, cut_off]

# New items are sent by the same loop; where that waits and gives up is tried with others alone.
known_items = pytest.mark.parametrize("new_items", [False], ids=[""], indirect=True)


def every_second(fault):
    numbers = itertools.count()

    async def misbehave(request, operation, body):
        return await fault(request, operation) if next(numbers) % 2 == 0 else None

    return misbehave


def at_first(fault, *, times):
    numbers = itertools.count()

    async def misbehave(request, operation, body):
        return await fault(request, operation) if next(numbers) < times else None

    return misbehave


def always(fault):
    async def misbehave(request, operation, body):
        return await fault(request, operation) if operation in WRITES else None

    return misbehave


def all_written(with_table, misbehave, count=COUNT, **options):
    """Write through misbehaviour, see every row in the store, and return the requests by operation."""

    async def action(table):
        return await table.write_through(misbehave, rows(count), **options), await table.items()

    (outcome, asked), items = with_table(action)
    assert outcome == Outcome(written=count)
    assert items == stored(rows(count))
    return Counter(operation for operation, _ in asked)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_every_second_request_costs_no_row(with_table, fault):
    asked = all_written(with_table, every_second(fault))

    # Two transactions, or 120 updates and a look at the lease; for each, one request that failed.
    assert sum(asked.values()) in (4, 242)


@known_items
def test_requests_that_hang_are_given_up_and_made_again(with_table):
    # Long enough that no other request is given up on a machine that has more to do.
    asked = all_written(with_table, at_first(hang, times=2), limits=Limits(exchange_seconds=1.5))

    assert sum(asked.values()) in (4, 123)


@known_items
@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_is_gone_for_longer_than_a_reader_waits_comes_back(with_table, writes, fault):
    at_once = {"transactions": 2, "updates": IN_FLIGHT * SINGLES_PER_PLACE}[writes]
    all_written(with_table, at_first(fault, times=(failures.ATTEMPTS + 1) * at_once))


@known_items
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_does_not_pass_ends_in_an_error_that_names_keys_and_patience(with_table, fault):
    async def action(table):
        return await table.write_through(always(fault), rows(COUNT), patience=0.1), await table.items()

    (error, _), items = with_table(action)

    assert isinstance(error, StoreError)
    assert "view visits: 'document|0" in str(error)
    assert "attempts in 0.1 s" in str(error)
    assert items == {}


@known_items
def test_a_store_that_always_hangs_ends_in_an_error_that_names_keys(with_table):
    error, _ = with_table(lambda table: table.write_through(always(hang), rows(COUNT), patience=0.1, limits=SOON))

    assert isinstance(error, StoreError)
    assert (error.code, "view visits: 'document|0" in str(error)) == ("Unreachable", True)


def test_an_answer_that_was_lost_leaves_the_same_values_and_counts(with_table, writes, new_items):
    lost = itertools.count()

    async def action(table):
        async def lose(request, operation, body):
            if operation not in WRITES or next(lost):
                return None
            await table.client.call(operation, body)
            request.transport.abort()
            return web.Response()

        return await table.write_through(lose, rows(50)), await table.items()

    (outcome, asked), items = with_table(action)

    made = [operation for operation, _ in asked if operation in WRITES]
    assert outcome == Outcome(written=50)
    # A new item is found there when it is written again, and is updated.
    assert len(made) == {"transactions": 2, "updates": 51}[writes] + new_items
    assert items == stored(rows(50))


def test_an_error_that_stops_the_push_stops_its_other_writers(with_table):
    numbers = itertools.count()

    async def deny_one(request, operation, body):
        if operation not in WRITES or next(numbers) != 3:
            return None
        return web.json_response({"__type": "AccessDeniedException", "message": "no"}, status=400)

    async def action(table):
        error, asked = await table.write_through(deny_one, rows(20_000))
        before = len(asked)
        await asyncio.sleep(0.3)
        return error, before, len(asked)

    error, before, after = with_table(action)

    assert error.code == "AccessDeniedException"
    assert before == after < 202  # of 203 transactions or 20,000 updates
