"""When documents of the invented workspace come, go and come back."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tailrace.events.draws import Draws, Ints
from tailrace.events.rhythm import times_within

DAY = 86_400_000_000  # in microseconds, as all times here
NEVER = np.iinfo(np.int64).max
LONGEST_AGE = 900 * DAY
GROWTH_PER_DAY, MOST_GROWTH = 0.003, 0.3  # documents created in the range, as shares of all
DELETES = 0.004  # of the events


@dataclass(frozen=True, kw_only=True, eq=False)
class Lives:
    """When each document was created, deleted and created again, in microseconds; NEVER where it was not."""

    created: Ints
    deleted: Ints
    restored: Ints

    def is_unborn(self, document: Ints, time: Ints) -> NDArray[np.bool_]:
        return time <= self.created[document]

    def is_deleted(self, document: Ints, time: Ints) -> NDArray[np.bool_]:
        return (self.deleted[document] <= time) & (time <= self.restored[document])

    def is_lasting(self, *, since: int) -> NDArray[np.bool_]:
        """Which documents were there before `since` and are never deleted."""
        lasting: NDArray[np.bool_] = (self.created <= since) & (self.deleted == NEVER)
        return lasting


def invent_lives(documents: int, *, events: int, start: int, end: int, draws: Draws) -> Lives:
    """Let most documents be older than the range, some begin in it, and a few be deleted, some only for a while."""
    new = min(int(documents * min(MOST_GROWTH, GROWTH_PER_DAY * (end - start) / DAY)), events // 4)
    leaving = min(documents // 20, ceil(events * DELETES))
    order = draws.order(documents)
    created = start - (draws.uniform(documents) * draws.uniform(documents) * LONGEST_AGE).astype(np.int64)
    created[order[:new]] = times_within(start, end, draws=draws, count=new)
    # Among those that are deleted, a quarter may be new.
    first = max(0, new - leaving // 4)
    deleted = _later(created, order[first : first + leaving], start=start, end=end, draws=draws)
    restored = _later(deleted, order[first : first + leaving // 2], start=start, end=end, draws=draws)
    return Lives(created=created, deleted=deleted, restored=restored)


def _later(than: Ints, documents: Ints, *, start: int, end: int, draws: Draws) -> Ints:
    """Draw a time for each of `documents`, and keep it where it is later; NEVER for all others."""
    times = times_within(start, end, draws=draws, count=len(documents))
    later = np.full(len(than), NEVER)
    later[documents] = np.where(times > than[documents], times, NEVER)
    return later
