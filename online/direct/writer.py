"""Write values of direct views for many callers at once: whoever comes while the disk or the store is busy goes together."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from online.direct.deliver import deliver
from online.direct.log import LogError, Segment
from online.direct.order import Order
from online.direct.replay import Log, Views, adopt_all, outcomes_of
from online.direct.revisions import move_watermark, take_revisions
from online.direct.wanted import Numbered, Value, Wanted, Written, fail
from online.direct.write import SEND_SECONDS, boot_time, write_values
from online.items import ensure_table
from online.lanes import OtherLane
from online.wire import StoreClient, StoreError

VALUES_AT_ONCE = 1_000
VALUES_WAITING = 20_000
GROUPS_AT_ONCE = 4
SEGMENT_SECONDS = 10.0  # after which a segment is finished and landed
LOOK_SECONDS = 1.0  # between looks at what is to be finished
ADOPT_SECONDS = 5.0

log = logging.getLogger(__name__)


class Busy(Exception):
    """So many values wait to be written that no more are taken; nothing of these was written."""


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

    def __init__(self, client: StoreClient, where: Log, views: Callable[[], Views], *, transactions: bool) -> None:
        self._client, self._where, self._views, self._transactions = client, where, views, transactions
        self._waiting: deque[Wanted] = deque()
        self._wake = asyncio.Event()
        self._places = asyncio.Semaphore(GROUPS_AT_ONCE)
        self._groups: set[asyncio.Task[None]] = set()
        self._open: Current | None = None
        self._left: list[Current] = []
        self._acknowledged: dict[str, int] = {}
        self._has_table = False
        self._adopted = -ADOPT_SECONDS

    async def __aenter__(self) -> "DirectWriter":
        self._running = [asyncio.create_task(self._take_turns()), asyncio.create_task(self._tidy())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what is under way, and leave to others what cannot be finished."""
        while self._waiting or self._groups:
            await asyncio.wait([*self._groups, asyncio.create_task(asyncio.sleep(0))])
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._tell_watermarks()
        self._leave_segment()
        await self._finish_segments()
        for left in self._left:
            left.segment.close()

    async def write(self, values: Sequence[Value], *, orders: Sequence[Order] | None = None) -> list[Written]:
        """Write values and tell what became of each; once told as written, a value is in the store and in the log.

        `orders` are those that the values were given before, where they are written once more. Raises `Busy`,
        `OtherLane`, `LogError` and `StoreError`; after the latter two, values may be written yet.
        """
        if not values:
            return []
        if len(self._waiting) + len(values) > VALUES_WAITING:
            raise Busy(f"{len(self._waiting):,} values wait to be written; send these later")
        loop = asyncio.get_running_loop()
        wanted = [Wanted(value, loop.create_future()) for value in values]
        for one, order in zip(wanted, orders or (), strict=False):
            one.order = order
        self._waiting.extend(wanted)
        self._wake.set()
        told = await asyncio.gather(*(one.done for one in wanted), return_exceptions=True)
        for answer in told:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in told if isinstance(answer, Written)]

    async def have_table(self) -> None:
        """Make the store's table, once, unless it is there."""
        if not self._has_table:
            await ensure_table(self._client)
            self._has_table = True

    async def _take_turns(self) -> None:
        while True:
            await self._wake.wait()
            await self._places.acquire()
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), VALUES_AT_ONCE))]
            if not self._waiting:
                self._wake.clear()
            task = asyncio.create_task(self._write_group(group))
            self._groups.add(task)
            task.add_done_callback(self._end_group)

    def _end_group(self, task: asyncio.Task[None]) -> None:
        self._groups.discard(task)
        self._places.release()

    async def _write_group(self, group: list[Wanted]) -> None:
        try:
            await self._write_together(group, until=boot_time() + SEND_SECONDS)
        except (LogError, StoreError) as error:
            fail(group, error)
        except Exception as error:
            fail(group, error)
            raise

    async def _write_together(self, group: list[Wanted], *, until: float) -> None:
        # By the object: after a reload there may be two of one name, with values that were checked by each.
        by_view: dict[int, list[Wanted]] = defaultdict(list)
        for wanted in group:
            by_view[id(wanted.value.view)].append(wanted)
        await self.have_table()
        numbered = await asyncio.gather(*(self._number(wanted) for wanted in by_view.values()))
        if writable := [one for one in numbered if one is not None]:
            await self._write_numbered(writable, until)

    async def _number(self, wanted: list[Wanted]) -> Numbered | None:
        """Give orders to the values of one view that have none; None where they cannot be written."""
        view = wanted[0].value.view
        new = [one for one in wanted if one.order is None]
        try:
            given = await take_revisions(self._client, view.name, view.features, count=len(new))
        except (OtherLane, StoreError) as error:
            fail(wanted, error)
            return None
        for revision, one in enumerate(new, given.first):
            one.order = Order(one.value.occurred_at, revision)
        return Numbered(view, wanted, given.sequence)

    async def _write_numbered(self, numbered: list[Numbered], until: float) -> None:
        current = self._current()
        current.groups += 1
        is_known = False
        try:
            await self._write_logged(numbered, current, until)
            is_known = True
        finally:
            current.groups -= 1
            if not is_known:
                current.is_known = False
                if self._open is current:
                    self._leave_segment()  # so that what is unknown is looked into soon

    async def _write_logged(self, numbered: list[Numbered], current: Current, until: float) -> None:
        wanted = [one for view in numbered for one in view.wanted]
        intents = [view.intents(current.numbers) for view in numbered]
        rows = [row for view, own in zip(numbered, intents, strict=True) for row in view.rows(own)]
        told = [intent for own in intents for intent in own]
        await asyncio.to_thread(current.segment.append, [intent.to_line() for intent in told])
        results = await write_values(self._client, rows, transactions=self._transactions, until=until)
        await asyncio.to_thread(current.segment.append, [outcomes_of(told, results)])
        now = time.time_ns() // 1000
        self._acknowledged |= {view.view.name: now for view in numbered}
        for one, row, result in zip(wanted, rows, results, strict=True):
            if not one.done.done():
                one.done.set_result(Written(row.order, result))

    def _current(self) -> Current:
        if self._open is None:
            self._open = Current(Segment.begin(self._where.folder), time.monotonic())
        return self._open

    def _leave_segment(self) -> None:
        if self._open is not None:
            self._left.append(self._open)
            self._open = None

    async def _tidy(self) -> None:
        """Tell readers how fresh the views are, land finished segments, and finish those of processes that are gone."""
        while True:
            try:
                await self._tidy_once()
            except Exception:  # what is wrong now may be right in a second, and nobody else looks
                log.exception("the log of direct writes")
            await asyncio.sleep(LOOK_SECONDS)

    async def _tidy_once(self) -> None:
        await self._tell_watermarks()
        if self._open is not None and time.monotonic() - self._open.begun >= SEGMENT_SECONDS:
            self._leave_segment()
        await self._finish_segments()
        if time.monotonic() - self._adopted >= ADOPT_SECONDS:
            self._adopted = time.monotonic()
            views, where = self._views(), self._where
            for failure in await adopt_all(self._client, views, where, transactions=self._transactions):
                log.warning("the log of direct writes: %s", failure)

    async def _tell_watermarks(self) -> None:
        told, self._acknowledged = self._acknowledged, {}
        for view, at in told.items():
            with contextlib.suppress(StoreError):  # the next write tells
                await move_watermark(self._client, view, to=at)

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
