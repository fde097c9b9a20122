"""Many connections: for one more the one that is idle longest is closed, and none that is being answered."""

import asyncio
import resource
from contextlib import suppress

import pytest
import uvloop

from serving.process import client_connections
from serving.process.client_connections import room_for_connections
from serving.process.sockets import raise_descriptor_limit
from tests.serving.odd import PATIENCE_SECONDS, message, read_answer
from tests.serving.site import listen

MOST = 4
QUICK, SLOW = message(path=b"/quick"), message(path=b"/slow")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def crowded(request, monkeypatch):
    """Run a conversation with a site that takes four connections."""
    monkeypatch.setattr(client_connections, "CONNECTIONS_AT_MOST", MOST)

    def run(conversation):
        async def whole():
            runner = await listen()
            try:
                return await conversation(runner.addresses[0][1])
            finally:
                await runner.cleanup()

        with asyncio.Runner(loop_factory=request.param) as loop:
            return loop.run(whole())

    return run


async def ask(connection, request=QUICK):
    """The status of the answer; 0 where the connection was closed."""
    incoming, outgoing = connection
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        outgoing.write(request)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await read_answer(incoming)).status
    return 0


async def connect(port, count=1):
    return [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]


def test_the_connection_that_is_idle_longest_makes_room(crowded):
    async def go(port):
        first, second, *others = await connect(port, MOST)
        before = [await ask(one) for one in (first, second, *others, first)]
        late = await connect(port, 2)
        return before, [await ask(one) for one in late], [await ask(one) for one in (first, second, *others)]

    before, late, after = crowded(go)

    assert before == [200] * (MOST + 1)
    assert late == [200, 200]
    assert after == [200, 0, 0, 200]


def test_a_connection_that_is_being_answered_stays(crowded):
    async def go(port):
        busy = [asyncio.create_task(ask(one, SLOW)) for one in await connect(port, MOST - 1)]
        idle, late = await connect(port), []
        assert await ask(idle[0]) == 200
        for _ in range(2):
            late += await connect(port)
            assert await ask(late[-1]) == 200
        return [await ask(one) for one in idle + late[:1]], await asyncio.gather(*busy)

    idle, busy = crowded(go)

    assert idle == [0, 0]
    assert busy == [200] * (MOST - 1)


def test_where_all_are_being_answered_the_new_one_is_closed(crowded):
    async def go(port):
        busy = [asyncio.create_task(ask(one, SLOW)) for one in await connect(port, MOST)]
        await asyncio.sleep(0.1)
        [late] = await connect(port)
        return await ask(late), await asyncio.gather(*busy)

    assert crowded(go) == (0, [200] * MOST)


def test_the_limit_of_open_files_is_raised_and_leaves_room_for_other_files(monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 300), hard))
    try:
        few = room_for_connections()
        raise_descriptor_limit()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert 0 < few <= 150
    assert raised == hard
