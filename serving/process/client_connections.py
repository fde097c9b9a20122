"""Connections of clients: how workers take them, slow, idle or many ones, and aiohttp's side of one."""

import asyncio
import logging
import re
import resource
import socket
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from ssl import SSLContext
from typing import Any, cast

from aiohttp import web

from serving.common.messages import one_line
from serving.http.responses import detail
from serving.process.sockets import be_succeeded

REQUEST_LINE = re.compile(rb"[A-Z]+ [^ ]+ HTTP/1\.[01]\r\n")
HEAD_END = b"\r\n\r\n"

log = logging.getLogger(__name__)

HEADER_SECONDS = 10.0  # for the headers of a request to arrive, and for the handshake of TLS before them
IDLE_SECONDS = 75.0  # between two requests; aiohttp's own is an hour
STALL_SECONDS = 30.0  # for a client to take an answer
LINGER_SECONDS = 2.0  # in which the rest of a body that nobody reads may come, before the connection is closed
SILENT_AT_MOST = 256  # connections of a process that have not sent a request yet
CONNECTIONS_AT_MOST = 4_096  # of a process, each of which takes some 30 kB
OTHER_DESCRIPTORS = 192  # for connections to the store, log files and whatever else a process opens

WAITING = 1024  # connections that nobody has accepted yet
PATIENCE_SECONDS = 0.02  # for the worker whose socket it is to take a connection
TAKING_SECONDS = 1.0


class ReaderHandler(web.RequestHandler):
    """Answers as JSON what no handler or middleware sees, and knows whether a request was dropped.

    aiohttp logs all frames of such failures; this logs one line, which has nothing of what was sent: that may be a key.
    """

    __slots__ = ("_body_left", "has_dropped")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._body_left = 0
        self.has_dropped = False

    def data_received(self, data: bytes) -> None:
        """Read what came. The parser forgets what comes in one piece with, and behind, a request to change the protocol.

        `has_dropped` says that it may have: a connection that goes on would leave a request there without an answer.
        """
        before = self._request_count
        super().data_received(data)
        if self._request_count == before:
            if self._body_left:
                self._body_left -= len(data)
        elif getattr(self._messages[-1][0], "upgrade", False):
            self._body_left = body_left(self._messages[-1][0], data) if self._request_count == before + 1 else -1
        if self._body_left < 0:
            self.has_dropped = True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that is not HTTP, or whose headers aiohttp cannot take; it ends the connection."""
        if isinstance(exc, UnicodeError):
            status, message = 400, "a header has bytes that are not text"
        log.warning("a request of %s was answered %d: %s", request.remote, status, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer has been sent")
        answer = detail(status, " ".join((message or "the reader failed").split()))
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, also one that aiohttp refuses a request with before any handler or middleware has it."""
        if isinstance(resp, web.HTTPException) and resp.content_type != "application/json":
            resp = detail(resp.status, resp.text or resp.reason)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *_: Any, **options: Any) -> None:
        """Log why a connection is closed."""
        failure = options.get("exc_info")
        kind = type(failure).__name__ if isinstance(failure, BaseException) else "an error"
        log.warning("a connection was closed: %s", kind)


def body_left(message: Any, data: bytes) -> int:
    """Bytes of a request's body that are to come after `data`; below 0 where other ones may stand behind it there."""
    end = data.find(HEAD_END)
    if message.chunked or end < 0 or not REQUEST_LINE.match(data):
        return -1
    return int(message.headers.get("Content-Length", 0)) - (len(data) - end - len(HEAD_END))


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
        """Whether it waits for a request, and all answers before it were sent."""
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
        """Raises `OSError` if the other side has gone, or does not speak TLS where it should."""
        await asyncio.get_running_loop().connect_accepted_socket(
            self._connection, accepted, ssl=self._ssl_context, ssl_handshake_timeout=self._handshake_seconds
        )

    def _connection(self) -> Careful:
        server = self._app_runner.server
        assert server is not None
        return Careful(ReaderHandler(server, loop=asyncio.get_running_loop(), **server._kwargs), self._crowd)


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
        while connection := accepted_from(other):
            task = asyncio.create_task(self._take(connection))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)
        self._watch(other)

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._site.take(connection)
        except OSError:  # the other side has gone meanwhile
            connection.close()
        except Exception as error:  # noqa: BLE001 - the others are to be accepted all the same
            connection.close()
            log.warning("a connection could not be accepted: %s", one_line(error))


def accepted_from(listening: socket.socket) -> socket.socket | None:
    """A connection that waits there; None if there is none, or nobody has listened there yet."""
    try:
        connection, _ = listening.accept()
    except OSError:
        return None
    connection.setblocking(False)
    return connection
