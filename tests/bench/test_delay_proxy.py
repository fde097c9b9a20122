"""A store that is farther away: every answer later, none of them because of another."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.delay_proxy import Farther, Later
from bench.loopback import HOST
from bench.processes import NotStarted, server

DELAY = 0.05
PATIENCE = aiohttp.ClientTimeout(total=10)


class Timers:
    """Holds back what is to happen later until all of it waits; `delays` says how much later each was to be."""

    def __init__(self, count: int) -> None:
        self.delays: list[float] = []
        self.all_wait = asyncio.Event()
        self._count = count
        self._waiting: list[Callable[[], None]] = []

    def __call__(self, delay: float, action: Callable[[], None]) -> None:
        self.delays.append(delay)
        self._waiting.append(action)
        if len(self._waiting) == self._count:
            self.all_wait.set()

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()


def behind(
    use: Callable[[str, list[object]], Awaitable[None]], answer: bytes = b"answer", later: Later | None = None
) -> None:
    """Use a proxy in front of a server that answers at once; it is given the connections that the server saw."""
    connections: list[object] = []

    async def handle(request: web.Request) -> web.Response:
        connections.append(request.transport)
        return web.Response(body=answer + await request.read())

    async def run() -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/", handle)
        upstream = TestServer(app)
        await upstream.start_server()
        port = upstream.port
        assert port is not None
        listening = asyncio.get_running_loop()
        proxy = await listening.create_server(lambda: Farther(HOST, port, DELAY, later), HOST, 0)
        await use(f"http://{HOST}:{proxy.sockets[0].getsockname()[1]}", connections)
        proxy.close()
        await upstream.close()

    uvloop.run(run())


def test_an_answer_that_is_late_is_the_same():
    large = bytes(range(256)) * 8_000

    async def use(url, connections):
        async with aiohttp.ClientSession(timeout=PATIENCE) as session:
            for _ in range(3):
                async with session.post(url, data=b"x" * 100_000) as answer:
                    assert await answer.read() == large + b"x" * 100_000

    behind(use, large)


def test_answers_wait_for_the_delay_side_by_side():
    timers = Timers(100)

    async def use(url, connections):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=PATIENCE) as session:

            async def ask():
                async with session.post(url) as answer:
                    return await answer.read()

            asking = [asyncio.create_task(ask()) for _ in range(100)]
            await asyncio.wait_for(timers.all_wait.wait(), 10)
            assert len(connections) == 100
            assert not any(one.done() for one in asking)
            timers.ring()
            assert await asyncio.gather(*asking) == [b"answer"] * 100
            assert timers.delays[:100] == [DELAY] * 100

    behind(use, later=timers)


def test_connections_are_kept_on_both_sides():
    async def use(url, connections):
        async with aiohttp.ClientSession(timeout=PATIENCE) as session:
            for _ in range(4):
                async with session.post(url) as answer:
                    assert answer.status == 200
        assert len(connections) == 4
        assert len(set(connections)) == 1

    behind(use)


def test_a_store_that_cannot_be_reached_cannot_be_reached_through_the_proxy_either():
    async def ask():
        loop = asyncio.get_running_loop()
        proxy = await loop.create_server(lambda: Farther(HOST, 1, DELAY), HOST, 0)
        async with aiohttp.ClientSession(timeout=PATIENCE) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.post(f"http://{HOST}:{proxy.sockets[0].getsockname()[1]}")
        proxy.close()

    asyncio.run(ask())


def test_the_process_tells_its_address_and_ends_with_its_input(tmp_path):
    with server("bench.delay_proxy", "--upstream", f"http://{HOST}:1", log=tmp_path / "log") as running:
        assert running.url.startswith(f"http://{HOST}:")


def test_a_process_that_does_not_start_is_told_with_its_log(tmp_path):
    with (
        pytest.raises(NotStarted, match=f"bench.delay_proxy did not start; its log is {tmp_path / 'log'}"),
        server("bench.delay_proxy", "--upstream", "nowhere", log=tmp_path / "log"),
    ):
        pass
