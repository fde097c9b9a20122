"""First and Last: when the first and the last event happened."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation
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

    It is of all time: `over` changes nothing.
    """

    takes_where: ClassVar[bool] = True

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.TIMESTAMP, f"first {' or '.join(self.types) or 'event'}"),)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return (_utmost(self, is_of(self.types, events, where=self.where), events, of_rows="min", of_two="least"),)

    def promises(self, lines: Sequence[Aggregation]) -> Iterator[str]:
        """The first is not after the last of the same events."""
        for last in lines:
            if isinstance(last, Last) and (last.types, last.where) == (self.types, self.where):
                yield f"{self.name} <= {last.name}"


@dataclass(frozen=True, kw_only=True)
class Last(Aggregation):
    """When the last event happened, of the given types or of any, that meets `where`; null where there is none.

    It is of all time: `over` changes nothing.
    """

    takes_where: ClassVar[bool] = True

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.TIMESTAMP, f"last {' or '.join(self.types) or 'event'}"),)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return (_utmost(self, is_of(self.types, events, where=self.where), events, of_rows="max", of_two="greatest"),)

    @property
    def stream(self) -> StreamPart:
        return StreamPart(features=self.features, additions=self._additions, fold=self._fold)

    def _additions(self, arrivals: Arrivals) -> Iterator[Additions]:
        mine = arrivals.are_of(self.types)
        yield Additions(arrivals.key[mine], arrivals.at[mine], arrivals.at[mine])

    def _fold(self, kept: "Mapping[str, Array]", additions: Additions) -> "Mapping[str, Array]":
        import numpy as np

        last = kept[self.name].copy()
        np.maximum.at(last, additions.key, additions.amount)
        return {self.name: last}


def _utmost(line: Aggregation, counts: str, events: "EventColumns", *, of_rows: str, of_two: str) -> GoldColumn:
    name, time = line.name, events.time
    return settled(
        name,
        full=f"{of_rows}(CASE WHEN {counts} THEN {time} END)",
        candidate=f"{of_rows}(CASE WHEN {GAINED} > 0 AND {counts} THEN {time} END)",
        better=f"{of_two}(old.{name}, new.{name})",
    )
