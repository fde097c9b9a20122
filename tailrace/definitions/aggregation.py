"""Aggregations: what a declarative view computes from the interactions of one entity key."""

from collections.abc import Iterable
from dataclasses import dataclass

from tailrace.definitions.window import Window
from tailrace.schemas.tables import Column, Type


def features_over(name: str, over: Iterable[str], meaning: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{name}_{window}", Type.INT64, f"{meaning}, " + ("ever" if window == "total" else f"in {window}"))
        for window in over
    )


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """One declared line of a view; it yields one feature per window, or one."""

    name: str
    over: tuple[str, ...] = ()

    @property
    def windows(self) -> tuple[Window, ...]:
        return tuple(Window.parse(text, of=f"feature {self.name!r}, field 'over'") for text in self.over)

    @property
    def features(self) -> tuple[Column, ...]:
        raise NotImplementedError

    @property
    def state(self) -> tuple[Column, ...]:
        """Columns that gold keeps beside the features to maintain them; never pushed."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Count(Aggregation):
    """How many interactions, of the given types or of any; 0 where there are none."""

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return features_over(self.name, self.over, f"{' or '.join(self.types) or 'all'} events")


@dataclass(frozen=True, kw_only=True)
class Sum(Aggregation):
    """The sum of a number in the interactions' `attributes`, of the given types or of any; 0 where there is none.

    A number counts rounded to six decimals; what is no number, or 10^18 and more, counts as 0. The sum is kept as a
    decimal, exact in any order, and given as a double.
    """

    of: str
    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        exact = features_over(self.name, self.over, f"sum of {self.of}")
        return tuple(Column(feature.name, Type.FLOAT64, feature.meaning) for feature in exact)

    @property
    def state(self) -> tuple[Column, ...]:
        return tuple(Column(f"_{feature.name}", Type.DECIMAL, f"exact {feature.name}") for feature in self.features)


@dataclass(frozen=True, kw_only=True)
class Distinct(Aggregation):
    """How many different partners: rows of a finer view with this key and `active` above 0 in the window."""

    rows_of: str
    active: str

    @property
    def features(self) -> tuple[Column, ...]:
        return features_over(self.name, self.over, f"rows of {self.rows_of} with {self.active}")


@dataclass(frozen=True, kw_only=True)
class First(Aggregation):
    """When the first interaction happened, of the given types or of any; null where there is none."""

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.TIMESTAMP, f"first {' or '.join(self.types) or 'event'}"),)


@dataclass(frozen=True, kw_only=True)
class Last(Aggregation):
    """When the last interaction happened, of the given types or of any; null where there is none."""

    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.TIMESTAMP, f"last {' or '.join(self.types) or 'event'}"),)


@dataclass(frozen=True, kw_only=True)
class NewestIs(Aggregation):
    """Whether the newest interaction, ties settled by event id, is of the given type."""

    type: str

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.BOOL, f"whether the newest event is a {self.type}"),)

    @property
    def state(self) -> tuple[Column, ...]:
        at = Column(f"_{self.name}_at", Type.TIMESTAMP, "when the newest event was")
        return (at, Column(f"_{self.name}_by", Type.STRING, "its event id"))
