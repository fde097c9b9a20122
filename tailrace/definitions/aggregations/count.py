"""Count: how many events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation, features_over
from tailrace.definitions.aggregations.gold_column import GoldColumn, added
from tailrace.definitions.aggregations.sql import is_of, weight, within
from tailrace.definitions.aggregations.stream_part import Additions, Arrivals, StreamPart
from tailrace.definitions.names import Window
from tailrace.schemas.tables import Column

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns


@dataclass(frozen=True, kw_only=True)
class Count(Aggregation):
    """How many events, of the given types or of any, that meet `where`; 0 where there are none."""

    takes_where: ClassVar[bool] = True

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return features_over(self.name, self.over, f"{' or '.join(self.types) or 'all'} events")

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        counts = is_of(self.types, events, where=self.where)
        return tuple(
            added(
                feature.name,
                full=f"count_if({counts} AND {within(window)})",
                difference=f"CASE WHEN {counts} THEN {weight(window)} END",
            )
            for feature, window in self.named_windows
        )

    @property
    def stream(self) -> StreamPart:
        return StreamPart(windows=self.windows, additions=self._additions)

    def _additions(self, arrivals: Arrivals) -> Iterator[Additions]:
        import numpy as np

        mine = arrivals.are_of(self.types)
        yield Additions(arrivals.key[mine], arrivals.at[mine], np.ones(mine.sum(), np.int64))

    def promises(self, lines: Sequence[Aggregation]) -> Iterator[str]:  # noqa: ARG002
        """What is counted in a window is counted in every longer one."""
        names = [f"{self.name}_{window.name}" for window in sorted(self.windows, key=_length_of)]
        rising = (f"{shorter} <= {longer}" for shorter, longer in pairwise(names))
        yield " AND ".join([f"{names[0]} >= 0", *rising])


def _length_of(window: Window) -> float:
    return window.length.total_seconds() if window.length else float("inf")
