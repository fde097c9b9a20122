"""What is particular to transactions: their sizes, their conflicts, and refusals of a whole one."""

import itertools
from dataclasses import replace

import pytest
from aiohttp import web

from tailrace.store import failures
from tailrace.store.direct.sender import Sender
from tailrace.store.failures import NoTransactions, StoreError
from tailrace.store.lease import seconds_since_boot
from tailrace.store.order import Order, OrderedValue
from tailrace.store.writer import Outcome
from tests.sinks.leased import rows, run_with_table, stored
from tests.tailrace.store.proxy import Proxy

CANCELED = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"


@pytest.fixture
def with_table(writer_url):
    return lambda action: run_with_table(writer_url, action, "transactions")


@pytest.fixture
def _no_waiting(monkeypatch):
    monkeypatch.setattr(failures, "delay_after", lambda _: 0)


def sizes(asked):
    return [len(body["TransactItems"]) for _, body in asked]


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, [2]), (99, [100]), (100, [2, 100]), (250, [53, 100, 100])]
)
def test_rows_go_in_transactions_of_99_and_the_lease(with_table, count, expected):
    async def action(table):
        return await table.write_through(None, rows(count)), await table.items()

    (outcome, asked), items = with_table(action)

    assert outcome == Outcome(written=count)
    assert sorted(sizes(asked)) == expected
    assert items == stored(rows(count))


def test_rows_too_large_for_one_transaction_together_are_written_all_the_same(with_table):
    # A transaction takes 4 MB: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    async def action(table):
        return await table.write_through(None, rows(99, size=60_000))

    outcome, asked = with_table(action)

    assert (outcome, len(asked)) == (Outcome(written=99), 2)


def conflict(times):
    left = itertools.count()

    async def misbehave(request, operation, body):
        if next(left) >= times:
            return None
        reasons = [{"Code": "None"} for _ in body["TransactItems"]]
        reasons[-1] = {"Code": "TransactionConflict", "Message": "busy"}
        return web.json_response({"__type": CANCELED, "message": "no", "CancellationReasons": reasons}, status=400)

    return misbehave


@pytest.mark.usefixtures("_no_waiting")
def test_conflicts_are_tried_again(with_table):
    outcome, asked = with_table(lambda table: table.write_through(conflict(30), rows(2)))

    assert (outcome, sizes(asked)) == (Outcome(written=2), [3] * 31)


@pytest.mark.usefixtures("_no_waiting")
def test_conflicts_that_outlast_the_patience_name_the_keys(with_table):
    error, _ = with_table(lambda table: table.write_through(conflict(1_000_000), rows(2), patience=0.2))

    assert isinstance(error, StoreError)
    assert "view visits: 'document|0000', 'document|0001': " in str(error)
    assert "attempts in 0.2 s" in str(error)


@pytest.mark.parametrize("name", [CANCELED, "com.amazon.coral.validate#ValidationException"])
def test_a_transaction_refused_without_reasons_is_tried_row_by_row(with_table, name):
    def refuse_culprit(request, operation, body):
        keys = [item["Update"]["Key"]["pk"]["S"] for item in body["TransactItems"] if "Update" in item]
        if "document|0003" in keys:
            return web.json_response({"__type": name, "message": "something is wrong"}, status=400)
        return None

    async def misbehave(*asked):
        return refuse_culprit(*asked)

    async def action(table):
        return await table.write_through(misbehave, rows(7)), await table.items()

    (outcome, asked), items = with_table(action)

    reason = name.partition("#")[2] + ": TransactWriteItems: something is wrong"
    assert outcome == Outcome(written=6, refused=1, failed=[("document|0003", reason)])
    assert sizes(asked) == [8] + [2] * 7
    assert items == stored(row for row in rows(7) if row[0] != "document|0003")


def test_a_refusal_that_is_not_a_rows_own_stops_the_push_at_once(with_table):
    async def deny(request, operation, body):
        return web.json_response({"__type": "AccessDeniedException", "message": "no"}, status=400)

    error, asked = with_table(lambda table: table.write_through(deny, rows(50)))

    assert isinstance(error, StoreError)
    assert error.code == "AccessDeniedException"
    assert "'document|0019' and 30 more" in str(error)
    assert len(asked) == 1


@pytest.mark.parametrize("code", ["com.amazon.coral.service#UnknownOperationException", "NotImplementedException"])
def test_a_store_without_transactions_is_an_error_that_names_the_setting(with_table, code):
    async def knows_no_transactions(request, operation, body):
        return web.json_response({"__type": code, "message": f"Unsupported operation {operation}"}, status=400)

    error, asked = with_table(lambda table: table.write_through(knows_no_transactions, rows(50)))

    assert isinstance(error, NoTransactions)
    assert not error.retryable
    assert "TAILRACE_STORE_WRITES=updates" in str(error)
    assert "view visits" in str(error)
    assert len(asked) == 1


def test_a_direct_write_to_a_store_without_transactions_names_the_setting(with_table):
    async def knows_no_transactions(request, operation, body):
        return web.json_response({"__type": "UnknownOperationException", "message": "no"}, status=400)

    values = [OrderedValue(view="v", item_key=key, value=b"1", order=Order(1, 1), sequence=5) for key in ("a", "b")]

    async def action(table):
        async with (
            Proxy(table.address.url, knows_no_transactions) as proxy,
            replace(table.address, url=proxy.url).open() as store,
        ):
            return await Sender(store, transactions=True).write(values, until=seconds_since_boot() + 60)

    assert ["TAILRACE_STORE_WRITES=updates" in str(one.why) for one in with_table(action)] == [True, True]
