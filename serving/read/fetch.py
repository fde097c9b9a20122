"""Items read in parallel and within a deadline; a key that several requests want at the same time is read once."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from serving.common.messages import one_line
from serving.common.pace import Line
from serving.read.cache import Cache
from serving.read.calls import Calls
from serving.telemetry.board import Cells
from serving.telemetry.metrics import STORE_KEYS, STORE_READS
from tailrace.store.dynamodb.items import KEYS_PER_READ, READ_MANY, Item, read_request, told_by
from tailrace.store.dynamodb.wire import StoreClient, StoreError, Turn, delay_after, is_transient

Views = tuple[str, ...]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """What is known of some keys: one that is empty or neither in `items` nor `untold` is not in the store."""

    items: dict[str, Item]
    untold: set[str]


class Fetch:
    """Keys on their way from the store; `items` and `untold` change as it answers.

    `failure` is what came of the last attempt, None while the first one is under way. `under_way` tells by key which
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
    def told_nothing(self) -> bool:
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

    def __init__(self, client: StoreClient, cells: Cells, *, cache_seconds: float = 0.0) -> None:
        self._cache = Cache(cache_seconds)
        self._cells = cells
        self._calls = Calls(client, self._cells)
        self._table = client.table
        self._under_way: dict[Views, dict[str, Fetch]] = {}

    async def fetch(
        self, wanted: Mapping[Views, Collection[str]], *, deadline: float, line: Line | None = None
    ) -> dict[Views, Fetched]:
        """The views' values of each of the keys, as far as the store answers by the deadline, in the loop's time.

        `line` is what reads wait in that are many; no other request waits for one that has not begun.
        Raises `StoreError` where the store refuses a read, or where all that came of any was a failure.
        """
        known = {views: self._cache.known(views, keys) for views, keys in wanted.items()}
        parts = {views: self._join(views, without(keys, known[views]), line) for views, keys in wanted.items()}
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
        self._cells.add((STORE_KEYS,), len(fetch.keys))
        asked, attempt = fetch.keys, 1
        while True:
            read_at = time.monotonic()
            self._cells.add((STORE_READS, "first" if attempt == 1 else "retry"))
            try:
                request = read_request(self._table, asked, views, consistent=False)
                answer = await self._calls.call(READ_MANY, request, turn=turn)
                items, unprocessed = told_by(answer, self._table)
            except StoreError as error:
                fetch.failure = error
                if not (is_transient(error) and self._calls.extra.spend()):
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
    only_failures = all(one.failure and one.told_nothing for one in fetches)
    for one in fetches:
        if one.failure and (only_failures or not is_transient(one.failure)):
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
