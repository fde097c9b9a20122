"""Reads of the store: cached for a moment, shared by requests, hedged, and within a deadline."""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from serving.common.loop import Line
from serving.common.messages import one_line
from serving.telemetry.metrics import STORE_KEYS, STORE_READS, Counters
from tailrace.store.failures import StoreError, delay_after
from tailrace.store.port import KEYS_PER_READ, Item, ItemReads, Turn

MAXIMUM_ITEMS = 100_000  # a packed item has some hundred bytes

Views = tuple[str, ...]
ReadAnswer = tuple[dict[str, Item], list[str]]  # items by key, and the keys that the store did not get to

SHARE = 0.1
AT_FIRST = 5.0  # calls: a connection that broke while idle should cost no answer
AT_MOST = 50.0
TIMES_KEPT = 512
TIMES_BETWEEN = 64  # between two looks at the times kept
QUANTILE = 0.95

log = logging.getLogger(__name__)


class Cache:
    """Items by views and key, for at most `seconds` from when their read began; an empty one is not in the store."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._items: OrderedDict[tuple[Views, str], tuple[float, Item]] = OrderedDict()

    def known(self, views: Views, keys: Iterable[str]) -> dict[str, Item]:
        """Those of the keys that are young enough."""
        if not self._items:
            return {}
        oldest, kept = time.monotonic() - self._seconds, self._items
        found = {}
        for key in keys:
            entry = kept.get((views, key))
            if entry is not None and entry[0] >= oldest:
                found[key] = entry[1]
        return found

    def keep(self, views: Views, keys: Iterable[str], items: Mapping[str, Item], *, read_at: float) -> None:
        """Keep the result of a read of these keys; `read_at` is when it began, on the monotonic clock."""
        if not self._seconds:
            return
        for key in keys:
            self._items[views, key] = read_at, items.get(key, {})
            self._items.move_to_end((views, key))
        while len(self._items) > MAXIMUM_ITEMS or (self._items and self._first_is_too_old()):
            self._items.popitem(last=False)

    def _first_is_too_old(self) -> bool:
        read_at, _ = next(iter(self._items.values()))
        return read_at < time.monotonic() - self._seconds


class ExtraCalls:
    """The budget of retries and hedges: a tenth of the first calls, which earn it."""

    def __init__(self) -> None:
        self._left = AT_FIRST

    def earn(self) -> None:
        self._left = min(AT_MOST, self._left + SHARE)

    def spend(self) -> bool:
        """Whether another call may be made; it counts as made."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class CallTimes:
    """How long calls took of late; `long`, in seconds, is what 19 of 20 stay below, None while too few are known."""

    def __init__(self) -> None:
        self.long: float | None = None
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)
        self._new = 0

    def add(self, seconds: float) -> None:
        self._times.append(seconds)
        self._new += 1
        if self._new == TIMES_BETWEEN:
            self._new = 0
            self.long = sorted(self._times)[int(len(self._times) * QUANTILE)]


class Calls:
    """Calls operations of the store."""

    def __init__(self, store: ItemReads, counters: Counters) -> None:
        self.extra = ExtraCalls()
        self._counters = counters
        self._store = store
        self._times = CallTimes()

    async def call(self, request: bytes, *, turn: Turn | None = None) -> ReadAnswer:
        """The first answer of one call or, where it takes longer than 19 of 20 do, of two; raises `StoreError`."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        tasks = [asyncio.ensure_future(self._store.send_read(request, turn=turn))]
        try:
            await asyncio.wait(tasks, timeout=self._times.long)
            if not tasks[0].done() and self.extra.spend():
                self._counters.add((STORE_READS, "hedge"))
                tasks.append(asyncio.ensure_future(self._store.send_read(request, turn=turn)))
            answer = await (first_success(tasks) if len(tasks) > 1 else tasks[0])
        finally:
            for task in tasks:
                if not task.cancel() and not task.cancelled():
                    task.exception()  # of a call that another one outran nobody needs to know
        self._times.add(loop.time() - begun)
        return answer


async def first_success(tasks: list[asyncio.Task[ReadAnswer]]) -> ReadAnswer:
    """The result of whichever succeeds first; the failure of the last where none does."""
    failure: StoreError | None = None
    for next_done in asyncio.as_completed(tasks):
        try:
            return await next_done
        except StoreError as error:
            failure = error
    assert failure is not None
    raise failure


@dataclass(frozen=True)
class Fetched:
    """What was read of some keys: their `items`, and `untold`, the keys for which the store did not answer.

    A key that is in neither, or whose item is empty, is not in the store.
    """

    items: dict[str, Item]
    untold: set[str]


class Fetch:
    """Keys on their way from the store; `items` and `untold` change as it answers.

    `failure` is what came of the last attempt, None while the first one is under way. `under_way` has by key which
    fetch brings it, this one too until it has ended.
    """

    def __init__(self, keys: list[str], under_way: dict[str, "Fetch"]) -> None:
        self.keys = keys
        self.untold = set(keys)
        self.items: dict[str, Item] = {}
        self.failure: StoreError | None = None
        self.waiting = 0  # requests
        self.task: asyncio.Task[None]
        self._under_way = under_way

    @property
    def brought_nothing(self) -> bool:
        return len(self.untold) == len(self.keys)

    def begin(self) -> None:
        """Have other requests that want one of the keys wait for this."""
        self._under_way.update(dict.fromkeys(self.keys, self))

    def forget(self, _: object = None) -> None:
        for key in self.keys:
            if self._under_way.get(key) is self:
                del self._under_way[key]

    def leave(self) -> None:
        """One request less waits; what nobody waits for is given up."""
        self.waiting -= 1
        if not self.waiting and self.task.cancel():
            self.forget()


class Fetches:
    """Reads items for all requests of one process."""

    def __init__(self, store: ItemReads, counters: Counters, *, cache_seconds: float = 0.0) -> None:
        self._cache = Cache(cache_seconds)
        self._counters = counters
        self._calls = Calls(store, self._counters)
        self._store = store
        self._under_way: dict[Views, dict[str, Fetch]] = {}

    async def fetch(
        self, keys_of: Mapping[Views, Collection[str]], *, deadline: float, line: Line | None = None
    ) -> dict[Views, Fetched]:
        """The views' values of each of the keys, as far as the store answers by the deadline, in the loop's time.

        `line` is what reads wait in that are many; no other request waits for one that has not begun.
        Raises `StoreError` if the store refuses a read, or where all that came of any was a failure.
        """
        known = {views: self._cache.known(views, keys) for views, keys in keys_of.items()}
        parts = {views: self._join(views, without(keys, known[views]), line) for views, keys in keys_of.items()}
        fetches = {one for part in parts.values() for one in part}
        for one in fetches:
            one.waiting += 1
        try:
            if fetches:
                left = deadline - asyncio.get_running_loop().time()
                await asyncio.wait([one.task for one in fetches], timeout=max(0.0, left))
        finally:
            for one in fetches:
                one.leave()
        raise_failures(fetches)
        return {views: merged(part, known[views]) for views, part in parts.items()}

    def _join(self, views: Views, keys: Collection[str], line: Line | None) -> set[Fetch]:
        """The fetches that bring these keys: those that are under way, and new ones for the rest."""
        under_way = self._under_way.setdefault(views, {})
        if under_way.keys().isdisjoint(keys):
            fetches, rest = set(), list(keys)
        else:
            fetches = {under_way[key] for key in keys if key in under_way}
            rest = [key for key in keys if key not in under_way]
        for i in range(0, len(rest), KEYS_PER_READ):
            fetches.add(self._begin(views, rest[i : i + KEYS_PER_READ], line))
        return fetches

    def _begin(self, views: Views, keys: list[str], line: Line | None) -> Fetch:
        fetch = Fetch(keys, self._under_way[views])
        if line is None:
            fetch.begin()
            fetch.task = asyncio.ensure_future(self._read(views, fetch))
        else:
            fetch.task = asyncio.ensure_future(self._read_in_line(views, fetch, line))
        fetch.task.add_done_callback(fetch.forget)
        return fetch

    async def _read_in_line(self, views: Views, fetch: Fetch, line: Line) -> None:
        async with line.places:
            await line.turn()
            fetch.begin()
            await self._read(views, fetch, line)

    async def _read(self, views: Views, fetch: Fetch, line: Line | None = None) -> None:
        try:
            await self._read_all(views, fetch, None if line is None else line.turn)
        except Exception as error:  # noqa: BLE001 - what the store answered is not what it answers
            log.warning("a read of the online store failed: %s", one_line(error))
            fetch.failure = StoreError("Unreadable", f"an answer cannot be understood, {type(error).__name__}")

    async def _read_all(self, views: Views, fetch: Fetch, turn: Turn | None) -> None:
        self._calls.extra.earn()
        self._counters.add((STORE_KEYS,), len(fetch.keys))
        asked, attempt = fetch.keys, 1
        while True:
            read_at = time.monotonic()
            self._counters.add((STORE_READS, "first" if attempt == 1 else "retry"))
            try:
                items, unprocessed = await self._calls.call(self._store.prepare_read(views, asked), turn=turn)
            except StoreError as error:
                fetch.failure = error
                if not (error.is_transient and self._calls.extra.spend()):
                    return
            else:
                fetch.failure = None
                fetch.items |= items
                fetch.untold = set(unprocessed)
                self._cache.keep(views, set(asked) - fetch.untold, items, read_at=read_at)
                # A store that makes progress is asked on; one that does not is asked again as after a failure.
                if not unprocessed or not (len(unprocessed) < len(asked) or self._calls.extra.spend()):
                    return
                asked = unprocessed
            await asyncio.sleep(delay_after(attempt))
            attempt += 1


def raise_failures(fetches: Iterable[Fetch]) -> None:
    """Raise a refusal wherever there is one, and a failure that may pass if there is no other."""
    only_failures = all(one.failure and one.brought_nothing for one in fetches)
    for one in fetches:
        if one.failure and (only_failures or not one.failure.is_transient):
            raise one.failure


def without(keys: Collection[str], known: Mapping[str, Item]) -> Collection[str]:
    return [key for key in keys if key not in known] if known else keys


def merged(fetches: Collection[Fetch], known: dict[str, Item]) -> Fetched:
    """Everything that the fetches brought, other requests' keys among them, and what was known before."""
    if len(fetches) == 1 and not known:
        [one] = fetches
        return Fetched(one.items, one.untold)
    items: dict[str, Item] = {}
    untold: set[str] = set()
    for one in fetches:
        items |= one.items
        untold |= one.untold
    return Fetched(items | known, untold)
