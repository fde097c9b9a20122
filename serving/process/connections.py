"""Connections of clients that are slow or many: each has its time, and where there is no room the idlest is closed."""

import asyncio
import resource
import socket
from collections import OrderedDict
from pathlib import Path
from ssl import SSLContext
from typing import cast

from aiohttp import web

from serving.process.listening import be_succeeded
from serving.process.protocol import ReaderHandler

HEADER_SECONDS = 10.0  # for the headers of a request to arrive, and for the handshake of TLS before them
IDLE_SECONDS = 75.0  # between two requests; aiohttp's own is an hour
STALL_SECONDS = 30.0  # for an answer to be taken
LINGER_SECONDS = 2.0  # in which the rest of a body that nobody reads may come, before the connection is closed
SILENT_AT_MOST = 256  # connections of a process that have not sent a request yet
CONNECTIONS_AT_MOST = 4_096  # of a process, each of which takes some 30 kB
OTHER_DESCRIPTORS = 192  # for connections to the store, log files and whatever else a process opens


def room_for_connections() -> int:
    """How many connections this process may have and still open what else it needs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return CONNECTIONS_AT_MOST
    others = sum(1 for _ in Path("/dev/fd").iterdir()) + min(OTHER_DESCRIPTORS, limit // 2)
    return max(1, min(CONNECTIONS_AT_MOST, limit - others))


class Crowd:
    """The connections of one process, `most` of them at a time; those that have not sent a request are fewer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: OrderedDict[Careful, None] = OrderedDict()  # first the one that was silent for the longest time
        self._silent: dict[Careful, None] = {}

    def join(self, one: "Careful") -> None:
        """Take one more; closes another to make room, or this one where all others are being answered."""
        if len(self._silent) >= SILENT_AT_MOST:
            next(iter(self._silent)).cut()  # the oldest; who means to ask has asked by now
        self._all[one] = self._silent[one] = None
        if len(self._all) > self._most:
            next((other for other in self._all if other is not one and other.is_idle), one).cut()

    def hear(self, one: "Careful") -> None:
        """Note that something came on a connection just now."""
        if one in self._all:
            self._all.move_to_end(one)

    def has_asked(self, one: "Careful") -> None:
        self._silent.pop(one, None)

    def leave(self, one: "Careful") -> None:
        self._silent.pop(one, None)
        self._all.pop(one, None)


class Careful(asyncio.Protocol):
    """One connection: passes everything on to aiohttp's handler, and cuts it where headers or answers take too long.

    aiohttp has no time limit for either. It says how many requests it has read by `_request_count`, and that it
    waits for the next one by `_waiter`.
    """

    def __init__(self, inner: web.RequestHandler, crowd: Crowd) -> None:
        self._inner = inner
        self._crowd = crowd
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by descent
        self._inner.connection_made(transport)
        self._begin()
        self._crowd.join(self)

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, and all answers before it were taken."""
        return self._waits() and self._transport is not None and not self._transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        self._crowd.hear(self)
        read = self._inner._request_count
        self._inner.data_received(data)
        if self._inner._request_count > read:
            self._crowd.has_asked(self)
            self._end()
        elif self._timer is None and self._waits():
            self._begin()  # the first bytes of a request on a connection that was used before

    def cut(self) -> None:
        """Close the connection at once."""
        self._crowd.leave(self)
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._end()
        self._go_on()
        self._transport = None
        self._inner.connection_lost(exc)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def pause_writing(self) -> None:
        self._stalled = asyncio.get_running_loop().call_later(STALL_SECONDS, self.cut)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._go_on()
        self._inner.resume_writing()

    def _waits(self) -> bool:
        waiter = self._inner._waiter
        return waiter is not None and not waiter.done()

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEADER_SECONDS, self.cut)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class CarefulSite(web.BaseSite):
    """Listens on a socket, with such connections; those that were accepted elsewhere it takes as well."""

    def __init__(
        self, runner: web.AppRunner, listening: socket.socket, *, tls: SSLContext | None, backlog: int = 128
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=backlog)
        self._app_runner = runner
        self._listening = listening
        self._handshake_seconds = HEADER_SECONDS if tls else None
        self._crowd = Crowd(room_for_connections())

    @property
    def name(self) -> str:
        host, port, *_ = self._listening.getsockname()
        return f"{host} port {port}"

    async def start(self) -> None:
        await super().start()
        be_succeeded(self._listening)
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            sock=self._listening,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._handshake_seconds,
            backlog=self._backlog,
        )

    async def take(self, accepted: socket.socket) -> None:
        """Raises `OSError` where the other side has gone, or does not speak TLS where it should."""
        await asyncio.get_running_loop().connect_accepted_socket(
            self._connection, accepted, ssl=self._ssl_context, ssl_handshake_timeout=self._handshake_seconds
        )

    def _connection(self) -> Careful:
        server = self._app_runner.server
        assert server is not None
        return Careful(ReaderHandler(server, loop=asyncio.get_running_loop(), **server._kwargs), self._crowd)
