"""Where a worker takes its connections."""

import asyncio
import socket
from collections.abc import Sequence
from ssl import SSLContext

from aiohttp import web

from serving.connections import CarefulSite

WAITING = 1024  # connections that nobody has taken yet
LOOK_SECONDS = 0.02
TAKING_SECONDS = 1.0


class Door:
    """Takes connections from one of the sockets, and from the others what is left waiting there.

    That is where the worker of a socket is busy, or has ended: no connection is lost with a worker, and none waits for
    the next one to start.
    """

    def __init__(
        self, runner: web.AppRunner, sockets: Sequence[socket.socket], *, own: int, tls: SSLContext | None
    ) -> None:
        self._site = CarefulSite(runner, sockets[own], tls=tls, backlog=WAITING)
        self._others = [one for place, one in enumerate(sockets) if place != own]
        self._is_open = True
        self._taking: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._site.start()
        for one in self._others:
            one.setblocking(False)
        if self._others:
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Take no more connections; what waits is left to other workers."""
        self._is_open = False
        await self._site.stop()
        if self._looking is not None:
            await self._looking
        if self._taking:
            await asyncio.wait(self._taking, timeout=TAKING_SECONDS)

    async def _look(self) -> None:
        while self._is_open:
            await asyncio.sleep(LOOK_SECONDS)
            for one in self._others:
                while connection := taken_from(one):
                    task = asyncio.create_task(self._take(connection))
                    self._taking.add(task)
                    task.add_done_callback(self._taking.discard)

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._site.take(connection)
        except OSError:  # the other side has gone meanwhile
            connection.close()


def taken_from(listening: socket.socket) -> socket.socket | None:
    """A connection that waits there; None where there is none, or nobody has listened there yet."""
    try:
        connection, _ = listening.accept()
    except OSError:
        return None
    connection.setblocking(False)
    return connection
