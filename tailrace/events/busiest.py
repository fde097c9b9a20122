"""The part of a file that a replay shows: four ticks of 15 minutes in which much happens."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson

from tailrace.events.draws import from_text
from tailrace.events.files import NoReadableTimeError
from tailrace.schemas.slots import GRID, from_micros, to_micros

SHOWN = 4  # ticks
TAIL = 10  # the last tenth of the events
GRID_MICROS = GRID // timedelta(microseconds=1)
LAST_END = datetime(9999, 12, 31, 23, 45, tzinfo=UTC)  # the last tick that a datetime can hold


def occurred_at_of(line: bytes) -> datetime | None:
    """The time of an event's line; None where the line or its time cannot be read."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    time = from_text(event.get("occurred_at")) if isinstance(event, dict) else None
    return time if time is not None and time <= LAST_END else None


def busiest_ticks(times: Iterable[datetime | None]) -> datetime:
    """Choose four consecutive ticks of the last tenth of the events, and return the first.

    The tick T covers T - 15 minutes < time <= T. Those with the most ticks that are not empty win, then
    those with the most events, then the latest. A last tenth of fewer than four ticks is followed by empty ones.
    """
    micros = np.fromiter((to_micros(time) for time in times if time is not None), dtype=np.int64)
    if not len(micros):
        raise NoReadableTimeError("none of the events has a readable occurred_at; give a file that holds events")
    ticks = -(-micros // GRID_MICROS)
    before_tail = len(ticks) - -(-len(ticks) // TAIL)
    first = np.partition(ticks, before_tail)[before_tail]
    filled, events = np.unique(ticks[ticks >= first], return_counts=True)
    # Empty ticks at the start could be given up for later ones at no loss, so the winner begins with one that
    # is not empty, or is the last four.
    last = max(first, filled[-1] - (SHOWN - 1))
    starts = np.append(filled[filled < last], last)
    begin, stop = np.searchsorted(filled, starts), np.searchsorted(filled, starts + SHOWN)
    events_before = np.concatenate([[0], np.cumsum(events)])
    best = np.lexsort((starts, events_before[stop] - events_before[begin], stop - begin))[-1]
    return from_micros(int(starts[best]) * GRID_MICROS)


def split(lines: Iterable[tuple[bytes, datetime | None]], first_end: datetime) -> list[list[bytes]]:
    """Divide lines among the four ticks that begin with `first_end`.

    The first part also has all that came before, and what has no readable time. What comes after is left out.
    """
    parts: list[list[bytes]] = [[] for _ in range(SHOWN)]
    for line, time in lines:
        ticks_later = 0 if time is None else max(0, -((first_end - time) // GRID))
        if ticks_later < SHOWN:
            parts[ticks_later].append(line)
    return parts
