"""Recent windows of a view of the lane `stream`: what is stored, which does not depend on the clock, and what is told.

A window is kept as counts by buckets of time, the newest first, with the minute of the newest event. The value at a
moment is the sum of the buckets inside the window then: exact to one bucket at its far end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.problem import DefinitionError
from tailrace.definitions.window import Window
from tailrace.schemas.tables import Column, Type

WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120)  # minutes of a bucket
MOST_BUCKETS = 15
# An event counts unless it is further than this ahead of the moment at which the topic had it: its clock is wrong then.
MINUTES_AHEAD = 5
MICROS_PER_MINUTE = 60_000_000

NEWEST = Column("_minute", Type.INT64, "minutes since 1970 of the newest event")
# By which a micro-batch that is repeated knows what it did already.
TAKEN = (
    Column("_run", Type.INT64, "the stream that wrote this, by its checkpoint"),
    Column("_batch", Type.INT64, "the last micro-batch in it"),
)
# What the finest view knows of each pair, and coarser views are counted by.
OF_PAIRS = (
    Column("_last_at", Type.INT64, "when the newest event was, in microseconds; 0 before the first"),
    Column("_before_at", Type.INT64, "the same before the last micro-batch"),
    Column("_added", Type.INT64, "how many of the last entries of _seen the last micro-batch added"),
    Column("_seen", Type.STRING, "the events of the last windows: digest of the id, and minute"),
)


@dataclass(frozen=True, kw_only=True)
class Ring:
    """Buckets of one line over one window: `width` in minutes, `counted` of them in the window, `slots` kept."""

    name: str
    line: int
    width: int
    counted: int

    @property
    def slots(self) -> int:
        return self.counted + -(-MINUTES_AHEAD // self.width)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(
            Column(f"_{self.name}_{age:02}", Type.INT64, f"{self.name}, {age} buckets of {self.width} min back")
            for age in range(self.slots)
        )

    def value_at(self, minute: Any, buckets: Sequence[Any], now: Any) -> Any:
        """The value at `now`, for numpy arrays of states."""
        present = now.astype("datetime64[m]").astype("int64") // self.width
        newest = minute // self.width
        total = 0 * minute
        for age, count in enumerate(buckets):
            back = present - (newest - age)
            total = total + count * ((back >= 0) & (back < self.counted))
        return total


def ring_of(line: int, name: str, window: Window) -> Ring:
    """The buckets of a window; raises `DefinitionError` for one that has none."""
    minutes = int(window.length.total_seconds() // 60) if window.length else 0
    for width in WIDTHS:
        if minutes and minutes % width == 0 and minutes // width <= MOST_BUCKETS:
            return Ring(name=f"{name}_{window.name}", line=line, width=width, counted=minutes // width)
    raise DefinitionError(
        f"feature {name!r}, field 'over': {window.name!r} is not a window of a stream; take one of up to 24h that is made "
        "of at most 15 equal parts, such as 15m, 1h, 6h or 24h"
    )


def rings_of(lines: Sequence[Aggregation]) -> tuple[Ring, ...]:
    return tuple(
        ring_of(number, line.name, window)
        for number, line in enumerate(lines)
        if line.stream
        for window in line.stream.windows
    )


def stored_columns(lines: Sequence[Aggregation], *, finest: bool) -> tuple[Column, ...]:
    """What the store holds of a view; names that begin with `_` are not told to rankers."""
    plain = tuple(feature for line in lines if line.stream for feature in line.stream.features)
    counts = tuple(column for ring in rings_of(lines) for column in ring.columns)
    return (*plain, NEWEST, *counts, *TAKEN, *(OF_PAIRS if finest else ()))
