"""What a worker takes from the sockets of others, in a loop as workers have it."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from serving.process import client_connections
from serving.process.client_connections import Acceptor


@pytest.fixture
def sockets():
    """Three of one port, of which the first is the worker's own."""
    made = [socket.socket() for _ in range(3)]
    for one in made:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made[0].bind(("127.0.0.1", 0))
    for one in made[1:]:
        one.bind(made[0].getsockname())
    yield made
    for one in made:
        one.close()


@asynccontextmanager
async def worker(sockets):
    async def hello(_):
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    opened = Acceptor(runner, sockets, own=0, tls=None)
    await opened.open()
    try:
        yield
    finally:
        await opened.close()
        await runner.cleanup()


async def answers(sockets, count):
    """Ask on so many connections, each new, which the kernel shares out among the sockets that listen."""
    port = sockets[0].getsockname()[1]
    async with ClientSession(connector=TCPConnector(force_close=True), timeout=ClientTimeout(30)) as session:
        told = []
        for _ in range(count):
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                told.append(await answer.text())
    return told


def counted(monkeypatch):
    """The sockets that were looked at."""
    looked = []

    def accepted_from(listening):
        looked.append(listening)
        return real(listening)

    real = client_connections.accepted_from
    monkeypatch.setattr(client_connections, "accepted_from", accepted_from)
    return looked


def test_what_others_leave_waiting_is_taken_and_nothing_is_looked_at_while_nothing_comes(sockets, monkeypatch):
    looked = counted(monkeypatch)

    async def go():
        for one in sockets[1:]:
            one.listen(64)  # of workers that have ended
        async with worker(sockets):
            await asyncio.sleep(10 * client_connections.PATIENCE_SECONDS)
            idle = len(looked)
            told = await answers(sockets, 60)
            await asyncio.sleep(10 * client_connections.PATIENCE_SECONDS)
            after = len(looked)
            await asyncio.sleep(10 * client_connections.PATIENCE_SECONDS)
            return idle, told, after

    idle, told, after = uvloop.run(go())

    assert idle == 0
    assert told == ["hello"] * 60
    assert {*looked} == {*sockets[1:]}
    assert len(looked) == after


def test_a_socket_on_which_nobody_listens_yet_is_accepted_from_once_somebody_does(sockets):
    async def go():
        async with worker(sockets[:2]):
            await asyncio.sleep(3 * client_connections.PATIENCE_SECONDS)
            sockets[1].listen(64)
            return await answers(sockets, 30)

    assert uvloop.run(go()) == ["hello"] * 30


def test_an_acceptor_that_is_closed_leaves_what_comes_to_others(sockets):
    sockets[1].listen(64)

    async def go():
        async with worker(sockets[:2]):
            pass
        ours = [socket.create_connection(sockets[1].getsockname()) for _ in range(20)]
        await asyncio.sleep(3 * client_connections.PATIENCE_SECONDS)
        left = [*iter(lambda: client_connections.accepted_from(sockets[1]), None)]
        for one in (*ours, *left):
            one.close()
        return len(left)

    assert uvloop.run(go()) == 20
