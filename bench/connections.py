"""The generator's connections to one server."""

import asyncio
from collections import deque

from tailrace.store.dynamodb.connections import Connection, Reply


class Connections:
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
