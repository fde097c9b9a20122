"""How each column of a declarative view is maintained: what a refresh gathers for it, and how gold takes that in."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.gold.aggregate import is_of, newest_of, number_in
from jobs.gold.signed import weight_column
from tailrace.definitions import Count, Distinct, FeatureView, First, Last, NewestIs, Sum
from tailrace.definitions.aggregation import Aggregation
from tailrace.definitions.view import INTERACTIONS

# Set on a key that lost an interaction: its first, last and newest are settled from those that survive.
LOST = "_lost"


@dataclass(frozen=True, kw_only=True)
class Maintained:
    """One column of gold.

    `increment` aggregates `jobs.gold.signed` rows; None for a column that follows from another. `merged` and
    `inserted` are SQL over the row that gold holds, `old`, and the increments, `new`. `additive` increments are
    differences, 0 where nothing changes; others are values to be held against gold's.
    """

    name: str
    increment: Column | None
    merged: str
    inserted: str
    additive: bool


def maintained_columns(view: FeatureView) -> list[Maintained]:
    """Every column of a view's gold table but its keys."""
    interactions = added(INTERACTIONS.name, F.col("gained"))
    return [interactions, *(column for line in view.aggregations for column in maintained_by(line))]


def maintained_by(line: Aggregation) -> Iterator[Maintained]:
    """The columns that one line of a view declares."""
    if isinstance(line, Count):
        for feature, window in zip(line.features, line.windows, strict=True):
            yield added(feature.name, F.when(is_of(line.types), F.col(weight_column(window))))
    elif isinstance(line, Sum):
        yield from maintained_sums(line)
    elif isinstance(line, Distinct):
        for feature in line.features:
            yield added(feature.name, F.col(feature.name))  # +1 and -1 by `distinct_changes`
    elif isinstance(line, First | Last):
        kind, better = (F.min, "least") if isinstance(line, First) else (F.max, "greatest")
        candidate = kind(F.when(is_gained() & is_of(line.types), F.col("occurred_at")))
        yield settled(line.name, candidate, f"{better}(old.{line.name}, new.{line.name})")
    elif isinstance(line, NewestIs):
        yield from maintained_newest(line)


def maintained_sums(line: Sum) -> Iterator[Maintained]:
    for feature, state, window in zip(line.features, line.state, line.windows, strict=True):
        number = F.when(is_of(line.types), F.col(weight_column(window)) * number_in(line))
        exact = added(state.name, number, type_=state.type)
        yield exact
        as_double = [f"CAST({sql} AS DOUBLE)" for sql in (exact.merged, exact.inserted)]
        yield Maintained(name=feature.name, increment=None, merged=as_double[0], inserted=as_double[1], additive=False)


def maintained_newest(line: NewestIs) -> Iterator[Maintained]:
    at, by = (column.name for column in line.state)
    newer = f"struct(new.{at}, new.{by}) > struct(old.{at}, old.{by})"
    for name, candidate in zip((at, by, line.name), newest_of(line, among=is_gained()), strict=True):
        yield settled(name, candidate, f"IF({newer}, new.{name}, old.{name})")


def added(name: str, difference: Column, *, type_: str = "bigint") -> Maintained:
    total = F.coalesce(F.sum(difference).cast(type_), F.lit(0).cast(type_))
    return Maintained(
        name=name, increment=total, merged=f"old.{name} + new.{name}", inserted=f"new.{name}", additive=True
    )


def settled(name: str, candidate: Column, better: str) -> Maintained:
    merged = f"IF(new.{LOST}, new.{name}, {better})"
    return Maintained(name=name, increment=candidate, merged=merged, inserted=f"new.{name}", additive=False)


def is_gained() -> Column:
    return F.col("gained") > 0
