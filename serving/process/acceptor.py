"""Where a worker takes its connections."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from ssl import SSLContext

from aiohttp import web

from serving.common.messages import one_line
from serving.process.connections import CarefulSite

WAITING = 1024  # connections that nobody has taken yet
PATIENCE_SECONDS = 0.02  # for the worker whose socket it is to take a connection
TAKING_SECONDS = 1.0

log = logging.getLogger(__name__)


class Acceptor:
    """Takes connections from one of the sockets, and from the others what is left waiting there.

    That is where the worker of a socket is busy, or has ended: no connection is lost with a worker, and none waits for
    the next one to start. While no connection comes it does nothing: to look at the others fifty times a second took more
    than a hundredth of a core from every worker.
    """

    def __init__(
        self, runner: web.AppRunner, sockets: Sequence[socket.socket], *, own: int, tls: SSLContext | None
    ) -> None:
        self._site = CarefulSite(runner, sockets[own], tls=tls, backlog=WAITING)
        self._others = [one for place, one in enumerate(sockets) if place != own]
        self._taking: set[asyncio.Task[None]] = set()
        self._looks: dict[socket.socket, asyncio.TimerHandle] = {}

    async def open(self) -> None:
        await self._site.start()
        for one in self._others:
            one.setblocking(False)
            self._watch(one)

    async def close(self) -> None:
        """Take no more connections; what waits is left to other workers."""
        for one in self._others:
            asyncio.get_running_loop().remove_reader(one)
        for look in self._looks.values():
            look.cancel()
        await self._site.stop()
        if self._taking:
            await asyncio.wait(self._taking, timeout=TAKING_SECONDS)

    def _watch(self, other: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(other, self._notice, other)

    def _notice(self, other: socket.socket) -> None:
        """A connection has come there: see a little later whether it still waits, and watch nothing until then."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(other)
        self._looks[other] = loop.call_later(PATIENCE_SECONDS, self._look, other)

    def _look(self, other: socket.socket) -> None:
        while connection := taken_from(other):
            task = asyncio.create_task(self._take(connection))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)
        self._watch(other)

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._site.take(connection)
        except OSError:  # the other side has gone meanwhile
            connection.close()
        except Exception as error:  # noqa: BLE001 - the others are to be taken all the same
            connection.close()
            log.warning("a connection could not be taken: %s", one_line(error))


def taken_from(listening: socket.socket) -> socket.socket | None:
    """A connection that waits there; None where there is none, or nobody has listened there yet."""
    try:
        connection, _ = listening.accept()
    except OSError:
        return None
    connection.setblocking(False)
    return connection
