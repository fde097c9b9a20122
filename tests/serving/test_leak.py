"""Many requests leave nothing behind in a worker: no memory, no connection, no task."""

import asyncio
import os
from datetime import UTC, datetime

import aiohttp
import pytest

from tailrace.shipped.actor_activity import actor_activity
from tests.serving.processes import PATIENCE_SECONDS, served, until

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
REQUESTS = int(os.environ.get("LEAK_REQUESTS", "5000"))
WARM_UP = 2_000
GROWTH_BYTES = 2 * 2**20  # an allocator that keeps pages; a leak of 500 bytes for each request is more
CONNECTIONS = 4
TO_STORE = 2 * CONNECTIONS + 1  # for a read of each and another one that overtakes it, and for the control items


def asked(number):
    """Another actor each time, and sometimes one that is refused."""
    features = ["actor_activity"] if number % 50 else ["nothing"]
    return {"features": features, "entities": {"actor_id": ["a0", f"a{number}"]}}


async def ask_many(address, requests):
    """How often each status was answered."""
    statuses = dict.fromkeys((200, 400), 0)
    numbers = iter(range(requests))

    async def ask(session):
        for number in numbers:
            async with session.post(f"{address}/get-online-features", json=asked(number)) as answer:
                await answer.read()
                statuses[answer.status] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        await asyncio.gather(*(ask(session) for _ in range(CONNECTIONS)))
    return statuses


def sockets_of(worker):
    return len([one for one in worker.net_connections("tcp") if one.status == "ESTABLISHED"])


@pytest.mark.slow
@pytest.mark.timeout(60 + REQUESTS // 50)
def test_memory_and_connections_do_not_grow_with_requests(settings, store, tmp_path):
    store.put(actor_activity, {"actor_id": "a0"}, {"events_7d": 7}, as_of=NINE)
    with served(settings, tmp_path, workers=1) as running:
        [worker] = running.workers()
        asyncio.run(ask_many(running.address, WARM_UP))
        until(lambda: sockets_of(worker) <= TO_STORE)
        memory, files = worker.memory_info().rss, worker.num_fds()

        statuses = asyncio.run(ask_many(running.address, REQUESTS))

        until(lambda: sockets_of(worker) <= TO_STORE)
        grown = worker.memory_info().rss - memory
        assert worker.num_fds() <= files + CONNECTIONS

    assert statuses == {200: REQUESTS - -(-REQUESTS // 50), 400: -(-REQUESTS // 50)}
    assert grown <= GROWTH_BYTES, f"grew by {grown} bytes, from {memory}"


def test_requests_leave_no_task_behind(reader):
    async def ask_at_once():
        """Fewer than there are places, each on a connection that ends with it."""
        answers = [
            reader.exchange("POST", "/get-online-features", json=asked(number), headers={"Connection": "close"})
            for number in range(50)
        ]
        assert {status for status, _ in await asyncio.gather(*answers)} == {200, 400}

    async def all_have_ended():
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(asyncio.all_tasks()) - 1 > before:  # noqa: ASYNC110 - no event tells that a task has ended
                await asyncio.sleep(0.01)

    before = len(asyncio.all_tasks(reader.runner.get_loop()))
    for _ in range(3):
        reader.runner.run(ask_at_once())

    reader.runner.run(all_have_ended())
