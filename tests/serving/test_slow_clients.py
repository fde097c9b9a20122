"""Clients that are slow on purpose: each is cut, and others are answered meanwhile."""

import asyncio
import resource
from contextlib import suppress

import pytest
import uvloop

from serving.process import client_connections
from tests.serving.site import MUCH, listen

WHOLE = b"GET /quick HTTP/1.1\r\nHost: reader\r\n\r\n"
PART = WHOLE[:30]
FINE = (b"200", b"{}")  # status and body
LONG = 30  # seconds in which everything here has happened


@pytest.fixture
def new_loop():
    return uvloop.new_event_loop


# Readers run on uvloop alone. What their connections do they do on Python's own loop as well, as one test of each kind shows.
either_loop = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


@pytest.fixture
def loop(new_loop):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        yield runner


@pytest.fixture
def served(loop):
    """A site of two routes; its port, and a function that tells how many connections it has."""

    runners = []

    def start():
        runners.append(loop.run(listen()))
        return runners[0].addresses[0][1], lambda: len(runners[0].server.connections)

    yield start
    for runner in runners:
        loop.run(runner.cleanup())


async def rest(incoming):
    """What comes until the connection is closed, which it has to be."""
    with suppress(ConnectionError):
        return await asyncio.wait_for(incoming.read(), LONG)
    return b""


async def answer(incoming):
    head = await asyncio.wait_for(incoming.readuntil(b"\r\n\r\n"), LONG)
    [length] = [line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-length")]
    return head.split(b" ")[1], await incoming.readexactly(int(length))


def talk(loop, port, conversation):
    """What a conversation over one connection results in."""

    async def connect():
        incoming, outgoing = await asyncio.open_connection("127.0.0.1", port, limit=2**12)
        try:
            return await conversation(incoming, outgoing)
        finally:
            outgoing.close()

    return loop.run(connect())


async def drip(outgoing, text, *, every=0.02):
    with suppress(ConnectionError):
        for i in range(len(text)):
            outgoing.write(text[i : i + 1])
            await outgoing.drain()
            await asyncio.sleep(every)


@either_loop
@pytest.mark.parametrize("first", [b"", b"G", PART])
def test_headers_that_do_not_end_are_cut(loop, served, monkeypatch, first):
    monkeypatch.setattr(client_connections, "HEADER_SECONDS", 0.2)
    port, open_ones = served()

    async def ask(incoming, outgoing):
        outgoing.write(first)
        return await rest(incoming)

    assert talk(loop, port, ask) == b""
    assert open_ones() == 0


def test_headers_that_come_byte_by_byte_are_cut(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "HEADER_SECONDS", 0.2)
    port, open_ones = served()

    async def ask(incoming, outgoing):
        dripping = asyncio.create_task(drip(outgoing, b"GET /quick HTTP/1.1\r\n" + b"A: b\r\n" * 1000))
        told = await rest(incoming)
        dripping.cancel()
        return told

    assert talk(loop, port, ask) == b""
    assert open_ones() == 0


def test_headers_of_a_later_request_are_cut_too(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "HEADER_SECONDS", 0.2)
    port, open_ones = served()

    async def ask(incoming, outgoing):
        outgoing.write(WHOLE)
        first = await answer(incoming)
        await asyncio.sleep(0.5)  # idle for longer than headers may take
        outgoing.write(WHOLE)
        second = await answer(incoming)
        outgoing.write(PART)
        return first, second, await rest(incoming)

    assert talk(loop, port, ask) == (FINE, FINE, b"")
    assert open_ones() == 0


def test_headers_that_come_slowly_and_in_time_are_answered(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "HEADER_SECONDS", LONG)
    port, _ = served()

    async def ask(incoming, outgoing):
        await drip(outgoing, WHOLE, every=0)
        first = await answer(incoming)
        await drip(outgoing, WHOLE, every=0)
        return first, await answer(incoming)

    assert talk(loop, port, ask) == (FINE, FINE)


def test_a_request_that_takes_longer_than_headers_may_is_answered(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "HEADER_SECONDS", 0.2)
    port, _ = served()

    async def ask(incoming, outgoing):
        outgoing.write(WHOLE.replace(b"quick", b"slow") + WHOLE)
        await asyncio.sleep(0.1)
        outgoing.write(WHOLE)
        return [await answer(incoming) for _ in range(3)]

    assert talk(loop, port, ask) == [FINE] * 3


@either_loop
def test_an_idle_connection_is_closed(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "IDLE_SECONDS", 0.3)
    port, open_ones = served()

    async def ask(incoming, outgoing):
        outgoing.write(WHOLE)
        return await answer(incoming), await rest(incoming)

    assert talk(loop, port, ask) == (FINE, b"")
    assert open_ones() == 0


@pytest.mark.parametrize(("path", "status"), [(b"/body", b"408"), (b"/quick", b"200")])
def test_a_body_that_comes_byte_by_byte_is_cut_whether_or_not_it_is_read(loop, served, monkeypatch, path, status):
    monkeypatch.setattr("serving.http.admission.BODY_SECONDS", 0.2)
    monkeypatch.setattr(client_connections, "LINGER_SECONDS", 0.2)
    port, open_ones = served()

    async def ask(incoming, outgoing):
        outgoing.write(b"POST " + path + b" HTTP/1.1\r\nHost: reader\r\nContent-Length: 100000\r\n\r\n")
        dripping = asyncio.create_task(drip(outgoing, b"x" * 100_000))
        told, _ = await answer(incoming)  # before a reset of the connection takes it away
        await rest(incoming)
        dripping.cancel()
        return told

    assert talk(loop, port, ask) == status
    assert open_ones() == 0


@either_loop
def test_an_answer_that_nobody_takes_is_cut(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "STALL_SECONDS", 0.3)
    port, open_ones = served()

    async def ask(_, outgoing):
        outgoing.write(WHOLE.replace(b"quick", b"much"))
        for _ in range(LONG * 100):
            await asyncio.sleep(0.01)
            if not open_ones():
                break

    talk(loop, port, ask)
    assert open_ones() == 0


def test_an_answer_that_is_taken_slowly_and_in_time_comes_whole(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "STALL_SECONDS", LONG)
    port, _ = served()

    async def ask(incoming, outgoing):
        outgoing.write(WHOLE.replace(b"quick", b"much"))
        await asyncio.sleep(0.3)
        status, body = await answer(incoming)
        return status, len(body)

    assert talk(loop, port, ask) == (b"200", MUCH)


def test_a_body_in_many_parts_is_read(loop, served, monkeypatch):
    monkeypatch.setattr(client_connections, "HEADER_SECONDS", 0.2)
    port, _ = served()

    async def ask(incoming, outgoing):
        answers = []
        for _ in range(2):
            outgoing.write(b"POST /body HTTP/1.1\r\nHost: reader\r\nContent-Length: 20\r\n\r\n")
            await drip(outgoing, b"x" * 20)  # longer than headers may take
            answers.append(await answer(incoming))
        return answers

    assert talk(loop, port, ask) == [(b"200", b"20")] * 2


def test_five_hundred_who_never_ask_do_not_keep_others_from_asking(loop, served, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    monkeypatch.setattr(client_connections, "HEADER_SECONDS", LONG)
    port, open_ones = served()
    most = []

    async def crowd():
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(500)]
        dripping = [asyncio.create_task(drip(outgoing, b"GET /" + b"x" * 500, every=0.1)) for _, outgoing in slow]
        for _ in range(50):
            incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
            outgoing.write(WHOLE)
            assert await answer(incoming) == FINE
            outgoing.close()
            most.append(open_ones())
        too_many = len(slow) + 1 - client_connections.SILENT_AT_MOST  # with the one that has asked and gone
        told = await asyncio.gather(*(rest(incoming) for incoming, _ in slow[:too_many]))
        for task, (_, outgoing) in zip(dripping, slow, strict=True):
            task.cancel()
            outgoing.close()
        return told

    try:
        assert set(loop.run(crowd())) == {b""}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert max(most) <= client_connections.SILENT_AT_MOST + 50
