"""What a reader does beside its requests goes on, whatever it meets, and says so."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from serving.common.loop import keep_doing
from serving.read import controls
from tailrace.shipped.actor_activity import actor_activity
from tailrace.store.dynamodb.calls import KEY, control_key
from tests.serving.conftest import entity_keys

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ASKED = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0"]}}
log = logging.getLogger("tests.background")


@pytest.mark.parametrize(
    "failure",
    [RecursionError, OverflowError, KeyError, OSError, AssertionError, MemoryError],
)
def test_a_task_outlives_whatever_it_meets_and_says_it_once(caplog, failure):
    rounds = 0

    async def fail_at_first():
        nonlocal rounds
        rounds += 1
        if rounds < 4:
            raise failure("odd")

    async def go():
        task = asyncio.create_task(keep_doing("the test", fail_at_first, pause=lambda: 0.0, log=log))
        async with asyncio.timeout(20):
            while rounds < 6:  # noqa: ASYNC110 - it goes on without anybody
                await asyncio.sleep(0)
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True)

    [ended] = asyncio.run(go())

    assert isinstance(ended, asyncio.CancelledError)
    [line] = [one.getMessage() for one in caplog.records]
    assert failure.__name__ in line


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(controls, "REFRESH_SECONDS", 0.01)


ODD_ITEMS = {
    "nested": {"features": {"S": "[" * 100_000 + "]" * 100_000}},
    "far": {"watermark": {"N": "9" * 30}},
    "before": {"watermark": {"N": "-" + "9" * 20}},
    "text": {"watermark": {"S": "soon"}},
    "list": {"features": {"S": "[1]"}},
    "number": {"features": {"N": "1"}},
    "null": {"features": {"NULL": True}, "watermark": {"NULL": True}},
    "none": {"cursor": {"S": "null"}, "open": {"M": {}}},
}


@pytest.mark.parametrize("odd", ODD_ITEMS.values(), ids=ODD_ITEMS)
def test_control_items_are_read_again_whatever_one_of_them_says(store, behind, start_reader, definitions, odd):
    store.push(actor_activity, watermark=NINE)
    store.put(actor_activity, {"actor_id": "a0"}, {"events_7d": 7}, as_of=NINE)

    async def let_through(*_):
        return None

    proxy = behind(let_through)
    reader = start_reader(definitions, proxy.url)

    async def reads(more):
        def count():
            return sum(operation == "BatchGetItem" and not entity_keys(body) for operation, body in proxy.asked)

        enough = count() + more
        async with asyncio.timeout(20):
            while count() < enough:  # noqa: ASYNC110 - the reader reads without anybody
                await asyncio.sleep(0.01)

    pushed = control_of(store)
    put(store, pushed | odd)
    store.runner.run(reads(3))
    answer = reader.ask(**ASKED)
    assert reader.get("/ready")[0] in {200, 503}
    put(store, pushed)
    store.runner.run(reads(2))

    assert answer["results"][-1]["values"] == [7]
    assert reader.get("/ready")[1]["store"] == "answers"


def control_of(store):
    """The control item of a view as a push left it."""
    request = {"TableName": store.client.table, "Key": {KEY: {"S": control_key("actor_activity")}}}
    return store.runner.run(store.client.call("GetItem", request))["Item"]


def put(store, item):
    store.runner.run(store.client.call("PutItem", {"TableName": store.client.table, "Item": item}))
