"""How many requests a process works on at a time; what is too much is refused at once, while that still helps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from serving.operations.board import Cells
from serving.operations.metrics import AT_ONCE, SHEDS

PATIENCE_SECONDS = 0.01


class Overloaded(Exception):
    """A request for which there is no place now."""


class Admission:
    """Places for `at_once` requests; the others wait, not for long, in the order in which they came."""

    def __init__(self, at_once: int, cells: Cells) -> None:
        self._at_once = at_once
        self._cells = cells
        self._places = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; raises `Overloaded` where none gets free in time."""
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()
        self._cells.add((AT_ONCE,))
        try:
            yield
        finally:
            self._cells.add((AT_ONCE,), -1)
            self._places.release()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._places.acquire()
        except TimeoutError as error:
            self._cells.add((SHEDS,))
            reason = f"{self._at_once} requests are being answered; try again, or start more workers"
            raise Overloaded(reason) from error


ADMISSION = web.AppKey("ADMISSION", Admission)
