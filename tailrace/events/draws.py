"""Random draws of the generator: times, rhythms and the lives of documents."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tailrace.schemas import landing

TIME = re.compile(landing.TIME)


def to_texts(micros: NDArray[np.int64]) -> list[str]:
    """Write microseconds since 1970, each as `tailrace.schemas.slots.to_text` writes one."""
    texts: list[str] = np.datetime_as_string(micros.astype("datetime64[us]"), unit="us").tolist()
    return [text.removesuffix(".000000") + "Z" for text in texts]


def from_text(text: object) -> datetime | None:
    """Read a time as landing files may write it, without an offset as UTC; None for anything else."""
    if not isinstance(text, str) or not TIME.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # a 31st of February; a year below 1 or above 9999 once in UTC
        return None


Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Draws:
    """One stream of random numbers, named by its key.

    Only the raw output of PCG64 is used, which numpy never changes, and arithmetic that IEEE 754 defines to the
    last bit. numpy's distributions may change between versions, and logarithms differ between platforms.
    """

    def __init__(self, name: str, *key: int) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence([int.from_bytes(name.encode()), *key]))

    def raw(self) -> int:
        """Draw one number below 2**64."""
        return int(self._source.random_raw())

    def uniform(self, count: int) -> Floats:
        """Draw numbers from 0 up to, but not including, 1."""
        raw: NDArray[np.uint64] = self._source.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, limit: int | Ints, count: int) -> Ints:
        """Draw integers from 0 up to, but not including, `limit`."""
        return np.floor(self.uniform(count) * limit).astype(np.int64)

    def chance(self, probability: float, count: int) -> NDArray[np.bool_]:
        """Draw truth values that are true with a probability."""
        return self.uniform(count) < probability

    def order(self, count: int) -> Ints:
        """Draw a permutation of 0 … count - 1."""
        return np.argsort(self.uniform(count), kind="stable")

    def pick(self, weights: Ints | Floats, count: int) -> Ints:
        """Draw positions of `weights`, each as often as its weight says."""
        cumulative = np.cumsum(weights)
        positions: Ints = np.searchsorted(cumulative, self.uniform(count) * cumulative[-1], side="right")
        return positions

    def pick_within(self, weights: Floats, first: Ints, stop: Ints) -> Ints:
        """Draw one position for each pair, of `weights[first:stop]`, or of all where that is empty."""
        some = first < stop
        first, stop = np.where(some, first, 0), np.where(some, stop, len(weights))
        cumulative = np.concatenate([[0.0], np.cumsum(weights)])
        values = cumulative[first] + self.uniform(len(first)) * (cumulative[stop] - cumulative[first])
        # Rounding may carry a value over the edge of its block.
        positions: Ints = np.clip(np.searchsorted(cumulative, values, side="right") - 1, first, stop - 1)
        return positions


def zipf(order: Ints, *, head: int) -> Floats:
    """Weigh each position by its place in `order`: 1 / (head + place), so a larger head is less steep."""
    weights = np.empty(len(order))
    weights[order] = 1.0 / np.arange(head, head + len(order))
    return weights


HOUR = 3_600_000_000  # in microseconds, as all times here
HOURS_PER_WEEK = 7 * 24
MONDAY = 4 * 24  # the first Monday after 1970-01-01, in hours
WORKDAY = (*(1, 1, 1, 1, 1, 2, 4, 9, 18, 27, 30, 28), *(20, 24, 29, 29, 26, 21, 13, 8, 6, 4, 3, 2))
WEEKEND = tuple(1 + weight // 8 for weight in WORKDAY)
WEEK = np.array(WORKDAY * 5 + WEEKEND * 2, dtype=np.int64)


def times_within(start: int, end: int, *, draws: Draws, count: int) -> Ints:
    """Draw times in (start, end], in microseconds since the epoch; unsorted."""
    hours = np.arange(start // HOUR, -(-end // HOUR))
    opens = np.maximum(hours * HOUR, start)
    lengths = np.minimum((hours + 1) * HOUR, end) - opens
    chosen = draws.pick(WEEK[(hours - MONDAY) % HOURS_PER_WEEK] * lengths, count)
    return opens[chosen] + 1 + draws.below(lengths[chosen], count)


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
        """Which of these documents are not there yet at these times."""
        return time <= self.created[document]

    def is_deleted(self, document: Ints, time: Ints) -> NDArray[np.bool_]:
        """Which of these documents are deleted at these times."""
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
