"""When people work: more by day than by night, little at weekends."""

import numpy as np

from tailrace.events.draws import Draws, Ints

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
