"""A port that is taken over from a reader that has ended, and one that another reader has."""

import asyncio
import socket
from contextlib import closing

import pytest
from aiohttp import web

from serving.process.client_connections import CarefulSite
from serving.process.sockets import AddressError, bound_sockets

LAST = b"GET / HTTP/1.1\r\nHost: reader\r\nConnection: close\r\n\r\n"


async def end_a_connection(listening):
    """Answer one request, and close its connection before the client does, which leaves it in TIME-WAIT here."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await CarefulSite(runner, listening, tls=None).start()
    incoming, outgoing = await asyncio.open_connection(*listening.getsockname())
    outgoing.write(LAST)
    answer = await incoming.read()
    outgoing.close()
    await runner.cleanup()
    return answer


def test_a_reader_has_its_port_again_at_once_after_it_closed_connections():
    with bound_sockets("127.0.0.1", 0, count=2) as sockets:
        port = sockets[0].getsockname()[1]
        answer = asyncio.run(end_a_connection(sockets[0]))

    with bound_sockets("127.0.0.1", port, count=2) as again:
        assert again[0].getsockname()[1] == port
    assert answer.startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("listens", [True, False], ids=["listens", "starts"])
def test_a_port_that_another_reader_has_is_refused(listens):
    with bound_sockets("127.0.0.1", 0, count=2) as theirs:
        port = theirs[0].getsockname()[1]

        async def serve():
            runner = web.AppRunner(web.Application())
            await runner.setup()
            if listens:
                await CarefulSite(runner, theirs[0], tls=None).start()
            with (
                pytest.raises(AddressError, match=f"port {port}.*choose another"),
                bound_sockets("127.0.0.1", port, count=1),
            ):
                pass
            await runner.cleanup()

        asyncio.run(serve())


def test_a_port_of_another_server_is_refused():
    with closing(socket.create_server(("127.0.0.1", 0), reuse_port=True)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressError, match=f"port {port}"), bound_sockets("127.0.0.1", port, count=1):
            pass
