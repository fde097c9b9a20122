"""First and Last: when the first and the last event happened."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation, features_over
from tailrace.definitions.aggregations.extremes import GREATEST, LEAST, Side, extreme_column
from tailrace.definitions.aggregations.gold_column import GoldColumn, settled
from tailrace.definitions.aggregations.sql import GAINED, is_of
from tailrace.definitions.aggregations.stream_part import Additions, Arrivals, StreamPart
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    import numpy.typing as npt

    from tailrace.definitions.declared_source import EventColumns

    Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class First(Aggregation):
    """When the first event happened, of the given types or of any, that meets `where`; null where there is none.

    Without `over` it is of all time and has the name of the line.
    """

    takes_where: ClassVar[bool] = True

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        meaning = f"first {' or '.join(self.types) or 'event'}"
        if self.over:
            return features_over(self.name, self.over, meaning, type=Type.TIMESTAMP)
        return (Column(self.name, Type.TIMESTAMP, meaning),)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return _utmost(self, is_of(self.types, events, where=self.where), events, side=LEAST)

    def promises(self, lines: Sequence[Aggregation]) -> Iterator[str]:
        """The first is not after the last of the same events."""
        for last in lines:
            if isinstance(last, Last) and (last.types, last.where) == (self.types, self.where):
                names = {one.name.removeprefix(last.name): one.name for one in last.features}
                both = ((one.name, names.get(one.name.removeprefix(self.name))) for one in self.features)
                yield from (f"{name} <= {other}" for name, other in both if other)


@dataclass(frozen=True, kw_only=True)
class Last(Aggregation):
    """When the last event happened, of the given types or of any, that meets `where`; null where there is none.

    Without `over` it is of all time and has the name of the line.
    """

    takes_where: ClassVar[bool] = True

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        meaning = f"last {' or '.join(self.types) or 'event'}"
        if self.over:
            return features_over(self.name, self.over, meaning, type=Type.TIMESTAMP)
        return (Column(self.name, Type.TIMESTAMP, meaning),)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return _utmost(self, is_of(self.types, events, where=self.where), events, side=GREATEST)

    @property
    def stream(self) -> StreamPart | None:
        if self.over:
            return None
        return StreamPart(features=self.features, additions=self._additions, fold=self._fold)

    def _additions(self, arrivals: Arrivals) -> Iterator[Additions]:
        mine = arrivals.are_of(self.types)
        yield Additions(arrivals.key[mine], arrivals.at[mine], arrivals.at[mine])

    def _fold(self, kept: "Mapping[str, Array]", additions: Additions) -> "Mapping[str, Array]":
        import numpy as np

        last = kept[self.name].copy()
        np.maximum.at(last, additions.key, additions.amount)
        return {self.name: last}


def _utmost(line: Aggregation, counts: str, events: "EventColumns", *, side: Side) -> tuple[GoldColumn, ...]:
    if line.over:
        windows = line.named_windows
        return tuple(
            extreme_column(one.name, window, side, counts=counts, value=events.time) for one, window in windows
        )
    name, time = line.name, events.time
    of_all_time = settled(
        name,
        full=f"{side.of_rows}(CASE WHEN {counts} THEN {time} END)",
        candidate=f"{side.of_rows}(CASE WHEN {GAINED} > 0 AND {counts} THEN {time} END)",
        better=f"{side.of_two}(old.{name}, new.{name})",
    )
    return (of_all_time,)
