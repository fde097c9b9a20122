"""Items kept for a moment: an answer from them is as old as the read that brought them, and never older than allowed."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from tailrace.store.dynamodb.items import Item

MAXIMUM_ITEMS = 100_000  # a packed item has some hundred bytes

Views = tuple[str, ...]


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
