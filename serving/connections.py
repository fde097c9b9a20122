"""Connections of clients that are slow: each has its time, and those that have not said anything yet are few."""

import asyncio
import socket
from ssl import SSLContext
from typing import cast

from aiohttp import web

HEADER_SECONDS = 10.0  # for the headers of a request to arrive, and for the handshake of TLS before them
IDLE_SECONDS = 75.0  # between two requests; aiohttp's own is an hour
STALL_SECONDS = 30.0  # for an answer to be taken
LINGER_SECONDS = 2.0  # in which the rest of a body that nobody reads may come, before the connection is closed
SILENT_AT_MOST = 256  # connections of a process that have not sent a request yet


class Careful(asyncio.Protocol):
    """One connection: passes everything on to aiohttp's handler, and cuts it where headers or answers take too long.

    aiohttp has no time limit for either. It says how many requests it has read by `_request_count`, and that it
    waits for the next one by `_waiter`.
    """

    def __init__(self, inner: web.RequestHandler, silent: dict["Careful", None]) -> None:
        self._inner = inner
        self._silent = silent
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by descent
        self._inner.connection_made(transport)
        if len(self._silent) >= SILENT_AT_MOST:
            next(iter(self._silent)).cut()  # the oldest; who means to ask has asked by now
        self._silent[self] = None
        self._begin()

    def data_received(self, data: bytes) -> None:
        read = self._inner._request_count
        self._inner.data_received(data)
        if self._inner._request_count > read:
            self._end()
        elif self._timer is None and self._is_idle():
            self._begin()  # the first bytes of a request on a connection that was used before

    def cut(self) -> None:
        """Close the connection at once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
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

    def _is_idle(self) -> bool:
        waiter = self._inner._waiter
        return waiter is not None and not waiter.done()

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEADER_SECONDS, self.cut)

    def _end(self) -> None:
        self._silent.pop(self, None)
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
        self._silent: dict[Careful, None] = {}

    @property
    def name(self) -> str:
        host, port, *_ = self._listening.getsockname()
        return f"{host} port {port}"

    async def start(self) -> None:
        await super().start()
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
        return Careful(server(), self._silent)
