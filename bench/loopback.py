"""Small servers on loopback that belong to the process which started them, and the generator's connections to one."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

import uvloop

from tailrace.store.dynamodb.connections import Connection, Reply

HOST = "127.0.0.1"


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an address that names both."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{url} has no host or no port")
    return parts.hostname, parts.port


def serve(protocol: Callable[[], asyncio.Protocol]) -> None:
    """Listen on a free port, print its address, and go on until standard input ends, as it does with the parent."""
    uvloop.run(until_input_ends(protocol))


async def until_input_ends(protocol: Callable[[], asyncio.Protocol]) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(protocol, HOST, 0)
    sys.stdout.write(f"http://{HOST}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


class LoadConnections:
    """At most so many of them; they are used in turn, so all workers behind a shared port have work."""

    def __init__(self, host: str, port: int, *, most: int) -> None:
        self._host = host
        self._port = port
        self._free: deque[Connection] = deque()
        self._places = asyncio.Semaphore(most)

    async def open(self, number: int) -> None:
        """Have some connections ready."""
        self._free.extend([await self._connect() for _ in range(number)])

    async def exchange(self, request: bytes) -> Reply:
        """Send one request and wait for its answer; raises `OSError`."""
        async with self._places:
            while self._free and not self._free[0].is_usable:
                self._free.popleft()
            connection = self._free.popleft() if self._free else await self._connect()
            try:
                reply = await connection.exchange(request)
            except BaseException:
                connection.close()
                raise
            self._free.append(connection)
            return reply

    def close(self) -> None:
        while self._free:
            self._free.pop().close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        return connection
