"""First and Last: when the first and the last event happened."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """When the first event happened, of the given types or of any; null where there is none.

    It is of all time: `over` changes nothing.
    """

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.TIMESTAMP, f"first {' or '.join(self.types) or 'event'}"),)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return (_utmost(self.name, self.types, events, of_rows="min", of_two="least"),)

    def promises(self, lines: Sequence[Aggregation]) -> Iterator[str]:
        """The first is not after the last of the same types."""
        for last in lines:
            if isinstance(last, Last) and last.types == self.types:
                yield f"{self.name} <= {last.name}"


@dataclass(frozen=True, kw_only=True)
class Last(Aggregation):
    """When the last event happened, of the given types or of any; null where there is none.

    It is of all time: `over` changes nothing.
    """

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.TIMESTAMP, f"last {' or '.join(self.types) or 'event'}"),)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return (_utmost(self.name, self.types, events, of_rows="max", of_two="greatest"),)

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


def _utmost(name: str, types: tuple[str, ...], events: "EventColumns", *, of_rows: str, of_two: str) -> GoldColumn:
    counts, time = is_of(types, events), events.time
    return settled(
        name,
        full=f"{of_rows}(CASE WHEN {counts} THEN {time} END)",
        candidate=f"{of_rows}(CASE WHEN {GAINED} > 0 AND {counts} THEN {time} END)",
        better=f"{of_two}(old.{name}, new.{name})",
    )
