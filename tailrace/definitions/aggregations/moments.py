"""Mean, Variance and StdDev of a number of the events: from exact sums, rounded once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation, features_over
from tailrace.definitions.aggregations.exact_quotient import MOST_NUMBERS, mean_of, variance_of
from tailrace.definitions.aggregations.gold_column import GoldColumn, added, follows
from tailrace.definitions.aggregations.number import check_number, number_or_null, value_in
from tailrace.definitions.aggregations.sql import GAINED, is_of, weight, within
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns
    from tailrace.definitions.view import FeatureView

LARGEST = 10**9  # the square of a larger number, in 10^-12, has more than 30 digits


@dataclass(frozen=True, kw_only=True)
class Mean(Aggregation):
    """The mean of a number, of events of the given types or of any that meet `where`; null where there is none.

    `of` is a field of the source, or a number in its `attributes`. A number counts rounded to six decimals. What is not a
    number, or 10^18 and more, does not count; a refresh reports how many such events there are.
    """

    takes_where: ClassVar[bool] = True
    meaning: ClassVar[str] = "mean"
    sums: ClassVar[Mapping[str, str]] = {"sum": "{number}"}  # what is added up of each number that counts

    of: str
    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return features_over(self.name, self.over, f"{self.meaning} of {self.of}", type=Type.FLOAT64)

    @property
    def uncounted(self) -> Column:
        return Column(f"_{self.name}_uncounted", Type.INT64, f"events whose {self.of} does not count")

    @property
    def state(self) -> tuple[Column, ...]:
        return (self.uncounted, *(column for feature in self.features for column in self._state_of(feature)))

    def _state_of(self, feature: Column) -> tuple[Column, ...]:
        """How many numbers, and their sums."""
        counted = Column(f"_{feature.name}_n", Type.INT64, f"numbers in {feature.name}")
        return (counted, *(Column(f"_{feature.name}_{of}", Type.DECIMAL, f"exact {of}") for of in self.sums))

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return tuple(self._columns(events))

    def _columns(self, events: "EventColumns") -> Iterator[GoldColumn]:
        counts, number = is_of(self.types, events, where=self.where), self.number_in(events)
        is_uncounted = f"{counts} AND {value_in(self.of, events)} IS NOT NULL AND {number} IS NULL"
        difference = f"CASE WHEN {is_uncounted} THEN {GAINED} END"
        yield added(self.uncounted.name, full=f"count_if({is_uncounted})", difference=difference)
        for feature, window in self.named_windows:
            counted, *sums = self._state_of(feature)
            is_counted = f"{counts} AND {number} IS NOT NULL"
            difference = f"CASE WHEN {is_counted} THEN {weight(window)} END"
            exact = [added(counted.name, full=f"count_if({is_counted} AND {within(window)})", difference=difference)]
            for column, sql in zip(sums, self.sums.values(), strict=True):
                one = f"CAST({sql.format(number=number)} AS {column.type})"
                summed = f"sum(CASE WHEN {counts} AND {within(window)} THEN {one} END)"
                full = f"coalesce(CAST({summed} AS {column.type}), CAST(0 AS {column.type}))"
                difference = f"CASE WHEN {counts} THEN {weight(window)} * {one} END"
                exact.append(added(column.name, full=full, difference=difference, type=column.type))
            yield from exact
            full, merged, inserted = (
                self.finished(*(f"({getattr(column, part)})" for column in exact))
                for part in ("full", "merged", "inserted")
            )
            yield follows(feature.name, full=full, merged=merged, inserted=inserted)

    def number_in(self, events: "EventColumns") -> str:
        """The number of an event that counts, or null."""
        return number_or_null(self.of, events)

    def finished(self, *exact: str) -> str:
        """SQL for the feature from what is added up: how many numbers, and the sums."""
        return mean_of(*exact)

    def check(self, view: "FeatureView", views: "Mapping[str, FeatureView]", *, here: str) -> None:  # noqa: ARG002
        """There is such a number."""
        check_number(self.of, view, here=here)


@dataclass(frozen=True, kw_only=True)
class Variance(Mean):
    """The variance of a number over the population of events that count, which divides by how many they are; null where there is none.

    Of numbers up to 10^9, rounded to six decimals; a refresh reports how many others there are. Exact until it is rounded once.
    """

    meaning: ClassVar[str] = "variance"
    sums: ClassVar[Mapping[str, str]] = {
        "sum": "{number}",
        "squares": "floor({number} * {number})",
        "rest": "(({number} * {number}) % 1) * 1000000",
    }

    def number_in(self, events: "EventColumns") -> str:
        number = super().number_in(events)
        return f"CAST(CASE WHEN abs({number}) <= {LARGEST} THEN {number} END AS decimal(16,6))"

    def finished(self, *exact: str) -> str:
        return variance_of(*exact)

    def promises(self, lines: Sequence[Aggregation]) -> Iterator[str]:  # noqa: ARG002
        """No key has more numbers than the variance can be formed of."""
        for feature in self.features:
            yield f"{self._state_of(feature)[0].name} <= {MOST_NUMBERS}"


@dataclass(frozen=True, kw_only=True)
class StdDev(Variance):
    """The standard deviation: the square root of the `Variance`."""

    meaning: ClassVar[str] = "standard deviation"

    def finished(self, *exact: str) -> str:
        return f"sqrt({super().finished(*exact)})"
