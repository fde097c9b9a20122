"""Kept-alive HTTP/1.1 connections to one server, as cheap as they can be: whoever measures must not be what is measured."""

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import cast

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TYPE = re.compile(rb"\r\ncontent-type: *([^\r;]+)", re.IGNORECASE)


class Lost(Exception):
    """A connection that ended, or answered what this client does not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    type: str
    body: bytes


class Connection(asyncio.Protocol):
    """One request at a time; answers are read by their Content-Length."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._head = self._whole = 0  # bytes of the head, and of head and body, once the head is there
        self._answer: asyncio.Future[Answer] | None = None

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    def exchange(self, request: bytes) -> asyncio.Future[Answer]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._whole and not self._read_head():
            return
        if len(self._received) < self._whole:
            return
        head, body = bytes(self._received[: self._head]), bytes(self._received[self._head : self._whole])
        self._received.clear()
        self._head = self._whole = 0
        type_ = TYPE.search(head)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(int(head[9:12]), type_.group(1).decode() if type_ else "", body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost(f"the connection ended before the answer did: {exc}"))

    def close(self) -> None:
        self._transport.close()

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = LENGTH.search(self._received, 0, end)
        if length is None:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(Lost("an answer without Content-Length"))
            self._transport.close()
            return False
        self._head = end + 4
        self._whole = self._head + int(length.group(1))
        return True


class Connections:
    """At most so many of them; they are used in turn, so that all workers behind a shared port have work."""

    def __init__(self, host: str, port: int, *, most: int) -> None:
        self._host = host
        self._port = port
        self._free: deque[Connection] = deque()
        self._places = asyncio.Semaphore(most)

    async def open(self, number: int) -> None:
        """Have some connections ready."""
        self._free.extend([await self._connect() for _ in range(number)])

    async def exchange(self, request: bytes) -> Answer:
        """Send one request and wait for its answer; raises `Lost` or `OSError`."""
        async with self._places:
            while self._free and not self._free[0].is_open:
                self._free.popleft()
            connection = self._free.popleft() if self._free else await self._connect()
            answered = False
            try:
                answer = await connection.exchange(request)
                answered = True
                return answer
            finally:
                if answered:
                    self._free.append(connection)
                else:
                    connection.close()

    def close(self) -> None:
        while self._free:
            self._free.pop().close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        return connection
