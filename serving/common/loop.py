"""How the event loop is shared: large answers in slices, and work that repeats between requests."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from time import perf_counter

from serving.common.messages import one_line

SLICE_SECONDS = 0.001
ROWS_PER_SLICE = 500  # that are decoded in one piece
READS_AT_ONCE = 16  # of the store for large requests; connections are left for the others

Steps = Generator[None, None, bytes]  # makes an answer, and says between its steps that it may pause


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


class Line:
    """The work of large requests: so many reads of the store at once, and one piece of work in each round of the loop.

    A small request takes several rounds, and waits in each for the piece that it has.
    """

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(READS_AT_ONCE)
        self._reads: deque[asyncio.Future[None]] = deque()
        self._slices: deque[asyncio.Future[None]] = deque()
        self._was_slice = False  # in the round before

    async def turn(self) -> None:
        """Wait for a round of the event loop that has room for a piece of a read."""
        await self._wait_in(self._reads)

    async def slice(self) -> None:
        """Wait for a round of the event loop that has room for a slice of an answer: every other one, if reads wait."""
        await self._wait_in(self._slices)

    async def _wait_in(self, waiting: deque[asyncio.Future[None]]) -> None:
        loop = asyncio.get_running_loop()
        if not self._reads and not self._slices:
            loop.call_soon(self._begin_round)
        turn = loop.create_future()
        waiting.append(turn)
        await turn

    def _begin_round(self) -> None:
        first, second = self._slices, self._reads
        if self._was_slice:
            first, second = second, first
        while waiting := first or second:
            turn = waiting.popleft()
            if not turn.done():  # nobody has given it up
                self._was_slice = waiting is self._slices
                turn.set_result(None)
                break
        if self._reads or self._slices:
            asyncio.get_running_loop().call_soon(self._begin_round)


class AnswerPace:
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
        """The answer that the steps make."""
        try:
            while True:
                next(steps)
        except StopIteration as made:
            return bytes(made.value)


WHOLE = AnswerPace()


class LargeAnswers:
    """The large answers of one process, of which one is made at a time."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.line = Line()


class Sliced(AnswerPace):
    """How a large answer is made: in slices of about a millisecond, once it is its turn."""

    rows = ROWS_PER_SLICE

    def __init__(self, turns: LargeAnswers) -> None:
        self.line: Line = turns.line
        self._turn = turns.turn
        self._is_on = False
        self._since = 0.0

    async def begin(self) -> None:
        await self._turn.acquire()
        self._is_on, self._since = True, perf_counter()

    async def pause(self) -> None:
        if perf_counter() - self._since >= SLICE_SECONDS:
            await self.line.slice()
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
