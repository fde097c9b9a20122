"""Sum: a number of the events, added up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation, features_over
from tailrace.definitions.aggregations.gold_column import GoldColumn, added, follows
from tailrace.definitions.aggregations.number import EXACT, check_number, number_or_null
from tailrace.definitions.aggregations.sql import is_of, weight, within
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns
    from tailrace.definitions.view import FeatureView


@dataclass(frozen=True, kw_only=True)
class Sum(Aggregation):
    """The sum of a number, of events of the given types or of any that meet `where`; 0 where there is none.

    `of` is a field of the source, or a number in its `attributes`.

    A number counts rounded to six decimals; what is not a number, or 10^18 and more, counts as 0. The sum is kept as a
    decimal, exact in any order, and given as a double.
    """

    takes_where: ClassVar[bool] = True

    of: str
    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return features_over(self.name, self.over, f"sum of {self.of}", type=Type.FLOAT64)

    @property
    def state(self) -> tuple[Column, ...]:
        return tuple(Column(f"_{feature.name}", Type.DECIMAL, f"exact {feature.name}") for feature in self.features)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return tuple(self._columns(events))

    def _columns(self, events: "EventColumns") -> Iterator[GoldColumn]:
        number, types = number_in(self.of, events), is_of(self.types, events, where=self.where)
        for (feature, window), state in zip(self.named_windows, self.state, strict=True):
            full = f"CAST(sum(CASE WHEN {types} AND {within(window)} THEN {number} ELSE 0 END) AS {state.type})"
            difference = f"CASE WHEN {types} THEN {weight(window)} * {number} END"
            exact = added(state.name, full=full, difference=difference, type=state.type)
            yield exact
            parts = (exact.full, exact.merged, exact.inserted)
            full, merged, inserted = (f"CAST({sql} AS {feature.type})" for sql in parts)
            yield follows(feature.name, full=full, merged=merged, inserted=inserted)

    def check(self, view: "FeatureView", views: "Mapping[str, FeatureView]", *, here: str) -> None:  # noqa: ARG002
        """There is such a number."""
        check_number(self.of, view, here=here)


def number_in(name: str, events: "EventColumns") -> str:
    """A number of an event; 0 where it has none."""
    return f"coalesce({number_or_null(name, events)}, CAST(0 AS {EXACT}))"
