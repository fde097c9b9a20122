"""Admission of requests to a process: bodies that arrive in time, time budgets, and places that bound memory."""

import asyncio
import math
from collections import deque

from aiohttp import web
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDictProxy

from serving.common.interface import BUDGET_HEADER
from serving.common.loop import WHOLE, AnswerPace, LargeAnswers, Sliced
from serving.common.request import BadRequest, only_value
from serving.telemetry.metrics import AT_ONCE, SHEDS, Counters
from tailrace.errors import UnavailableError, UsageError

LONGEST_MS = 60_000
LONGEST_QUOTED = 40  # characters of an invalid budget

PATIENCE_SECONDS = 0.01  # for a place among the small ones
LARGE_BYTES = 2**18  # an answer of more is large
LARGE_AT_ONCE = 2**25  # bytes of large answers, from when they are begun until they are sent
LARGE_WAITING = 64  # requests for large answers that wait in line
BYTES_PER_VALUE = 64  # of the largest form: 47 with numbers and short texts
BODIES_AT_ONCE = 2**24  # bytes of bodies that did not come with their headers
SMALL_BODY = 2**16  # bytes; for bodies of no more than these a quarter of that is kept

BODY_BYTES = 2**20
BODY_SECONDS = 5.0  # for a body to arrive; a slow client holds nothing for longer


def deadline_of(headers: CIMultiDictProxy[str], *, default_ms: float) -> float:
    """When the store must have answered, in the event loop's time; the request begins now. Raises `BadRequest`."""
    text = only_value(headers, BUDGET_HEADER)
    return asyncio.get_running_loop().time() + (default_ms if text is None else milliseconds(text)) / 1000


def milliseconds(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not 0 < budget <= LONGEST_MS:
        raise BadRequest(
            f"header {BUDGET_HEADER}: {text[:LONGEST_QUOTED]!r} is not a budget; give milliseconds, above 0 and at most {LONGEST_MS}"
        )
    return budget


class Overloaded(UnavailableError):
    """A request for which there is no place now."""


class Pool:
    """So many units, given out in the order in which they are asked for."""

    def __init__(self, size: int) -> None:
        self._size = self.free = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def take_now(self, amount: int) -> bool:
        """Take so many, if they are free and nobody waits."""
        if self._line or amount > self.free:
            return False
        self.free -= amount
        return True

    async def take(self, amount: int, *, within: float) -> int:
        """Take so many, or all that there are of a greater number, and return how many; raises `TimeoutError`."""
        amount = min(amount, self._size)
        if self.take_now(amount):
            return amount
        waiter = amount, asyncio.get_running_loop().create_future()
        self._line.append(waiter)
        try:
            async with asyncio.timeout(within):
                await waiter[1]
        except BaseException:
            if waiter in self._line:
                self._line.remove(waiter)
                self._next()  # which may have waited behind this one
            else:
                self.give(amount)  # it came too late
            raise
        return amount

    def give(self, amount: int) -> None:
        """Give so much back; a negative amount takes more, also where there is none."""
        self.free += amount
        self._next()

    def _next(self) -> None:
        while self._line and self._line[0][0] <= self.free:
            amount, turn = self._line.popleft()
            self.free -= amount
            if turn.done():  # given up just now: the one who waited is about to leave, and gives it back
                continue
            turn.set_result(None)


class Reservation:
    """Units that one request reserves until its answer was sent; `is_large` says that it is one of the large ones."""

    __slots__ = ("_counters", "_parts", "is_large")

    def __init__(self) -> None:
        self.is_large = False
        self._counters: Counters | None = None
        self._parts: dict[Pool, int] = {}

    def count(self, counters: Counters) -> None:
        """Count the request as one that is being answered, until all is released."""
        self._counters = counters
        counters.add((AT_ONCE,))

    def add(self, pool: Pool, amount: int) -> None:
        """Note that so much of one pool is reserved."""
        self._parts[pool] = self._parts.get(pool, 0) + amount

    def set(self, pool: Pool, amount: int) -> None:
        """Hold exactly so much of one pool, more than is free if need be."""
        pool.give(self._parts.get(pool, 0) - amount)
        self._parts[pool] = amount

    def give(self, pool: Pool) -> None:
        """Give back the share of one pool."""
        pool.give(self._parts.pop(pool, 0))

    def release(self) -> None:
        """Give back everything."""
        for pool in list(self._parts):
            self.give(pool)
        if self._counters is not None:
            self._counters.add((AT_ONCE,), -1)
            self._counters = None


RESERVATION = web.RequestKey("RESERVATION", Reservation)


def reservation_of(request: web.Request) -> Reservation:
    """The reservation of a request; whoever sends the answer releases it."""
    reservation = request.get(RESERVATION)
    if reservation is None:
        reservation = request[RESERVATION] = Reservation()
    return reservation


class Admission:
    """Places for `at_once` small requests, memory for large answers, and memory for bodies that are on their way."""

    def __init__(self, at_once: int, counters: Counters) -> None:
        self._at_once = at_once
        self._counters = counters
        self._bodies = Pool(BODIES_AT_ONCE)
        self._places = Pool(at_once)
        self._large = Pool(LARGE_AT_ONCE)
        self._turns = LargeAnswers()

    def have_room_for_body(self, reservation: Reservation, size: int) -> None:
        """Hold memory for a body on its way; raises `Overloaded` if too many others are."""
        left = 0 if size <= SMALL_BODY else BODIES_AT_ONCE // 4
        if self._bodies.free - size < left or not self._bodies.take_now(size):
            raise self._overloaded("too many bodies are on their way")
        reservation.add(self._bodies, size)

    async def enter(self, reservation: Reservation) -> None:
        """Hold a place among the small requests; raises `Overloaded` if none gets free soon."""
        if not self._places.take_now(1):
            try:
                await self._places.take(1, within=PATIENCE_SECONDS)
            except TimeoutError as error:
                raise self._overloaded(f"{self._at_once} requests are being answered") from error
        reservation.add(self._places, 1)
        reservation.count(self._counters)

    async def weigh(self, reservation: Reservation, *, values: int, deadline: float) -> AnswerPace:
        """Have a request for a large answer change over to the line of those, with half of the time that it has left.

        `values` are its rows times its features. Returns how the answer is to be made; raises `Overloaded` if its turn
        does not come in that time.
        """
        size = values * BYTES_PER_VALUE
        if size <= LARGE_BYTES:
            return WHOLE
        reservation.give(self._places)
        if self._large.waiting >= LARGE_WAITING:
            raise self._overloaded(f"{LARGE_WAITING} requests wait to make a large answer")
        left = (deadline - asyncio.get_running_loop().time()) / 2
        try:
            reservation.add(self._large, await self._large.take(size, within=left))
        except TimeoutError as error:
            raise self._overloaded("other large answers are being made and sent") from error
        reservation.is_large = True
        return Sliced(self._turns)

    def settle(self, reservation: Reservation, size: int) -> None:
        """Reserve as much as the answer turned out to have; it exists already, so this cannot be refused."""
        if reservation.is_large or size > LARGE_BYTES:
            reservation.set(self._large, size)

    def _overloaded(self, why: str) -> Overloaded:
        self._counters.add((SHEDS,))
        return Overloaded(f"{why}; try again, or start more workers")


READ_PLACES = web.AppKey("READ_PLACES", Admission)
WRITE_PLACES = web.AppKey("WRITE_PLACES", Admission)


class ClientLeft(UsageError):
    """The client closed the connection before its request was whole; there is nobody to answer."""

    http_status = 499  # as nginx calls it; nobody sees the answer


async def body_of(request: web.Request, admission: Admission) -> bytes:
    """All of it; raises `BadRequest`, `ClientLeft`, `Overloaded`, and what aiohttp answers 408 and 413 for."""
    try:
        if request.content.is_eof():  # it came with its headers
            return await request.read()
        admission.have_room_for_body(reservation_of(request), size_of(request))
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from error
    except OSError as error:
        raise ClientLeft from error


def size_of(request: web.Request) -> int:
    """Bytes that the body may have: what it says, or as many as are allowed where it does not, or is packed."""
    said = request.content_length
    return BODY_BYTES if said is None or "Content-Encoding" in request.headers else min(said, BODY_BYTES)
