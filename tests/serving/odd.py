"""A reader with its own connections, and requests over a raw socket that no client would send."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
from aiohttp import web

from serving.process.client_connections import CarefulSite

PATIENCE_SECONDS = 20.0  # far more than anything takes


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer as it came; `closes` says that its connection ends with it."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        """Why there is no other answer, which is JSON in every case."""
        told = orjson.loads(self.body)
        assert list(told) == ["detail"]
        assert self.headers["content-type"].startswith("application/json")
        return str(told["detail"])

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "close" if self.version == "HTTP/1.0" else "").lower() == "close"


def message(
    *lines: bytes, path: bytes = b"/features", method: bytes = b"GET", body: bytes = b"", host: bytes = b"localhost"
) -> bytes:
    """A request with these header lines; it says how long its body is, unless a line says how it comes."""
    head = [method + b" " + path + b" HTTP/1.1", b"Host: " + host, *lines]
    if body and not any(re.match(rb"(?i)content-length|transfer-encoding", line) for line in lines):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def asked(body: bytes, *lines: bytes, path: bytes = b"/get-online-features") -> bytes:
    return message(*lines, path=path, method=b"POST", body=body)


async def read_answer(incoming: asyncio.StreamReader) -> Answer:
    head = b"HTTP/1.1 100"
    while head.startswith(b"HTTP/1.1 100"):
        head = await incoming.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await incoming.readexactly(int(headers.get("content-length", "0")))
    version, status, *_ = first.split(" ")
    return Answer(version=version, status=int(status), headers=headers, body=body)


async def answers_to(port: int, *parts: bytes) -> list[Answer]:
    """Send parts one after the other, say that there are no more, and read all answers until the reader closes."""
    incoming, outgoing = await asyncio.open_connection("127.0.0.1", port)
    answers: list[Answer] = []
    try:
        for part in parts:
            outgoing.write(part)
            await asyncio.sleep(0.01 if len(parts) > 1 else 0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answers.append(await read_answer(incoming))
                if answers[-1].closes:
                    return answers
    except (asyncio.IncompleteReadError, ConnectionError):
        return answers
    finally:
        outgoing.close()


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[int]:
    """The port of an application on the reader's own connections."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = CarefulSite(runner, socket.create_server(("127.0.0.1", 0)), tls=None)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
