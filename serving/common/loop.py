"""How the event loop is shared: large answers in slices, and work that repeats beside requests."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from time import perf_counter

from serving.common.messages import one_line


async def keep_doing(
    what: str, do: Callable[[], Awaitable[None]], *, pause: Callable[[], float], log: logging.Logger
) -> None:
    """Do it after each pause, in seconds, until cancelled: whatever goes wrong is logged, and the next time comes.

    A failure that stays the same is logged once.
    """
    before = ""
    while True:
        await asyncio.sleep(pause())
        failure = ""
        try:
            await do()
        except Exception as error:  # noqa: BLE001 - what is wrong now may be right the next time, and nobody else looks
            failure = one_line(error)
        if failure and failure != before:
            log.error("%s failed, and is tried again: %s", what, failure)
        before = failure


SLICE_SECONDS = 0.001
ROWS_PER_SLICE = 500  # that are decoded in one piece
READS_AT_ONCE = 16  # of the store for large requests; connections are left for the others
PER_ROUND = 2  # pieces of work on such reads that one round of the event loop has

Steps = Generator[None, None, bytes]  # makes an answer, and says between its steps that it may pause


class Line:
    """The reads of the store for large requests: so many at once, and their work a few pieces in each round of the loop."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(READS_AT_ONCE)
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Wait for a round of the event loop that has room for one more piece of work."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._begin_round)
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _begin_round(self) -> None:
        for _ in range(min(PER_ROUND, len(self._waiting))):
            turn = self._waiting.popleft()
            if not turn.done():  # nobody has given it up
                turn.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._begin_round)


class Pace:
    """How a small answer is made: all at once."""

    rows = 2**31  # that are decoded in one piece
    line: Line | None = None  # that reads of the store wait in

    async def begin(self) -> None:
        """Wait for the turn to make an answer."""

    async def pause(self) -> None:
        """Let others go on, where a slice has been made."""

    def end(self) -> None:
        """Leave the turn to the next."""

    async def made(self, steps: Steps) -> bytes:
        """What the steps make."""
        try:
            while True:
                next(steps)
        except StopIteration as made:
            return bytes(made.value)


WHOLE = Pace()


class Turns:
    """The large answers of one process, of which one is made at a time."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.line = Line()


class Sliced(Pace):
    """How a large answer is made: in slices of about a millisecond, once it is its turn."""

    rows = ROWS_PER_SLICE

    def __init__(self, turns: Turns) -> None:
        self.line = turns.line
        self._turn = turns.turn
        self._is_on = False
        self._since = 0.0

    async def begin(self) -> None:
        await self._turn.acquire()
        self._is_on, self._since = True, perf_counter()

    async def pause(self) -> None:
        if perf_counter() - self._since >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._since = perf_counter()

    def end(self) -> None:
        if self._is_on:
            self._is_on = False
            self._turn.release()

    async def made(self, steps: Steps) -> bytes:
        try:
            while True:
                next(steps)
                await self.pause()
        except StopIteration as made:
            return bytes(made.value)
