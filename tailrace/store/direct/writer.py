"""Write values of direct views for many callers at once: whoever comes while the disk or the store is busy goes together."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

from tailrace.errors import UnavailableError
from tailrace.store.control import OtherLane
from tailrace.store.direct.log import Log, LogError, Segment, deliver
from tailrace.store.direct.pending import (
    SLOW_SECONDS,
    VALUES_WAITING,
    WAIT_SECONDS,
    GroupSize,
    Numbered,
    Pending,
    Value,
    Written,
    fail,
)
from tailrace.store.direct.replay import Adopter, Round, Views, outcomes_of
from tailrace.store.direct.sender import SEND_SECONDS, Sender, Unknown
from tailrace.store.failures import StoreError
from tailrace.store.lease import seconds_since_boot
from tailrace.store.order import Order
from tailrace.store.port import Store

SEGMENT_SECONDS = 10.0  # after which a segment is finished and landed
LOOK_SECONDS = 1.0  # between looks at what is to be finished
ADOPT_SECONDS = 5.0
FAILURES_SHOWN = 3

log = logging.getLogger(__name__)


class Busy(UnavailableError):
    """So many values wait to be written that no more are accepted; nothing of these was written."""


@dataclass(slots=True, eq=False)
class Current:
    """The segment that is written to, and what of it is not finished."""

    segment: Segment
    begun: float
    numbers: "count[int]" = field(default_factory=count)
    groups: int = 0
    is_known: bool = True


class DirectWriter:
    """Logs, writes, logs and answers; `views` gives the definitions in use. An `async with` block runs it."""

    def __init__(self, store: Store, where: Log, views: Callable[[], Views], *, transactions: bool) -> None:
        self._store, self._where = store, where
        self._sender = Sender(store, transactions)
        self._adopter = Adopter(self._sender, views, where)
        self._size = GroupSize()
        self._waiting: deque[Pending] = deque()
        self._wake = asyncio.Event()
        self._groups: set[asyncio.Task[None]] = set()
        self._open: Current | None = None
        self._left: list[Current] = []
        self._acknowledged: dict[str, int] = {}
        self._has_table = False
        self._takes_log = True

    async def __aenter__(self) -> "DirectWriter":
        tasks = (self._take_turns(), again_and_again(self._tidy, LOOK_SECONDS), self._adopt())
        self._running = [asyncio.create_task(task) for task in tasks]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what is under way, and leave to others what cannot be finished."""
        while self._waiting or self._groups:
            await asyncio.wait([*self._groups, asyncio.create_task(asyncio.sleep(0))])
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._move_watermarks()
        self._leave_segment()
        await self._finish_segments()
        for left in self._left:
            left.segment.close()

    async def write(self, values: Sequence[Value], *, orders: Sequence[Order] | None = None) -> list[Written]:
        """Write values and return what became of each; a value returned as written is in the store and in the log.

        `orders` are those that the values were given before, where they are written once more. Raises `Busy`,
        `OtherLane`, `LogError` and `StoreError`; after the latter two, values may be written yet.
        """
        if not values:
            return []
        self._check_room(len(values))
        loop = asyncio.get_running_loop()
        pending = [Pending(value, loop.create_future(), loop.time()) for value in values]
        for one, order in zip(pending, orders or (), strict=False):
            one.order = order
        self._waiting.extend(pending)
        self._wake.set()
        answers = await asyncio.gather(*(one.done for one in pending), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, Written)]

    def _check_room(self, values: int) -> None:
        """Raise `Busy` where more comes than the store takes in time; one who comes alone always gets a try."""
        waiting, is_idle = len(self._waiting), not self._waiting and not self._groups
        if waiting + values > (VALUES_WAITING if is_idle else self._size.may_wait):
            raise Busy(f"{waiting:,} values wait to be written; send these later, or fewer at once")
        if self._adopter.unknown > VALUES_WAITING:
            raise Busy(
                f"the store is behind: {self._adopter.unknown:,} logged values wait to be written; send these later"
            )

    @property
    def takes_writes(self) -> bool:
        """Whether the log could be written when it last had to be; a full disk is found out by a write."""
        return self._takes_log

    async def have_table(self) -> None:
        """Make the store's table, once, unless it is there."""
        if not self._has_table:
            await self._store.ensure_ready(seconds=SEND_SECONDS)
            self._has_table = True

    async def _take_turns(self) -> None:
        while True:
            await self._wake.wait()
            while len(self._groups) >= self._size.groups:
                await asyncio.wait(self._groups, return_when=asyncio.FIRST_COMPLETED)
            await self._sender.turns.come_near(SLOW_SECONDS)
            group = self._next_group()
            if not self._waiting:
                self._wake.clear()
            if group:
                task = asyncio.create_task(self._write_group(group))
                self._groups.add(task)
                task.add_done_callback(self._groups.discard)

    def _next_group(self) -> list[Pending]:
        """The values that have waited longest; those that waited too long, or for nobody any more, are left out."""
        now, group = asyncio.get_running_loop().time(), list[Pending]()
        most = min(self._size.values, self._sender.room(SLOW_SECONDS))
        while self._waiting and len(group) < most:
            first = self._waiting.popleft()
            if now - first.since > WAIT_SECONDS:
                why = f"values waited for over {WAIT_SECONDS:g} s; the store takes fewer than come; send fewer at once"
                fail([first], StoreError("TooLate", why))
            elif not first.done.done():
                group.append(first)
        return group

    async def _write_group(self, group: list[Pending]) -> None:
        try:
            await self._write_together(group, until=seconds_since_boot() + SEND_SECONDS)
        except (LogError, StoreError) as error:
            self._takes_log = not isinstance(error, LogError)
            fail(group, error)
        except Exception as error:
            fail(group, error)
            raise

    async def _write_together(self, group: list[Pending], *, until: float) -> None:
        # By the object: after a reload there may be two of one name, with values that were checked by each.
        by_view: dict[int, list[Pending]] = defaultdict(list)
        for pending in group:
            by_view[id(pending.value.view)].append(pending)
        await self.have_table()
        numbered = await asyncio.gather(*(self._number(pending) for pending in by_view.values()))
        if writable := [one for one in numbered if one is not None]:
            await self._write_numbered(writable, until)

    async def _number(self, pending: list[Pending]) -> Numbered | None:
        """Give orders to the values of one view that have none; None where they cannot be written."""
        view = pending[0].value.view
        new = [one for one in pending if one.order is None]
        try:
            given = await self._store.take_revisions(view.name, view.features, count=len(new))
        except (OtherLane, StoreError) as error:
            fail(pending, error)
            return None
        for revision, one in enumerate(new, given.first):
            one.order = Order(one.value.occurred_at, revision)
        return Numbered(view, pending, given.sequence)

    async def _write_numbered(self, numbered: list[Numbered], until: float) -> None:
        current = self._current()
        current.groups += 1
        is_known = False
        try:
            is_known = await self._write_logged(numbered, current, until)
        finally:
            current.groups -= 1
            if not is_known:
                current.is_known = False
                if self._open is current:
                    self._leave_segment()  # what is unknown is looked into soon

    async def _write_logged(self, numbered: list[Numbered], current: Current, until: float) -> bool:
        """Log, write, log and answer; False where it is not known of all values what became of them."""
        pending = [one for view in numbered for one in view.pending]
        intents = [view.intents(current.numbers) for view in numbered]
        rows = [row for view, own in zip(numbered, intents, strict=True) for row in view.rows(own)]
        logged = [intent for own in intents for intent in own]
        await asyncio.to_thread(current.segment.append, [intent.to_line() for intent in logged])
        self._takes_log = True
        began = asyncio.get_running_loop().time()
        results = await self._sender.write(rows, until=until)
        known = sum(not isinstance(one, Unknown) for one in results)
        seconds = asyncio.get_running_loop().time() - began
        self._size.learn(len(rows), known, seconds, is_busy=bool(self._waiting))
        await asyncio.to_thread(current.segment.append, [outcomes_of(logged, results)])
        now = time.time_ns() // 1000
        self._acknowledged |= {view.view.name: now for view in numbered}
        for one, row, result in zip(pending, rows, results, strict=True):
            if isinstance(result, Unknown):
                fail([one], result.why)
            elif not one.done.done():
                one.done.set_result(Written(row.order, result))
        return known == len(rows)

    def _current(self) -> Current:
        if self._open is None:
            self._open = Current(Segment.begin(self._where.folder), asyncio.get_running_loop().time())
        return self._open

    def _leave_segment(self) -> None:
        if self._open is not None:
            self._left.append(self._open)
            self._open = None

    async def _tidy(self) -> None:
        """Move the watermarks of the views, and land finished segments."""
        await self._move_watermarks()
        if self._open is not None and asyncio.get_running_loop().time() - self._open.begun >= SEGMENT_SECONDS:
            self._leave_segment()
        await self._finish_segments()

    async def _adopt(self) -> None:
        """Finish the segments of processes that are gone, and those of this one of which something is unknown."""
        while True:
            done, began = Round(), asyncio.get_running_loop().time()
            try:
                done = await self._adopter.look()
                if done.failures:
                    log.warning("the log of direct writes: %s", brief(done.failures))
            except Exception:  # what is wrong now may be right in a moment, and nobody else looks
                log.exception("the log of direct writes")
            # Half of the time is for those who wait for an answer.
            seconds = asyncio.get_running_loop().time() - began
            await asyncio.sleep(min(seconds, ADOPT_SECONDS) if done.has_progress else ADOPT_SECONDS)

    async def _move_watermarks(self) -> None:
        acknowledged, self._acknowledged = self._acknowledged, {}
        for view, at in acknowledged.items():
            with contextlib.suppress(StoreError):  # the next write moves it
                await self._store.move_direct_watermark(view, to=at)

    async def _finish_segments(self) -> None:
        """Land the segments that nothing is written to any more; those of which something is unknown are to be adopted."""
        ended = [left for left in self._left if not left.groups]
        self._left = [left for left in self._left if left.groups]
        for left in ended:
            if not left.is_known:
                left.segment.close()
                continue
            try:
                await asyncio.to_thread(deliver, left.segment, self._where.landing)
            except (LogError, OSError) as error:
                log.warning("the log of direct writes: %s", error)
                left.segment.close()


def brief(failures: Mapping[str, str]) -> str:
    """Why segments could not be finished, as one line: the first ones, and how many more there are."""
    shown = "; ".join(f"{name}: {why}" for name, why in islice(failures.items(), FAILURES_SHOWN))
    more = len(failures) - FAILURES_SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


async def again_and_again(action: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do something every so many seconds, whatever it raises: what is wrong now may be right in a moment."""
    while True:
        try:
            await action()
        except Exception:
            log.exception("the log of direct writes")
        await asyncio.sleep(seconds)
